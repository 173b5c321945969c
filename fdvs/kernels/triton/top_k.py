"""The best-scored tokens of each block, written where they belong: a rank by comparison, no sort of the sequence."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fdvs.kernels.plans import NEVER

AT_ONCE = 64
"""Tokens that a token of a block is compared with at once."""


@triton.jit
def top_k_kernel(  # type: ignore[no-untyped-def]
    score_ptr, quota_ptr, offset_ptr, out_ptr,
    num_tokens, num_blocks, num_kept, block,
    BLOCK: tl.constexpr, AT_ONCE: tl.constexpr,
):  # fmt: skip
    """Grid: (blocks, batch × heads). scores `[B × H, T]`; offsets `[B × H, blocks]`, where a block's tokens go."""
    head = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0) * block
    length = tl.minimum(block, num_tokens - first)
    offs = tl.arange(0, BLOCK)
    row = score_ptr + head * num_tokens + first
    mine = tl.load(row + offs, mask=offs < length, other=float("-inf"))  # [BLOCK]
    rank = tl.zeros([BLOCK], dtype=tl.int32)
    for start in range(0, length, AT_ONCE):
        other = start + tl.arange(0, AT_ONCE)
        theirs = tl.load(row + other, mask=other < length, other=float("-inf"))  # [AT_ONCE]
        is_before = theirs[None, :] > mine[:, None]
        is_earlier = (theirs[None, :] == mine[:, None]) & (other[None, :] < offs[:, None])
        rank += tl.sum(((is_before | is_earlier) & (other < length)[None, :]).to(tl.int32), 1)
    quota = tl.load(quota_ptr + head * num_blocks + tl.program_id(0))
    is_kept = (rank < quota) & (offs < length)
    place = tl.load(offset_ptr + head * num_blocks + tl.program_id(0)) + tl.cumsum(is_kept.to(tl.int32), 0) - 1
    tl.store(out_ptr + head * num_kept + place, (first + offs).to(tl.int64), mask=is_kept)


def block_top_k(scores: Tensor, quotas: Tensor, block: int) -> Tensor:
    """Same as `columns.block_top_k`, tensors checked. Waits for the device: the result's size depends on quotas."""
    batch, heads, num_tokens = scores.shape
    num_blocks = quotas.shape[2]
    lengths = torch.full((num_blocks,), block, device=scores.device)
    if num_blocks:
        lengths[-1] = num_tokens - (num_blocks - 1) * block
    counts = torch.minimum(quotas, lengths).clamp_min(0)
    ends = counts.cumsum(-1)
    num_kept = int(ends[..., -1].max()) if ends.numel() else 0
    out = torch.full((batch, heads, num_kept), NEVER, dtype=torch.int64, device=scores.device)
    if num_kept:
        top_k_kernel[(num_blocks, batch * heads)](
            scores.contiguous(), quotas.contiguous(), (ends - counts).contiguous(), out,
            num_tokens, num_blocks, num_kept, block,
            BLOCK=triton.next_power_of_2(block), AT_ONCE=min(AT_ONCE, triton.next_power_of_2(block)),
        )  # fmt: skip
    return out
