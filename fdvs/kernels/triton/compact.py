"""Compaction: keys and values of chosen tokens, gathered into one dense run with their positions."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fdvs.kernels.plans import Entries
from fdvs.kernels.triton.launch import padded_size, strides, with_unit_stride

TOKENS = 32


@triton.jit
def compact_kernel(  # type: ignore[no-untyped-def]
    k_ptr, v_ptr, position_ptr, out_k_ptr, out_v_ptr,
    stride_kb, stride_kh, stride_kt, stride_vb, stride_vh, stride_vt,
    heads_k, num_k, num_kept,
    TOKENS: tl.constexpr, D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    """Grid: (blocks of kept tokens, batch × KV heads). positions `[B × Hk, S]`; zeros where there is no such token."""
    group = tl.program_id(1).to(tl.int64)
    batch = group // heads_k
    head = group % heads_k
    offs = (tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)).to(tl.int64)
    mask_s = offs < num_kept
    position = tl.load(position_ptr + group * num_kept + offs, mask=mask_s, other=-1)  # [TOKENS]
    is_real = (position >= 0) & (position < num_k)
    row = group * num_kept + offs
    offs_d = tl.arange(0, BLOCK_D)
    start = k_ptr + batch * stride_kb + head * stride_kh + position * stride_kt
    k_blk = tl.load(start[:, None] + offs_d[None, :], mask=is_real[:, None] & (offs_d[None, :] < D), other=0.0)
    tl.store(out_k_ptr + row[:, None] * D + offs_d[None, :], k_blk, mask=mask_s[:, None] & (offs_d[None, :] < D))
    offs_dv = tl.arange(0, BLOCK_DV)
    start = v_ptr + batch * stride_vb + head * stride_vh + position * stride_vt
    v_blk = tl.load(start[:, None] + offs_dv[None, :], mask=is_real[:, None] & (offs_dv[None, :] < DV), other=0.0)
    tl.store(out_v_ptr + row[:, None] * DV + offs_dv[None, :], v_blk, mask=mask_s[:, None] & (offs_dv[None, :] < DV))


def compact(k: Tensor, v: Tensor, positions: Tensor) -> Entries:
    """Same as `columns.compact`, tensors checked."""
    batch, heads, num_kept = positions.shape
    size, size_v = k.shape[3], v.shape[3]
    out_k = torch.empty(batch, heads, num_kept, size, dtype=k.dtype, device=k.device)
    out_v = torch.empty(batch, heads, num_kept, size_v, dtype=v.dtype, device=v.device)
    k, v = with_unit_stride(k), with_unit_stride(v)
    if positions.numel():
        compact_kernel[(triton.cdiv(num_kept, TOKENS), batch * heads)](
            k, v, positions.contiguous(), out_k, out_v, *strides(k), *strides(v), heads, k.shape[2], num_kept,
            TOKENS=TOKENS, D=size, DV=size_v, BLOCK_D=padded_size(size), BLOCK_DV=padded_size(size_v),
        )  # fmt: skip
    return Entries(out_k, out_v, positions)
