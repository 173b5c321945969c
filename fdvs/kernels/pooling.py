"""Groups of tokens as one entry each: weights, pooled keys and values, anchors, the logarithm of how many they are."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from fdvs.kernels.plans import NEVER, Entries

PoolRule = Literal["weighted", "mean", "anchor"]
"""What stands for a group: the sum by weights, the plain mean, or the token of the largest weight (the anchor)."""


class Pooled(NamedTuple):
    """Pooled groups.

    Attributes:
        entries: one a group; `last` is the group's last position.
        weights: `[B, Hk, M, G]` float32, sums to 1 over a group's members; zero for padding.
        anchors: `[B, Hk, M]` int64, position of the member of the largest weight (the earliest of equal ones).
    """

    entries: Entries
    weights: Tensor
    anchors: Tensor


def pool(
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
    """One entry for each group of tokens.

    Args:
        k: `[B, Hk, Tk, D]`.
        v: `[B, Hk, Tk, Dv]`.
        members: `[B or 1, Hk or 1, M, G]` int64 positions in ascending order, padded with -1 on the right. A group
            without members becomes padding.
        queries: `[B, Hk, M, D]`, the query that weighs each group's members: weights are softmax(queries·k × scale).
            None: equal weights.
        scale: default `D ** -0.5`.
        key_rule, value_rule: what stands for the group.
        has_log_count: bias each entry by the logarithm of its number of members.
    """
    batch, heads = k.shape[:2]
    members = members.expand(batch, heads, -1, -1)
    is_member = members >= 0
    counts = is_member.sum(-1)
    keys, values = take(k, members), take(v, members)
    precise = torch.promote_types(k.dtype, torch.float32)
    if queries is None:
        weights = is_member.to(precise) / counts.clamp_min(1)[..., None]
    else:
        scale = k.shape[-1] ** -0.5 if scale is None else scale
        logits = (keys.to(precise) * queries[..., None, :].to(precise)).sum(-1) * scale
        weights = torch.softmax(logits.masked_fill(~is_member, -torch.inf), dim=-1).nan_to_num(0.0)
    best = weights.masked_fill(~is_member, -1.0).argmax(dim=-1, keepdim=True)
    last = members.amax(-1) if members.shape[-1] else members.new_full(counts.shape, -1)
    entries = Entries(
        k=_by_rule(key_rule, keys, weights, is_member, best),
        v=_by_rule(value_rule, values, weights, is_member, best),
        last=last.masked_fill(counts == 0, NEVER),
        bias=counts.clamp_min(1).log().to(torch.float32) if has_log_count else None,
    )
    return Pooled(entries, weights, members.gather(-1, best)[..., 0])


def take(rows: Tensor, positions: Tensor) -> Tensor:
    """`[B, H, …, D]`: the rows of `[B, H, T, D]` at `positions` `[B, H, …]`; zeros where a position is none."""
    is_real = (positions >= 0) & (positions < rows.shape[2])
    flat = torch.where(is_real, positions, 0).flatten(2)
    if rows.shape[2] == 0:
        return rows.new_zeros(*positions.shape, rows.shape[-1])
    taken = rows.gather(2, flat[..., None].expand(-1, -1, -1, rows.shape[-1]))
    return torch.unflatten(taken, 2, positions.shape[2:]) * is_real[..., None]


def _by_rule(rule: PoolRule, rows: Tensor, weights: Tensor, is_member: Tensor, best: Tensor) -> Tensor:
    if rule == "anchor":
        return rows.gather(-2, best[..., None].expand(*best.shape, rows.shape[-1]))[..., 0, :]
    precise = torch.promote_types(rows.dtype, torch.float32)
    if rule == "mean":
        weights = is_member.to(precise) / is_member.sum(-1, keepdim=True).clamp_min(1)
    return (rows.to(precise) * weights[..., None].to(precise)).sum(-2).to(rows.dtype)


def mean_of_query_heads(q: Tensor, heads_k: int) -> Tensor:
    """`[B, Hk, T, D]`: the mean query of the heads that share a KV head. Our choice; the papers name none for GQA."""
    return torch.unflatten(q, 1, (heads_k, -1)).mean(2)
