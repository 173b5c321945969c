"""Attention over three segments in plain PyTorch: slow, obvious, and the meaning of every other path.

Source of the common form: FlashAttention's online softmax gives the same numbers as one softmax over all segments, so
one softmax is what is written here (papers: TCA 2512.09238, CCA 2412.12465, DGA 2505.22107, LCA 2604.12452).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fdvs.kernels.plans import NEVER, Attended, Entries, Plan, check_segments, check_shapes, join_entries
from fdvs.kernels.visibility import band_seen, entries_seen, hidden_remainder, per_query_head, tiles_seen


def attend(q: Tensor, k: Tensor, v: Tensor, plan: Plan, *, scale: float | None = None) -> Attended:
    """One softmax over what `plan` shows each query. Memory grows with Tq × Tk.

    Args:
        q: `[B, Hq, Tq, D]`, any floating type. Half precision is computed in float32, float64 in float64.
        k, v: `[B, Hk, Tk, D]`, `[B, Hk, Tk, Dv]`; Hq is a multiple of Hk.
        plan: who sees what.
        scale: multiplies q·k. Default: `D ** -0.5`.

    Returns:
        `out` `[B, Hq, Tq, Dv]` in the type of q, and `lse` `[B, Hq, Tq]`. A query that sees nothing is zero, not NaN,
        and its `lse` is -inf.

    Raises:
        ShapeError: tensors and plan do not belong together.
    """
    return attend_in(torch.promote_types(q.dtype, torch.float32), q, k, v, plan, scale=scale)


def attend_in(
    precise: torch.dtype, q: Tensor, k: Tensor, v: Tensor, plan: Plan, *, scale: float | None = None
) -> Attended:
    """`attend`, with logits, weights and sums in the type `precise`: what low precision costs can be seen with it."""
    check_shapes(q, k, v, plan)
    heads_q, num_q = q.shape[1], q.shape[2]
    scale = q.shape[-1] ** -0.5 if scale is None else scale

    keys, values, seen, biases = [], [], [], []
    for name, entries in (("pooled", plan.pooled), ("selected", plan.selected)):
        if entries is None or entries.num_entries == 0:
            continue
        mask = per_query_head(entries_seen(entries, plan.band_start), heads_q)
        if name == "pooled" and plan.is_remainder and plan.tiles is not None:
            mask = mask & ~hidden_remainder(plan.tiles, num_q, heads_q)
        keys.append(entries.k)
        values.append(entries.v)
        seen.append(mask)
        biases.append(per_query_head(entries.biases(), heads_q)[:, :, None].to(precise))
    near = per_query_head(band_seen(plan, k.shape[2]), heads_q)
    if plan.tiles is not None:
        near = near | tiles_seen(plan.tiles, plan, k.shape[2], heads_q)
    keys.append(k)
    values.append(v)
    seen.append(near.expand(q.shape[0], heads_q, num_q, k.shape[2]))
    biases.append(torch.zeros(1, 1, 1, k.shape[2], dtype=precise, device=q.device))

    logits = q.to(precise) @ per_query_head(torch.cat(keys, dim=2).to(precise), heads_q).mT * scale
    logits = logits + torch.cat([bias.expand(q.shape[0], heads_q, 1, -1) for bias in biases], dim=3)
    logits = logits.masked_fill(~torch.cat(seen, dim=3), -torch.inf)
    lse = torch.logsumexp(logits, dim=-1)
    shift = torch.where(lse.isneginf(), torch.zeros_like(lse), lse)  # -inf - -inf would be NaN
    weights = torch.exp(logits - shift[..., None])
    return Attended((weights @ per_query_head(torch.cat(values, dim=2).to(precise), heads_q)).to(q.dtype), lse)


def decode(q: Tensor, segments: Sequence[Entries], *, scale: float | None = None) -> Attended:
    """Attention of one step over a reduced cache: every query sees every entry that is not padding.

    Args:
        q: `[B, Hq, Tq, D]`; Tq is 1 but for speculative tokens, which then see all entries alike.
        segments: pooled, selected and recent entries, in any order.
        scale: multiplies q·k. Default: `D ** -0.5`.
    """
    check_segments(q, segments)
    together = join_entries(segments)
    none_left = Plan(
        q_positions=torch.full((q.shape[2],), NEVER - 1, dtype=torch.int64, device=q.device),
        band_start=torch.full((1, 1, q.shape[2]), NEVER, dtype=torch.int64, device=q.device),
        pooled=together,
    )
    return attend(q, together.k[:, :, :0], together.v[:, :, :0], none_left, scale=scale)


def merge(parts: Sequence[Attended]) -> Attended:
    """Attention over disjoint sets of keys as attention over their union, from outputs and log-sum-exps alone."""
    lse = torch.stack([part.lse for part in parts])
    total = torch.logsumexp(lse, dim=0)
    weights = torch.exp(lse - torch.where(total.isneginf(), torch.zeros_like(total), total))
    out = sum((weight[..., None] * part.out.to(weight.dtype) for weight, part in zip(weights, parts, strict=True)))
    assert isinstance(out, Tensor)
    return Attended(out.to(parts[0].out.dtype), total)
