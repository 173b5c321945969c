"""Column scores: how much attention each key gets from some queries: each voter's log-sum-exp first, then the sums."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fdvs.kernels.triton.launch import LOG2_E, padded_size, strides, with_unit_stride

KEYS = 64
SPLIT = 4096
"""Keys that one program of the first pass reads: few queries vote, so many programs share the keys."""


@triton.jit
def _voters(  # type: ignore[no-untyped-def]
    q_ptr, position_ptr, batch, kv_head, first_row, stride_qb, stride_qh, stride_qt, num_q,
    GROUPS: tl.constexpr, ROWS: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Rows of all heads of a KV head: their queries, positions (-1: no row) and numbers."""
    row = first_row + tl.arange(0, ROWS)
    mask_m = row < GROUPS * num_q
    query = (row % num_q).to(tl.int64)
    q_head = kv_head * GROUPS + row // num_q
    offs_d = tl.arange(0, BLOCK_D)
    start = q_ptr + batch * stride_qb + q_head * stride_qh + query * stride_qt
    q_blk = tl.load(start[:, None] + offs_d[None, :], mask=mask_m[:, None] & (offs_d[None, :] < D), other=0.0)
    return q_blk, tl.load(position_ptr + query, mask=mask_m, other=-1), row, query, mask_m


@triton.jit
def _logits(  # type: ignore[no-untyped-def]
    q_blk, position, k_row, key, stride_kt, num_k, scale, D: tl.constexpr, BLOCK_D: tl.constexpr
):  # fmt: skip
    """`[ROWS, KEYS]` to the base 2, -inf after a row's own position."""
    offs_d = tl.arange(0, BLOCK_D)
    mask_k = (offs_d[:, None] < D) & (key < num_k)[None, :]
    k_blk = tl.load(k_row + offs_d[:, None] + key[None, :] * stride_kt, mask=mask_k, other=0.0)  # [BLOCK_D, KEYS]
    logits = tl.dot(q_blk, k_blk, input_precision="tf32x3") * scale
    is_seen = (key[None, :] <= position[:, None]) & (key < num_k)[None, :]
    return tl.where(is_seen, logits, float("-inf"))


