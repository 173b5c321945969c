"""Merging: attention over disjoint sets of keys as attention over their union, in one pass over the parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from fdvs.kernels.plans import Attended
from fdvs.kernels.triton.launch import padded_size

ROWS = 32


@triton.jit
def merge_kernel(  # type: ignore[no-untyped-def]
    parts_ptr, lses_ptr, out_ptr, lse_ptr,
    num_parts, num_rows,
    ROWS: tl.constexpr, DV: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """Grid: (blocks of rows,). parts `[P, R, DV]`, lses `[P, R]` float32."""
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    offs_dv = tl.arange(0, BLOCK_DV)
    mask_m = row < num_rows
    acc = tl.zeros([ROWS, BLOCK_DV], dtype=tl.float32)
    top = tl.full([ROWS], float("-inf"), dtype=tl.float32)
    total = tl.zeros([ROWS], dtype=tl.float32)
    base = row
    for _ in range(num_parts):
        lse = tl.load(lses_ptr + base, mask=mask_m, other=float("-inf"))  # [ROWS]
        new_top = tl.maximum(top, lse)
        shift = tl.where(new_top == float("-inf"), 0.0, new_top)
        weight = tl.exp(lse - shift)
        fade = tl.exp(top - shift)
        mask_v = (mask_m & (lse > float("-inf")))[:, None] & (offs_dv[None, :] < DV)
        part_blk = tl.load(
            parts_ptr + base[:, None] * DV + offs_dv[None, :], mask=mask_v, other=0.0
        )  # [ROWS, BLOCK_DV]
        acc = acc * fade[:, None] + part_blk.to(tl.float32) * weight[:, None]
        total = total * fade + weight
        top = new_top
        base += num_rows
    is_blind = total == 0.0
    total = tl.where(is_blind, 1.0, total)
    out = acc / total[:, None]
    mask_out = mask_m[:, None] & (offs_dv[None, :] < DV)
    tl.store(out_ptr + row[:, None] * DV + offs_dv[None, :], out.to(out_ptr.dtype.element_ty), mask=mask_out)
    tl.store(lse_ptr + row, tl.where(is_blind, float("-inf"), top + tl.log(total)), mask=mask_m)


def merge_stacked(parts: Tensor, lses: Tensor, dtype: torch.dtype) -> Attended:
    """One result of `parts` `[P, …, Dv]` and `lses` `[P, …]` float32, in the type `dtype`."""
    parts, lses = parts.contiguous(), lses.contiguous()
    size = parts.shape[-1]
    out = torch.empty(parts.shape[1:], dtype=dtype, device=parts.device)
    lse = torch.empty(lses.shape[1:], dtype=torch.float32, device=parts.device)
    if lse.numel():
        merge_kernel[(triton.cdiv(lse.numel(), ROWS),)](
            parts, lses, out, lse, len(parts), lse.numel(), ROWS=ROWS, DV=size, BLOCK_DV=padded_size(size)
        )
    return Attended(out, lse)


def merge(parts: Sequence[Attended]) -> Attended:
    """Same as `reference.merge`."""
    outs, lses = torch.stack([part.out for part in parts]), torch.stack([part.lse for part in parts])
    return merge_stacked(outs, lses.float(), parts[0].out.dtype)
