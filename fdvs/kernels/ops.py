"""The six things that planning and attention need, as one set of functions for each back end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from fdvs.kernels import columns, pooling, reference
from fdvs.kernels.plans import Attended, Entries, Plan
from fdvs.kernels.pooling import Pooled, PoolRule


class Ops(Protocol):
    """What a back end offers. Shapes, units and meaning are those of the functions that `ReferenceOps` calls."""

    @property
    def name(self) -> str: ...

    def pool(
        self,
        k: Tensor,
        v: Tensor,
        members: Tensor,
        queries: Tensor | None = None,
        *,
        scale: float | None = None,
        key_rule: PoolRule = "weighted",
        value_rule: PoolRule = "weighted",
        has_log_count: bool = True,
    ) -> Pooled: ...

    def column_scores(
        self, q: Tensor, q_positions: Tensor, k: Tensor, *, scale: float | None = None, is_real: Tensor | None = None
    ) -> Tensor: ...

    def block_top_k(self, scores: Tensor, quotas: Tensor, block: int) -> Tensor: ...

    def compact(self, k: Tensor, v: Tensor, positions: Tensor) -> Entries: ...

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: Plan, *, scale: float | None = None) -> Attended: ...

    def decode(self, q: Tensor, segments: Sequence[Entries], *, scale: float | None = None) -> Attended: ...

    def merge(self, parts: Sequence[Attended]) -> Attended: ...


class TorchPlanning:
    """What planning needs, and merging, in plain PyTorch: for every back end that has no faster way."""

    __slots__ = ()

    pool = staticmethod(pooling.pool)
    column_scores = staticmethod(columns.column_scores)
    block_top_k = staticmethod(columns.block_top_k)
    compact = staticmethod(columns.compact)
    merge = staticmethod(reference.merge)


class ReferenceOps(TorchPlanning):
    """Plain PyTorch on any device and in any type: the meaning of all other back ends."""

    name = "reference"
    attend = staticmethod(reference.attend)
    decode = staticmethod(reference.decode)


REFERENCE = ReferenceOps()
