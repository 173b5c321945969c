"""One vLLM's attention in one process: the method, what computes it, and what was done. Knows tensors, not vLLM."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from functools import lru_cache

from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.backends import choose
from fdvs.kernels.coverage import num_pairs
from fdvs.kernels.layout import Layout, protect
from fdvs.kernels.methods.base import Method, Prompt, ReducedCache
from fdvs.kernels.names import open_method, open_ops
from fdvs.kernels.ops import Ops
from fdvs.kernels.plans import Plan
from fdvs.kernels.plugs.vllm.asked import VARIABLE, Asked, asked_in
from fdvs.kernels.plugs.vllm.batches import Split
from fdvs.kernels.plugs.vllm.proof import Counts, Report

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Session:
    """What all layers of a model share in one process.

    Attributes:
        ops: the back end that plans and attends; None until the first prompt shows on which device that is.
    """

    asked: Asked
    method: Method
    ops: Ops | None = None
    counts: Counts = field(default_factory=Counts)
    report: Report | None = None
    told: dict[str, str] = field(default_factory=dict)
    prompts_told: int = 0

    def ops_for(self, q: Tensor) -> Ops:
        """The back end for tensors like these."""
        if self.ops is None:
            self.ops = open_ops(choose(q).name if self.asked.ops == "auto" else self.asked.ops)
            self.told["ops"] = self.ops.name
        return self.ops

    def tell(self, stage: str, **more: str) -> None:
        """Write down what has been done so far. When the folder is gone nobody reads it any more."""
        if self.report is None:
            return
        self.told.update(more, stage=stage, choice=self.asked.choice.words())
        try:
            self.report.write({**self.told, "counts": self.counts.to_json()})
        except OSError as error:
            _log.info("no more reports of attention: %s", error)
            self.report = None

    def tell_if_due(self) -> None:
        """The same at every step: soon after a prompt, else once in a while."""
        prompts = self.counts.prompts_seen
        if self.report is not None and self.report.is_due(has_news=prompts != self.prompts_told):
            self.prompts_told = prompts
            self.tell("built")


@lru_cache(maxsize=8)
def session_of(text: str) -> Session:
    """The session of what the environment asks for: the same for all layers that were made under the same words."""
    asked = asked_in(text)
    choice = asked.choice
    return Session(
        asked,
        open_method(choice.method, **dict(choice.settings)),
        report=Report(asked.report) if asked.report else None,
    )


def session_here() -> Session:
    """The session that this process's environment asks for.

    Raises:
        InputError: it asks for none, and vLLM has our attention in its register all the same.
    """
    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        raise InputError(f"vLLM was given our attention, and {VARIABLE} no longer says which")
    return session_of(text)


@dataclass(slots=True)
class LayerAttention:
    """The attention of one layer to what a step's split gives to the method.

    Attributes:
        session: shared by all layers.
        scale: multiplies q·k.
        caches: reduced cache by a request's first block.
    """

    session: Session
    scale: float
    caches: dict[int, ReducedCache] = field(default_factory=dict)

    def attend(  # noqa: PLR0917
        self, name: str, layer: int, query: Tensor, key: Tensor, value: Tensor, output: Tensor, split: Split
    ) -> None:
        """Writes the rows of the split's planned and reduced requests into `output`.

        Args:
            name: of the layer, for the report.
            layer: its number in the model.
            query: `[T, Hq, D]`, flat over all requests of the step; likewise `key`, `value` `[T, Hk, D]`.
            output: `[T, Hq, D]`.
        """
        for one in split.planned:
            rows = slice(one.begin, one.end)
            self._prompt(name, layer, query[rows], key[rows], value[rows], output[rows], one.block)
        for one in split.reduced:
            rows = slice(one.begin, one.end)
            self._step(query[rows], key[rows], value[rows], output[rows], one.block)
        for gone in self.caches.keys() - split.alive:
            del self.caches[gone]

    def _prompt(  # noqa: PLR0917
        self, name: str, layer: int, query: Tensor, key: Tensor, value: Tensor, output: Tensor, block: int
    ) -> None:
        session, length = self.session, query.shape[0]
        prompt = Prompt(
            q=_heads_first(query),
            k=_heads_first(key),
            v=_heads_first(value),
            layout=Layout(length, exact=protect(length, sinks=session.asked.choice.sinks)),
            scale=self.scale,
            layer=layer,
            ops=session.ops_for(query),
        )
        plan = session.method.plan(prompt)
        attended = prompt.ops.attend(prompt.q, prompt.k, prompt.v, plan, scale=self.scale)
        output.copy_(attended.out[0].transpose(0, 1))
        if session.asked.decode == "reduced":
            cache = session.method.cache()
            assert cache is not None, "methods without one were refused at the start"
            cache.fill(prompt, plan)
            self.caches[block] = cache
        self._count(name, prompt, plan)

    def _step(self, query: Tensor, key: Tensor, value: Tensor, output: Tensor, block: int) -> None:
        cache = self.caches[block]
        q = _heads_first(query)
        cache.append(q, _heads_first(key), _heads_first(value))
        attended = self.session.ops_for(q).decode(q, cache.segments(), scale=self.scale)
        output.copy_(attended.out[0].transpose(0, 1))

    def _count(self, name: str, prompt: Prompt, plan: Plan) -> None:
        counts = self.session.counts
        counts.planned_calls += 1
        counts.layers.add(name)
        if not counts.is_measuring:
            return
        heads_q, heads_k, length = prompt.q.shape[1], prompt.heads_k, prompt.q.shape[2]
        counts.measured_calls += 1
        counts.pairs += num_pairs(plan, length, 1, heads_q, heads_k)
        counts.dense_pairs += heads_q * length * (length + 1) // 2


def _heads_first(rows: Tensor) -> Tensor:
    """`[T, H, D]` as `[1, H, T, D]`."""
    return rows.transpose(0, 1)[None]
