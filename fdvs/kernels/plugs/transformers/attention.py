"""Attention of one served layer: each row of the batch planned alone, without its padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.backends import Planned, plan_unless_short
from fdvs.kernels.coverage import num_pairs, retained_mass
from fdvs.kernels.layout import Layout
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.plugs.transformers.cache import KeptRow, ReducedRow, WholeRow
from fdvs.kernels.plugs.transformers.report import LayerRecord
from fdvs.kernels.rotary import Rotation

if TYPE_CHECKING:
    from fdvs.kernels.methods.base import Method
    from fdvs.kernels.ops import Ops
    from fdvs.kernels.plugs.transformers.padding import Stretch


class LayerPlanner:
    """Plans and attends in one layer of a model.

    Args:
        index: which layer.
        dense_below: prompts of fewer tokens are attended in full, and all of their tokens kept.
        is_measured: retained mass is measured for each prompt, at the cost of some dense rows.
    """

    def __init__(self, index: int, method: Method, ops: Ops, *, dense_below: int, is_measured: bool) -> None:
        self._index, self._method, self._ops = index, method, ops
        self._dense_below, self._is_measured = dense_below, is_measured
        self.record = LayerRecord(index)

    def prompt(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        rows: Sequence[Stretch],
        layouts: Sequence[Layout | None],
        rotation: Rotation | None,
        scale: float | None,
        keeps: bool,
    ) -> tuple[Tensor, list[KeptRow | None]]:
        """Attention of prompts `[B, H, T, D]`, and what each row keeps for the steps that follow.

        Args:
            rows: the real tokens of each row.
            layouts: one for each row that has any.
            rotation: `[B or 1, T, R]` each.
            keeps: whether the steps that follow go by what is returned. False: there are none, or they see every token.
        """
        out = v.new_zeros(q.shape[0], q.shape[1], q.shape[2], v.shape[3])
        kept: list[KeptRow | None] = []
        self.record.begin()
        for i, (row, layout) in enumerate(zip(rows, layouts, strict=True)):
            if layout is None:
                kept.append(None)
                continue
            one = slice(i, i + 1), slice(None), slice(row.begin, row.end)
            prompt = Prompt(
                q[one],
                k[one],
                v[one],
                replace(layout, rotation=_of_row(rotation, i, row)),
                scale=scale,
                layer=self._index,
                ops=self._ops,
            )
            planned = plan_unless_short(self._method, prompt, dense_below=self._dense_below)
            out[one] = self._ops.attend(prompt.q, prompt.k, prompt.v, planned.plan, scale=scale).out
            self._count(prompt, planned)
            kept.append(self._kept(prompt, planned) if keeps else None)
        if keeps:
            self.record.keeps(kept)
        else:
            self.record.holds(sum(row.length for row in rows))
        return out, kept

    def steps(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        rows: Sequence[Stretch],
        kept: Sequence[KeptRow | None],
        rotation: Rotation | None,
    ) -> Tensor:
        """Attention of tokens that follow a prompt, `[B, H, T, D]`, one after the other.

        Raises:
            InputError: several tokens at once for a method whose plan depends on the whole prompt.
        """
        if q.shape[2] > 1 and not self._method.is_causal:
            raise InputError(
                f"{self._method.name} plans a prompt as a whole and was given {q.shape[2]} tokens more at once: leave "
                "prefill_chunk_size out, and begin each prompt with an empty cache"
            )
        out = v.new_zeros(q.shape[0], q.shape[1], q.shape[2], v.shape[3])
        for i, (row, keeper) in enumerate(zip(rows, kept, strict=True)):
            if row.length and keeper is None:
                raise InputError(f"row {i} had no token in its prompt and has some now")
            if row.length > 1 and isinstance(keeper, WholeRow):
                raise InputError(f"row {i} was too short to be planned and gets {row.length} tokens more at once")
            for at in range(row.begin, row.end):
                one = slice(i, i + 1), slice(None), slice(at, at + 1)
                turned = None if rotation is None else _of_row(rotation, i, slice(at, at + 1))
                assert keeper is not None
                out[one] = keeper.step(q[one], k[one], v[one], turned)
        self.record.keeps(kept)
        return out

    def left_alone(self, q: Tensor, lengths: Sequence[int] | None) -> None:
        """Counts a pass that the model attended as it always did.

        Args:
            lengths: real tokens of each row of a prompt; None for steps.
        """
        if lengths is None:
            self.record.holds(q.shape[0] * q.shape[2], are_more=True)
            return
        self.record.begin()
        for length in lengths:
            pairs = q.shape[1] * length * (length + 1) // 2
            self.record.add(
                is_planned=False,
                pairs=pairs,
                dense_pairs=pairs,
                retained_mass=1.0 if self._is_measured else None,
            )
        self.record.holds(sum(lengths))

    def _kept(self, prompt: Prompt, planned: Planned) -> KeptRow:
        reduced = None if planned.is_dense else self._method.cache()
        if reduced is None:
            return WholeRow(prompt.k, prompt.v, self._ops, prompt.scale)
        reduced.fill(prompt, planned.plan)
        return ReducedRow(reduced, self._ops, prompt.scale)

    def _count(self, prompt: Prompt, planned: Planned) -> None:
        plan = planned.plan
        heads_q, length = prompt.q.shape[1:3]
        mass = retained_mass(prompt.q, prompt.k, plan, scale=prompt.scale) if self._is_measured else None
        self.record.add(
            is_planned=not planned.is_dense,
            pairs=num_pairs(plan, length, 1, heads_q, prompt.heads_k),
            dense_pairs=heads_q * length * (length + 1) // 2,
            retained_mass=mass,
        )


def _of_row(rotation: Rotation | None, index: int, row: Stretch | slice) -> Rotation | None:
    """The angles of one row's tokens, `[T, R]`; a batch of one set of angles has them for all rows."""
    if rotation is None:
        return None
    begin, end = (row.start, row.stop) if isinstance(row, slice) else (row.begin, row.end)
    index = index if rotation.cos.shape[0] > 1 else 0
    return Rotation(rotation.cos[index, begin:end], rotation.sin[index, begin:end])
