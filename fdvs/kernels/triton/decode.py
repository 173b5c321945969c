"""Decoding: split-KV attention of one step over the segments of a reduced cache, each read where it lies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from fdvs.kernels.plans import Attended, Entries
from fdvs.kernels.triton.launch import LOG2_E, padded_size, strides, with_unit_stride
from fdvs.kernels.triton.merge import merge_stacked
from fdvs.kernels.triton.softmax_step import finish, softmax_step

SPLIT = 512
"""Entries that one program reads. Short enough that one sequence keeps a GPU busy; not tuned on a chip."""
KEYS = 64


@triton.jit
def decode_kernel(  # type: ignore[no-untyped-def]
    q_ptr, k_ptr, v_ptr, last_ptr, bias_ptr, out_ptr, lse_ptr,
    stride_qb, stride_qh, stride_qt, stride_kb, stride_kh, stride_kt, stride_vb, stride_vh, stride_vt,
    stride_lb, stride_lh, stride_bb, stride_bh,
    heads_k, num_q, num_entries, scale,
    GROUPS: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr, SPLIT: tl.constexpr,
    D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr, HAS_BIAS: tl.constexpr,
):  # fmt: skip
    """Grid: (splits, batch × KV heads, blocks of rows). A row is one query of one of the heads of the KV head; out
    `[splits, B, Hq, Tq, DV]` and lse `[splits, B, Hq, Tq]` float32. `scale` is to the base 2."""
    split = tl.program_id(0).to(tl.int64)
    batch = (tl.program_id(1) // heads_k).to(tl.int64)
    kv_head = (tl.program_id(1) % heads_k).to(tl.int64)
    offs_m = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    mask_m = offs_m < GROUPS * num_q
    query = (offs_m % num_q).to(tl.int64)
    q_head = kv_head * GROUPS + offs_m // num_q
    offs_n = tl.arange(0, KEYS)
    offs_d = tl.arange(0, BLOCK_D)
    offs_dv = tl.arange(0, BLOCK_DV)
    q_row = q_ptr + batch * stride_qb + q_head * stride_qh + query * stride_qt
    mask_q = mask_m[:, None] & (offs_d[None, :] < D)
    q_blk = tl.load(q_row[:, None] + offs_d[None, :], mask=mask_q, other=0.0)  # [ROWS, BLOCK_D]
    acc = tl.zeros([ROWS, BLOCK_DV], dtype=tl.float32)
    top = tl.full([ROWS], float("-inf"), dtype=tl.float32)
    total = tl.zeros([ROWS], dtype=tl.float32)
    k_row = k_ptr + batch * stride_kb + kv_head * stride_kh
    v_row = v_ptr + batch * stride_vb + kv_head * stride_vh
    last_row = last_ptr + batch * stride_lb + kv_head * stride_lh
    bias_row = bias_ptr + batch * stride_bb + kv_head * stride_bh if HAS_BIAS else bias_ptr
    for first in range(split * SPLIT, tl.minimum((split + 1) * SPLIT, num_entries), KEYS):
        entry = (first + offs_n).to(tl.int64)
        mask_n = entry < num_entries
        mask_k = (offs_d[:, None] < D) & mask_n[None, :]
        k_blk = tl.load(k_row + offs_d[:, None] + entry[None, :] * stride_kt, mask=mask_k, other=0.0)
        logits = tl.dot(q_blk, k_blk, input_precision="tf32x3") * scale  # [ROWS, KEYS]
        if HAS_BIAS:
            bias = tl.load(bias_row + entry, mask=mask_n, other=0.0)  # [KEYS]
            logits += bias[None, :] * 1.4426950408889634
        last = tl.load(last_row + entry, mask=mask_n, other=2147483647)  # [KEYS]
        mask_v = mask_n[:, None] & (offs_dv[None, :] < DV)
        v_blk = tl.load(v_row + entry[:, None] * stride_vt + offs_dv[None, :], mask=mask_v, other=0.0)
        logits = tl.where((last < 2147483647)[None, :], logits, float("-inf"))
        acc, top, total = softmax_step(acc, top, total, logits, v_blk)
    out, lse = finish(acc, top, total)
    out_row = (((split * (tl.num_programs(1) // heads_k) + batch) * heads_k) * GROUPS + q_head) * num_q + query
    mask_out = mask_m[:, None] & (offs_dv[None, :] < DV)
    tl.store(out_ptr + out_row[:, None] * DV + offs_dv[None, :], out, mask=mask_out)
    tl.store(lse_ptr + out_row, lse, mask=mask_m)


def decode(q: Tensor, segments: Sequence[Entries], *, scale: float) -> Attended:
    """Attention of one step, tensors checked: a launch for each segment, and one that merges all splits."""
    batch, heads_q, num_q, size = q.shape
    splits = [triton.cdiv(entries.num_entries, SPLIT) for entries in segments]
    size_v = segments[0].v.shape[3]
    shape = (sum(splits), batch, heads_q, num_q)
    outs = torch.empty(*shape, size_v, dtype=torch.float32, device=q.device)
    lses = torch.empty(shape, dtype=torch.float32, device=q.device)
    if outs.numel() == 0:
        blind = torch.full(shape[1:], -torch.inf, dtype=torch.float32, device=q.device)
        return Attended(q.new_zeros(*shape[1:], size_v), blind)
    q = with_unit_stride(q)
    done = 0
    for entries, parts in zip(segments, splits, strict=True):
        if parts:
            heads_k = entries.k.shape[1]
            groups = heads_q // heads_k
            k, v = with_unit_stride(entries.k), with_unit_stride(entries.v)
            last = with_unit_stride(entries.last)
            bias = None if entries.bias is None else with_unit_stride(entries.bias.float())
            rows = min(64, padded_size(groups * num_q))
            decode_kernel[(parts, batch * heads_k, triton.cdiv(groups * num_q, rows))](
                q, k, v, last, bias, outs[done:], lses[done:],
                *strides(q), *strides(k), *strides(v),
                *last.stride()[:2], *((0, 0) if bias is None else bias.stride()[:2]),
                heads_k, num_q, entries.num_entries, scale * LOG2_E,
                GROUPS=groups, ROWS=rows, KEYS=KEYS, SPLIT=SPLIT,
                D=size, DV=size_v, BLOCK_D=padded_size(size), BLOCK_DV=padded_size(size_v), HAS_BIAS=bias is not None,
                num_warps=4, num_stages=2,
            )  # fmt: skip
        done += parts
    return merge_stacked(outs, lses, q.dtype)
