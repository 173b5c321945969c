"""The Triton kernels as one set of functions: shapes and types are checked here, once."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fdvs.errors import ShapeError
from fdvs.kernels.plans import Attended, Entries, Plan, check_segments, check_shapes
from fdvs.kernels.pooling import Pooled, PoolRule
from fdvs.kernels.triton import columns, compact, decode, merge, pool, prefill, top_k
from fdvs.kernels.triton.launch import check, check_device


class TritonOps:
    """Triton kernels on a GPU in float32, float16 and bfloat16; on a CPU in the interpreter, not in bfloat16.

    Meaning: the functions of the same names that `ReferenceOps` calls.

    Raises:
        InputError: a type that the kernels do not compute in, such as float64.
        BackendUnavailableError: tensors on a CPU without the interpreter, or bfloat16 in it.
    """

    name = "triton"

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
    ) -> Pooled:
        check(k, v, *([] if queries is None else [queries]))
        return pool.pool(
            k,
            v,
            members,
            queries,
            scale=k.shape[-1] ** -0.5 if scale is None else scale,
            key_rule=key_rule,
            value_rule=value_rule,
            has_log_count=has_log_count,
        )

    def column_scores(
        self, q: Tensor, q_positions: Tensor, k: Tensor, *, scale: float | None = None, is_real: Tensor | None = None
    ) -> Tensor:
        check(q, k)
        if tuple(q_positions.shape) != (q.shape[2],):
            raise ShapeError(f"wanted q_positions [{q.shape[2]}], got {list(q_positions.shape)}")
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        return columns.column_scores(q, q_positions, k, scale=scale, is_real=is_real)

    def block_top_k(self, scores: Tensor, quotas: Tensor, block: int) -> Tensor:
        check_device(scores)
        wanted = (*scores.shape[:2], -(-scores.shape[2] // block))
        if tuple(quotas.shape) != wanted:
            raise ShapeError(f"wanted quotas {list(wanted)}, got {list(quotas.shape)}")
        return top_k.block_top_k(scores, quotas, block)

    def compact(self, k: Tensor, v: Tensor, positions: Tensor) -> Entries:
        check(k, v)
        return compact.compact(k, v, positions)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: Plan, *, scale: float | None = None) -> Attended:
        """`lse` is float32."""
        check_shapes(q, k, v, plan)
        check(q, k, v, *_tensors(plan.pooled), *_tensors(plan.selected))
        return prefill.attend(q, k, v, plan, scale=q.shape[-1] ** -0.5 if scale is None else scale)

    def decode(self, q: Tensor, segments: Sequence[Entries], *, scale: float | None = None) -> Attended:
        """`lse` is float32."""
        check_segments(q, segments)
        check(q, *(x for part in segments for x in _tensors(part)))
        return decode.decode(q, segments, scale=q.shape[-1] ** -0.5 if scale is None else scale)

    def merge(self, parts: Sequence[Attended]) -> Attended:
        """`lse` is float32."""
        check(*(part.out for part in parts))
        return merge.merge(parts)


def _tensors(entries: Entries | None) -> tuple[Tensor, ...]:
    return () if entries is None else (entries.k, entries.v)


TRITON = TritonOps()