@triton.jit
def column_lse_kernel(  # type: ignore[no-untyped-def]
    q_ptr, k_ptr, position_ptr, lse_ptr,
    stride_qb, stride_qh, stride_qt, stride_kb, stride_kh, stride_kt,
    heads_k, num_q, num_k, scale,
    GROUPS: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr, SPLIT: tl.constexpr,
    D: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Grid: (splits of the keys, blocks of rows, batch × KV heads). lse `[splits, B × Hk, GROUPS × N]`, base 2."""
    split = tl.program_id(0).to(tl.int64)
    batch = (tl.program_id(2) // heads_k).to(tl.int64)
    kv_head = (tl.program_id(2) % heads_k).to(tl.int64)
    q_blk, position, row, _, mask_m = _voters(
        q_ptr, position_ptr, batch, kv_head, tl.program_id(1) * ROWS, stride_qb, stride_qh, stride_qt, num_q,
        GROUPS, ROWS, D, BLOCK_D,
    )  # fmt: skip
    top = tl.full([ROWS], float("-inf"), dtype=tl.float32)
    total = tl.zeros([ROWS], dtype=tl.float32)
    k_row = k_ptr + batch * stride_kb + kv_head * stride_kh
    end = tl.minimum(tl.minimum((split + 1) * SPLIT, num_k), tl.max(position, 0) + 1)
    for first in range(split * SPLIT, end, KEYS):
        key = (first + tl.arange(0, KEYS)).to(tl.int64)
        logits = _logits(q_blk, position, k_row, key, stride_kt, num_k, scale, D, BLOCK_D)
        new_top = tl.maximum(top, tl.max(logits, 1))
        shift = tl.where(new_top == float("-inf"), 0.0, new_top)
        total = total * tl.exp2(top - shift) + tl.sum(tl.exp2(logits - shift[:, None]), 1)
        top = new_top
    is_blind = total == 0.0
    lse = tl.where(is_blind, float("-inf"), top + tl.log2(tl.where(is_blind, 1.0, total)))
    out = (split * tl.num_programs(2) + tl.program_id(2)) * (GROUPS * num_q) + row
    tl.store(lse_ptr + out, lse, mask=mask_m)


@triton.jit
def column_sum_kernel(  # type: ignore[no-untyped-def]
    q_ptr, k_ptr, position_ptr, lse_ptr, vote_ptr, out_ptr,
    stride_qb, stride_qh, stride_qt, stride_kb, stride_kh, stride_kt,
    heads_k, num_q, num_k, num_splits, scale,
    GROUPS: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Grid: (blocks of keys, batch × KV heads). A row counts by its entry of vote `[N]`: padding has 0."""
    group = tl.program_id(1).to(tl.int64)
    batch = group // heads_k
    kv_head = group % heads_k
    key = (tl.program_id(0) * KEYS + tl.arange(0, KEYS)).to(tl.int64)
    k_row = k_ptr + batch * stride_kb + kv_head * stride_kh
    scores = tl.zeros([KEYS], dtype=tl.float32)
    for first_row in range(0, GROUPS * num_q, ROWS):
        q_blk, position, row, query, mask_m = _voters(
            q_ptr, position_ptr, batch, kv_head, first_row, stride_qb, stride_qh, stride_qt, num_q,
            GROUPS, ROWS, D, BLOCK_D,
        )  # fmt: skip
        vote = tl.load(vote_ptr + query, mask=mask_m, other=0.0)  # [ROWS]
        top = tl.full([ROWS], float("-inf"), dtype=tl.float32)
        total = tl.zeros([ROWS], dtype=tl.float32)
        for split in range(num_splits):
            at = (split * tl.num_programs(1) + group) * (GROUPS * num_q) + row
            part = tl.load(lse_ptr + at, mask=mask_m, other=float("-inf"))  # [ROWS]
            new_top = tl.maximum(top, part)
            shift = tl.where(new_top == float("-inf"), 0.0, new_top)
            total = total * tl.exp2(top - shift) + tl.exp2(part - shift)
            top = new_top
        is_blind = total == 0.0
        lse = tl.where(is_blind, 0.0, top + tl.log2(tl.where(is_blind, 1.0, total)))
        logits = _logits(q_blk, position, k_row, key, stride_kt, num_k, scale, D, BLOCK_D)
        scores += tl.sum(tl.exp2(logits - lse[:, None]) * vote[:, None], 0)
    tl.store(out_ptr + group * num_k + key, scores, mask=key < num_k)


def column_scores(q: Tensor, q_positions: Tensor, k: Tensor, *, scale: float, is_real: Tensor | None) -> Tensor:
    """Same as `columns.column_scores`, tensors checked."""
    batch, heads_q, num_q, size = q.shape
    heads_k, num_k = k.shape[1:3]
    groups = heads_q // heads_k
    out = torch.zeros(batch, heads_k, num_k, dtype=torch.float32, device=q.device)
    if out.numel() == 0 or num_q == 0:
        return out
    q, k = with_unit_stride(q), with_unit_stride(k)
    votes = torch.ones(num_q, device=q.device) if is_real is None else is_real.float()
    votes = votes / (votes.sum() * groups).clamp_min(1)
    splits, rows = triton.cdiv(num_k, SPLIT), min(64, padded_size(groups * num_q))
    lse = torch.empty(splits, batch * heads_k, groups * num_q, dtype=torch.float32, device=q.device)
    sizes = {"GROUPS": groups, "ROWS": rows, "KEYS": KEYS, "D": size, "BLOCK_D": padded_size(size)}
    column_lse_kernel[(splits, triton.cdiv(groups * num_q, rows), batch * heads_k)](
        q, k, q_positions, lse, *strides(q), *strides(k), heads_k, num_q, num_k, scale * LOG2_E, SPLIT=SPLIT, **sizes
    )
    column_sum_kernel[(triton.cdiv(num_k, KEYS), batch * heads_k)](
        q, k, q_positions, lse, votes, out,
        *strides(q), *strides(k), heads_k, num_q, num_k, splits, scale * LOG2_E, **sizes,
    )  # fmt: skip
    return out
