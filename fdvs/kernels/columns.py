"""Which tokens receive attention: scores per key, the best of each block, and these taken out of the sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from fdvs.errors import ShapeError
from fdvs.kernels.plans import NEVER, Entries
from fdvs.kernels.pooling import take


def column_scores(
    q: Tensor, q_positions: Tensor, k: Tensor, *, scale: float | None = None, is_real: Tensor | None = None
) -> Tensor:
    """Mean attention weight that each key receives from some queries, summed over keys to 1.

    Args:
        q: `[B, Hq, N, D]`, the queries that vote.
        q_positions: `[N]`; a query gives no weight to keys after it.
        k: `[B, Hk, Tk, D]`.
        scale: default `D ** -0.5`.
        is_real: `[N]` bool, the rows that are queries at all. Padding must not vote. None: all.

    Returns:
        `[B, Hk, Tk]` float32: the mean over the query heads of a KV head and over the rows that vote. All zero where
        none does.
    """
    _, heads_q, num_rows, size = q.shape
    heads_k, num_k = k.shape[1:3]
    if tuple(q_positions.shape) != (num_rows,):
        raise ShapeError(f"wanted q_positions [{num_rows}], got {list(q_positions.shape)}")
    scale = size**-0.5 if scale is None else scale
    precise = torch.promote_types(q.dtype, torch.float32)
    grouped = q.unflatten(1, (heads_k, heads_q // heads_k)).flatten(2, 3).to(precise)
    logits = (grouped @ k.mT.to(precise) * scale).unflatten(2, (-1, num_rows))
    is_after = torch.arange(num_k, device=q.device) > q_positions[:, None]
    weights = torch.softmax(logits.masked_fill(is_after, -torch.inf), dim=-1)
    if is_real is not None:
        weights = weights[..., is_real, :]
    votes = weights.shape[2] * weights.shape[3]
    return weights.sum((2, 3)).to(torch.float32) / max(votes, 1)


def block_top_k(scores: Tensor, quotas: Tensor, block: int) -> Tensor:
    """Positions of the best-scored tokens of each block.

    Args:
        scores: `[B, H, T]`. Of equal scores the earlier token is taken.
        quotas: `[B, H, ceil(T / block)]` int64, how many tokens a block keeps; more than it has means all.
        block: tokens per block.

    Returns:
        `[B, H, S]` int64, ascending, padded with `NEVER` on the right; S is the largest number kept by any head.
    """
    length = scores.shape[-1]
    num_blocks = -(-length // block)
    if tuple(quotas.shape) != (*scores.shape[:2], num_blocks):
        raise ShapeError(f"wanted quotas {[*scores.shape[:2], num_blocks]}, got {list(quotas.shape)}")
    padded = torch.nn.functional.pad(scores, (0, num_blocks * block - length), value=-torch.inf)
    order = padded.unflatten(-1, (num_blocks, block)).sort(dim=-1, descending=True, stable=True).indices
    ranks = torch.empty_like(order).scatter_(-1, order, torch.arange(block, device=order.device).expand_as(order))
    is_kept = (ranks < quotas[..., None]).flatten(2)[..., :length]
    return positions_of(is_kept)


def positions_of(is_kept: Tensor) -> Tensor:
    """`[B, H, S]` int64: the true places of `[B, H, T]`, ascending, padded with `NEVER` on the right."""
    places = torch.arange(is_kept.shape[-1], device=is_kept.device).masked_fill(~is_kept, NEVER)
    return places.sort(dim=-1).values[..., : int(is_kept.sum(-1).max())]


def compact(k: Tensor, v: Tensor, positions: Tensor) -> Entries:
    """Tokens taken out of the sequence, one entry each.

    Args:
        k, v: `[B, Hk, Tk, D]`, `[B, Hk, Tk, Dv]`.
        positions: `[B, Hk, S]` int64; `NEVER` is padding and stays so.
    """
    return Entries(k=take(k, positions), v=take(v, positions), last=positions)
