"""Putting a method into a model of transformers, and taking it out again."""

from __future__ import annotations

import copy
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fdvs.errors import BackendUnavailableError, InputError, UsageError
from fdvs.kernels.layout import Layout
from fdvs.kernels.plugs.transformers.attention import LayerPlanner
from fdvs.kernels.plugs.transformers.cache import planned_layer
from fdvs.kernels.plugs.transformers.layouts import Tokens, kinds_of, layout_of, places_of
from fdvs.kernels.plugs.transformers.padding import Stretch, stretches
from fdvs.kernels.plugs.transformers.report import LayerReport, Totals
from fdvs.kernels.plugs.transformers.towers import LeftLayer, Tower, said_of
from fdvs.kernels.rotary import Rotation

if TYPE_CHECKING:
    from fdvs.kernels.methods.base import Method
    from fdvs.kernels.ops import Ops

NAME = "fdvs_plan"
"""The name in transformers' tables of attention and of masks. It stays there; models that do not name it never ask."""

CACHE_ARGUMENTS = ("cache", "past_key_values")  # its name since transformers 5.2x, and before


class _Pass:
    """What is known of the forward pass that is running."""

    def __init__(self, kinds: Tensor | None) -> None:
        self.kinds = kinds
        self.places: Tensor | None = None
        self.rotation: Rotation | None = None
        self.kept_in: Any = None
        self._angles: Any = None
        self._rows: tuple[Any, list[Stretch]] | None = None
        self._layouts: list[Layout | None] | None = None

    def turns_by(self, angles: Any) -> None:
        """Takes the angles that a layer is given; most models give the same to all."""
        if self._angles is not angles:
            self._angles, self.rotation = angles, _rotation(angles)

    def rows(self, mask: Tensor | None, q: Tensor, num_keys: int) -> list[Stretch]:
        """The real tokens of each row, found once for all layers that are given the same mask."""
        if self._rows is None or self._rows[0] is not mask:
            self._rows = (mask, stretches(mask, q.shape[0], q.shape[2], num_keys))
        return self._rows[1]

    def layouts(self, rows: list[Stretch], *, keep_text: bool, sinks: int) -> list[Layout | None]:
        """The layout of each row, found once for all layers."""
        if self._layouts is None:
            tokens = Tokens(self.kinds, self.places)
            self._layouts = [
                layout_of(tokens.row(i, row.begin, row.end), row.length, keep_text=keep_text, sinks=sinks)
                if row.length
                else None
                for i, row in enumerate(rows)
            ]
        return self._layouts


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
        self._keep_text, self._sinks = keep_text, sinks
        self._planners = {
            index: LayerPlanner(index, method, ops, dense_below=dense_below, is_measured=measure)
            for index in tower.served
        }
        self._pass = _Pass(None)
        self._is_inside = False
        self._hooks: list[RemovableHandle] = []
        self._configs: list[tuple[nn.Module, Any]] = []
        self._switch_on()

    # ---- on and off -------------------------------------------------------------------------------------------------

    def _switch_on(self) -> None:
        _register()
        _PLUGS[id(self._tower.config)] = self
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
        if _PLUGS.pop(id(self._tower.config), None) is None:
            return
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        for module, config in self._configs:
            module.config = config
        self._configs.clear()
        self._pass = _Pass(None)
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
        self._pass, self._is_inside = _Pass(self._kinds(args, kwargs)), True

    def _after_model(self, *_: Any) -> None:
        # What is known of the tokens stays: gradient checkpointing computes the layers once more, later.
        self._pass.kept_in, self._is_inside = None, False

    def _before_text(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._is_inside:  # the text model was called by itself
            self._pass = _Pass(self._kinds(args, kwargs))
        self._pass.places = places_of(kwargs.get("position_ids"))

    def _kinds(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        return kinds_of(ids, kwargs.get("mm_token_type_ids"), self._model.config)

    def _before_attention(self, module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        past = next((kwargs[name] for name in CACHE_ARGUMENTS if kwargs.get(name) is not None), None)
        self._pass.kept_in = None if past is None else planned_layer(past, int(module.layer_idx))  # type: ignore[arg-type]
        self._pass.turns_by(kwargs.get("position_embeddings"))

    def attend(  # noqa: PLR0917 - as transformers calls it
        self, module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None
    ) -> Tensor:
        """`[B, Hq, Tq, Dv]`: attention of a served layer over the keys of this pass and what its cache holds."""
        running, index = self._pass, int(module.layer_idx)  # type: ignore[arg-type]
        planner, kept_in = self._planners[index], running.kept_in
        is_step = kept_in is not None and kept_in.rows is not None
        num_keys = q.shape[2] if kept_in is None else kept_in.get_seq_length()
        rows = running.rows(mask, q, num_keys)
        if is_step:
            return planner.steps(q, k, v, rows=rows, kept=kept_in.rows, rotation=running.rotation)
        layouts = running.layouts(rows, keep_text=self._keep_text, sinks=self._sinks)
        out, kept = planner.prompt(
            q,
            k,
            v,
            rows=rows,
            layouts=layouts,
            rotation=running.rotation,
            scale=scale,
            has_cache=kept_in is not None,
        )
        if kept_in is not None:
            kept_in.rows = kept
        return out

    @property
    def makes_own_masks(self) -> bool:
        """Whether no layer that is left needs the mask of full attention as it was."""
        return not self._tower.has_full_left


def _rotation(angles: Any) -> Rotation | None:
    """Angles `[B or 1, T, R]` as rotations and no more: some embeddings (YaRN) stretch what they rotate, which is the
    keys' own and has to stay when they are turned back and forth."""
    if angles is None:
        return None
    cos, sin = angles
    if cos.dim() != 3:
        raise BackendUnavailableError(
            f"wanted rotary angles [B, T, R], got {list(cos.shape)}: this release of transformers mixes the axes of "
            "positions inside its layers; take a newer one"
        )
    stretch = (cos.float().square() + sin.float().square()).sqrt()
    return Rotation(cos.float() / stretch, sin.float() / stretch)


_PLUGS: dict[int, Plug] = {}
"""By the identity of the text configuration, which the plug holds for as long as it is listed here."""


def plug_of(config: Any) -> Plug | None:
    """The plug that serves the text model of this configuration."""
    return _PLUGS.get(id(config))


def _attention(  # noqa: PLR0917 - as transformers calls it
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What transformers calls under our name: `[B, T, Hq, D]`, and no weights."""
    plug = plug_of(getattr(module, "config", None))
    if plug is None:
        raise InputError(f"the attention {NAME} is set, but no plug serves this model: call enable(model, …)")
    if dropout:
        raise InputError("attention by plan has no dropout: set attention_dropout to 0, or call model.eval()")
    if kwargs.get("output_attentions"):
        raise InputError("attention by plan makes no weights that output_attentions could return")
    if unknown := [name for name in ("softcap", "s_aux", "position_bias") if kwargs.get(name) is not None]:
        raise InputError(f"attention by plan knows no {unknown[0]}")
    return plug.attend(module, query, key, value, attention_mask, scaling).transpose(1, 2).contiguous(), None


def _mask(  # noqa: PLR0917 - as transformers calls it
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Any = None,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    config: Any = None,
    **kwargs: Any,
) -> Any:
    """The mask under our name: which tokens are real `[B, Tk]`, or None for all; for layers left, what they had.

    Raises:
        InputError: the model wants more than causal attention, such as pictures whose tokens see each other.
    """
    from transformers.masking_utils import AttentionMaskInterface, causal_mask_function

    plug = plug_of(config)
    if plug is None:
        raise InputError(f"the attention {NAME} is set, but no plug serves this model: call enable(model, …)")
    is_full = local_size is None
    if is_full and mask_function is not causal_mask_function:
        raise InputError(
            f"{type(config).__name__} wants a mask here that is not simply causal (several sequences in one, or "
            "pictures whose tokens see each other both ways); attention by plan does not have it"
        )
    if is_full and plug.makes_own_masks:
        return None if attention_mask is None or bool(attention_mask.all()) else attention_mask
    make = AttentionMaskInterface()[plug.original]
    local = {} if is_full else {"local_size": local_size}
    return make(
        batch_size=batch_size,
        q_length=q_length,
        kv_length=kv_length,
        q_offset=q_offset,
        kv_offset=kv_offset,
        mask_function=mask_function,
        attention_mask=attention_mask,
        config=config,
        **local,
        **kwargs,
    )


@cache
def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attention)
    # Without this second line transformers makes no mask at all for a name of ours, and padding would be attended to.
    AttentionMaskInterface.register(NAME, _mask)


def check_free(config: Any) -> None:
    """UsageError where a model is served already."""
    if plug_of(config) is not None:
        raise UsageError("this model attends by plan already; disable the plug that is on it first")


def checked_settings(layers: Collection[int] | None, dense_below: int, sinks: int) -> None:
    """UsageError for numbers that mean nothing."""
    if dense_below < 0 or sinks < 0:
        raise UsageError(f"dense_below and sinks are numbers of tokens, got {dense_below} and {sinks}")
    if layers is not None and not layers:
        raise UsageError("layers names none; leave it out to serve all that can be")
