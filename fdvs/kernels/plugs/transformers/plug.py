"""Putting a method into a model of transformers, and taking it out again."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fdvs.errors import BackendUnavailableError, InputError, UsageError
from fdvs.kernels.plugs.transformers.attention import LayerPlanner
from fdvs.kernels.plugs.transformers.cache import planned_layer, unseen
from fdvs.kernels.plugs.transformers.layouts import kinds_of, places_of
from fdvs.kernels.plugs.transformers.report import LayerReport, Totals
from fdvs.kernels.plugs.transformers.running import Pass, cache_in, tokens_in
from fdvs.kernels.plugs.transformers.tables import NAME, SERVERS, register
from fdvs.kernels.plugs.transformers.towers import LeftLayer, Tower, said_of

if TYPE_CHECKING:
    from fdvs.kernels.methods.base import Method
    from fdvs.kernels.ops import Ops


class Plug:
    """A model whose text layers attend by a method's plans, until `disable` or the end of a `with` block.

    Attributes:
        method: the method.
        backend: the name of what plans and attends.
        served_layers: indices of the layers that attend by plan.
        left_layers: the others, each with the reason why it attends as before.
    """

    def __init__(
        self,
        model: Any,
        tower: Tower,
        method: Method,
        ops: Ops,
        *,
        dense_below: int,
        keep_text: bool,
        sinks: int,
        measure: bool,
    ) -> None:
        self.method, self.backend = method, ops.name
        self.served_layers = tuple(tower.served)
        self.left_layers: tuple[LeftLayer, ...] = tower.left
        self.original = str(tower.config._attn_implementation)
        self._model, self._tower = model, tower
        self._keep_text, self._sinks, self._dense_below = keep_text, sinks, dense_below
        self._has_reduced_cache = method.cache() is not None
        self._planners = {
            index: LayerPlanner(index, method, ops, dense_below=dense_below, is_measured=measure)
            for index in tower.served
        }
        self._pass, self._is_inside = Pass(), False
        # Caches that are left as they are: of prompts too short to be planned, and of methods that keep every token.
        self._whole: weakref.WeakSet[Any] = weakref.WeakSet()
        self._hooks: list[RemovableHandle] = []
        self._configs: list[tuple[nn.Module, Any]] = []
        self._switch_on()

    # ---- on and off -------------------------------------------------------------------------------------------------

    def _switch_on(self) -> None:
        register()
        SERVERS[id(self._tower.config)] = self
        try:
            for module in self._tower.bystanders(self._model):  # before the configuration they share is changed
                self._configs.append((module, module.config))
                module.config = copy.copy(module.config)
            self._set_implementation(NAME)
            self._hooks += [
                self._model.register_forward_pre_hook(self._before_model, with_kwargs=True),
                self._model.register_forward_hook(self._after_model, always_call=True),
                self._tower.text.register_forward_pre_hook(self._before_text, with_kwargs=True),
                *(
                    module.register_forward_pre_hook(self._before_attention, with_kwargs=True)
                    for module in self._tower.served.values()
                ),
            ]
        except BaseException:
            self.disable()
            raise

    def _set_implementation(self, name: str) -> None:
        self._model.set_attn_implementation({self._tower.key: name})
        got = self._tower.config._attn_implementation
        if got != name:
            raise BackendUnavailableError(f"{type(self._model).__name__} keeps the attention {got}")

    def disable(self) -> None:
        """The model as it was: its attention, its hooks, its configurations. A second call does nothing.

        A cache that was filled by plan is of no use to the model afterwards.
        """
        if SERVERS.pop(id(self._tower.config), None) is None:
            return
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        for module, config in self._configs:
            module.config = config
        self._configs.clear()
        self._pass = Pass()
        with suppress(BackendUnavailableError):  # it never took ours
            self._set_implementation(self.original)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disable()

    def report(self) -> list[LayerReport]:
        """What each served layer kept of the latest batch of prompts; empty before the first one."""
        return [one.record.report() for one in self._planners.values() if not one.record.is_empty]

    def totals(self) -> Totals:
        """What came of all prompts so far."""
        every = [one.record.totals for one in self._planners.values()]
        pairs, dense_pairs = sum(one.pairs for one in every), sum(one.dense_pairs for one in every)
        return replace(every[0], pairs=pairs, dense_pairs=dense_pairs)

    def words(self) -> str:
        """For people: which layers are served by which back end, and which are not."""
        left = f", not in {said_of(self.left_layers)}" if self.left_layers else ""
        return f"in {len(self.served_layers)} layers ({self.backend}){left}"

    # ---- during a forward pass --------------------------------------------------------------------------------------

    def _before_model(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._pass, self._is_inside = Pass(self._kinds(args, kwargs)), True

    def _after_model(self, *_: Any) -> None:
        # What is known of the tokens stays: gradient checkpointing computes the layers once more, later.
        self._pass.kept_in, self._is_inside = None, False

    def _before_text(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._is_inside:  # the text model was called by itself
            self._pass = Pass(self._kinds(args, kwargs))
        running, past = self._pass, cache_in(kwargs)
        running.places = places_of(kwargs.get("position_ids"))
        before = 0 if past is None else past.get_seq_length(self.served_layers[0])
        running.is_prompt = not before
        if running.is_prompt:
            running.lengths = _lengths(args, kwargs)
            running.is_dense = max(running.lengths) < self._dense_below
        elif past in self._whole:
            running.is_dense = True
            self._check_parts(before, tokens_in(args, kwargs).shape[1])
        elif not self._has_reduced_cache:
            raise unseen()

    def _check_parts(self, before: int, new: int) -> None:
        """A prompt in parts is not planned at all once its first part was not."""
        is_as_planned = self.method.is_causal and not self._has_reduced_cache
        if new > 1 and before + new >= self._dense_below and not is_as_planned:
            raise InputError(
                f"{self.method.name} plans a prompt as a whole, and after {before} tokens came {new} more at once: "
                "leave prefill_chunk_size out, and begin each prompt with an empty cache"
            )

    def _kinds(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        return kinds_of(ids, kwargs.get("mm_token_type_ids"), self._model.config)

    def _before_attention(self, module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        running, past = self._pass, cache_in(kwargs)
        running.kept_in = None
        if past is not None and (running.is_dense or not self._has_reduced_cache):
            self._whole.add(past)
        elif past is not None:
            running.kept_in = planned_layer(past, _index(module))
        running.turns_by(kwargs.get("position_embeddings"))

    @property
    def is_dense(self) -> bool:
        return self._pass.is_dense

    @property
    def makes_own_masks(self) -> bool:
        return not self._tower.has_full_left

    def saw_dense(self, module: nn.Module, q: Tensor) -> None:
        self._planners[_index(module)].left_alone(q, self._pass.lengths if self._pass.is_prompt else None)

    def attend(  # noqa: PLR0917 - as transformers calls it
        self, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None
    ) -> Tensor:
        running, planner = self._pass, self._planners[_index(module)]
        kept_in, num_new = running.kept_in, q.shape[2]
        rows = running.rows(mask, q, num_new if kept_in is None else kept_in.get_seq_length())
        if kept_in is not None and kept_in.rows is not None:
            return planner.steps(q, k, v, rows=rows, kept=kept_in.rows, rotation=running.rotation)
        out, kept = planner.prompt(
            q,
            k[:, :, :num_new],  # a cache of fixed size hands out places that are still empty
            v[:, :, :num_new],
            rows=rows,
            layouts=running.layouts(rows, keep_text=self._keep_text, sinks=self._sinks),
            rotation=running.rotation,
            scale=scale,
            keeps=kept_in is not None,
        )
        if kept_in is not None:
            kept_in.rows = kept
        return out


def _index(module: nn.Module) -> int:
    return int(module.layer_idx)  # type: ignore[arg-type]


def _lengths(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[int]:
    """Real tokens of each row of a prompt; all of them where no mask of padding is there to tell."""
    tokens, mask = tokens_in(args, kwargs), kwargs.get("attention_mask")
    if isinstance(mask, Tensor) and mask.dim() == 2:
        return [int(length) for length in mask.bool().sum(-1).tolist()]
    return [tokens.shape[1]] * tokens.shape[0]


def check_free(config: Any) -> None:
    """UsageError where a model is served already."""
    if id(config) in SERVERS:
        raise UsageError("this model attends by plan already; disable the plug that is on it first")


def checked_settings(layers: Collection[int] | None, dense_below: int, sinks: int) -> None:
    """UsageError for numbers that mean nothing."""
    if dense_below < 0 or sinks < 0:
        raise UsageError(f"dense_below and sinks are numbers of tokens, got {dense_below} and {sinks}")
    if layers is not None and not layers:
        raise UsageError("layers names none; leave it out to serve all that can be")
