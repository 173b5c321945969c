"""Pooling: weights, pooled keys and values, anchors and the logarithm of the count, in one pass over a group."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fdvs.kernels.plans import Entries
from fdvs.kernels.pooling import Pooled, PoolRule
from fdvs.kernels.triton.launch import padded_size, strides, with_unit_stride

RULES = {"weighted": 0, "mean": 1, "anchor": 2}
MAX_TILE = 8192
"""Numbers of keys that a program holds at once: larger groups are walked in parts."""


@triton.jit
def pool_kernel(  # type: ignore[no-untyped-def]
    k_ptr, v_ptr, members_ptr, query_ptr, out_k_ptr, out_v_ptr, last_ptr, bias_ptr, weights_ptr, anchors_ptr,
    stride_kb, stride_kh, stride_kt, stride_vb, stride_vh, stride_vt, stride_mb, stride_mh,
    heads_k, num_k, num_groups, group_size, scale,
    MEMBERS: tl.constexpr, D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
    HAS_QUERY: tl.constexpr, KEY_RULE: tl.constexpr, VALUE_RULE: tl.constexpr,
):  # fmt: skip
    """Grid: (groups, batch × KV heads). members `[…, M, G]`; all results are dense."""
    group = tl.program_id(0).to(tl.int64)
    batch = (tl.program_id(1) // heads_k).to(tl.int64)
    head = (tl.program_id(1) % heads_k).to(tl.int64)
    row = (batch * heads_k + head) * num_groups + group
    offs_g = tl.arange(0, MEMBERS)
    offs_d = tl.arange(0, BLOCK_D)
    offs_dv = tl.arange(0, BLOCK_DV)
    mask_d = offs_d < D
    mask_dv = offs_dv < DV
    k_row = k_ptr + batch * stride_kb + head * stride_kh
    v_row = v_ptr + batch * stride_vb + head * stride_vh
    member_row = members_ptr + batch * stride_mb + head * stride_mh + group * group_size
    weight_row = weights_ptr + row * group_size
    if HAS_QUERY:
        query = tl.load(query_ptr + row * D + offs_d, mask=mask_d, other=0.0).to(tl.float32)  # [BLOCK_D]
    acc_k = tl.zeros([BLOCK_D], dtype=tl.float32)
    acc_v = tl.zeros([BLOCK_DV], dtype=tl.float32)
    top = float("-inf")
    total = 0.0
    count = 0
    anchor = tl.full([], -1, dtype=tl.int64)
    last = tl.full([], -1, dtype=tl.int64)
    for first in range(0, group_size, MEMBERS):
        mask_g = first + offs_g < group_size
        position = tl.load(member_row + first + offs_g, mask=mask_g, other=-1)  # [MEMBERS]
        is_member = position >= 0
        is_real = is_member & (position < num_k)
        mask_k = is_real[:, None] & mask_d[None, :]
        k_blk = tl.load(k_row + position[:, None] * stride_kt + offs_d[None, :], mask=mask_k, other=0.0)
        k_blk = k_blk.to(tl.float32)  # [MEMBERS, BLOCK_D]
        mask_v = is_real[:, None] & mask_dv[None, :]
        v_blk = tl.load(v_row + position[:, None] * stride_vt + offs_dv[None, :], mask=mask_v, other=0.0)
        v_blk = v_blk.to(tl.float32)  # [MEMBERS, BLOCK_DV]
        if HAS_QUERY:
            logits = tl.sum(k_blk * query[None, :], 1) * scale
        else:
            logits = tl.zeros([MEMBERS], dtype=tl.float32)
        logits = tl.where(is_member, logits, float("-inf"))
        tl.store(weight_row + first + offs_g, logits, mask=mask_g)
        here = tl.max(logits, 0)
        at = tl.argmax(logits, 0)  # the earliest of equal ones
        is_better = here > top
        anchor = tl.where(is_better, tl.max(tl.where(offs_g == at, position, -1), 0), anchor)
        new_top = tl.maximum(top, here)
        shift = tl.where(new_top == float("-inf"), 0.0, new_top)
        weights = tl.exp(logits - shift)
        fade = tl.exp(top - shift)
        total = total * fade + tl.sum(weights, 0)
        if KEY_RULE == 0:
            acc_k = acc_k * fade + tl.sum(k_blk * weights[:, None], 0)
        else:
            acc_k += tl.sum(k_blk, 0)
        if VALUE_RULE == 0:
            acc_v = acc_v * fade + tl.sum(v_blk * weights[:, None], 0)
        else:
            acc_v += tl.sum(v_blk, 0)
        top = new_top
        count += tl.sum(is_member.to(tl.int32), 0)
        last = tl.maximum(last, tl.max(position, 0))

    some = tl.maximum(count, 1).to(tl.float32)
    total = tl.where(total == 0.0, 1.0, total)
    shift = tl.where(top == float("-inf"), 0.0, top)
    is_anchor_real = (anchor >= 0) & (anchor < num_k)
    if KEY_RULE == 2:
        acc_k = tl.load(k_row + anchor * stride_kt + offs_d, mask=mask_d & is_anchor_real, other=0.0).to(tl.float32)
    else:
        acc_k = acc_k / (total if KEY_RULE == 0 else some)
    if VALUE_RULE == 2:
        acc_v = tl.load(v_row + anchor * stride_vt + offs_dv, mask=mask_dv & is_anchor_real, other=0.0).to(tl.float32)
    else:
        acc_v = acc_v / (total if VALUE_RULE == 0 else some)
    tl.store(out_k_ptr + row * D + offs_d, acc_k.to(out_k_ptr.dtype.element_ty), mask=mask_d)
    tl.store(out_v_ptr + row * DV + offs_dv, acc_v.to(out_v_ptr.dtype.element_ty), mask=mask_dv)
    tl.store(last_ptr + row, tl.where(count == 0, 2147483647, last))
    tl.store(bias_ptr + row, tl.log(some))
    tl.store(anchors_ptr + row, anchor)
    tl.debug_barrier()  # the logits of all parts are written before they are read again
    for first in range(0, group_size, MEMBERS):
        mask_g = first + offs_g < group_size
        logits = tl.load(weight_row + first + offs_g, mask=mask_g, other=float("-inf"))  # [MEMBERS]
        tl.store(weight_row + first + offs_g, tl.exp(logits - shift) / total, mask=mask_g)


def pool(
    k: Tensor,
    v: Tensor,
    members: Tensor,
    queries: Tensor | None,
    *,
    scale: float,
    key_rule: PoolRule,
    value_rule: PoolRule,
    has_log_count: bool,
) -> Pooled:
    """Same as `pooling.pool`, tensors checked."""
    batch, heads, num_k, size = k.shape
    num_groups, group_size = members.shape[2:]
    shape, device, size_v = (batch, heads, num_groups), k.device, v.shape[3]
    out_k = torch.empty(*shape, size, dtype=k.dtype, device=device)
    out_v = torch.empty(*shape, size_v, dtype=v.dtype, device=device)
    last = torch.empty(shape, dtype=torch.int64, device=device)
    bias = torch.empty(shape, dtype=torch.float32, device=device)
    weights = torch.empty(*shape, group_size, dtype=torch.float32, device=device)
    anchors = torch.empty(shape, dtype=torch.int64, device=device)
    k, v, members = with_unit_stride(k), with_unit_stride(v), members.contiguous().expand(batch, heads, -1, -1)
    block_d = max(padded_size(size), padded_size(size_v))
    if last.numel():
        pool_kernel[(num_groups, batch * heads)](
            k, v, members, None if queries is None else queries.contiguous(),
            out_k, out_v, last, bias, weights, anchors,
            *strides(k), *strides(v), members.stride(0), members.stride(1),
            heads, num_k, num_groups, group_size, scale,
            MEMBERS=min(triton.next_power_of_2(max(group_size, 2)), MAX_TILE // block_d),
            D=size, DV=size_v, BLOCK_D=padded_size(size), BLOCK_DV=padded_size(size_v), HAS_QUERY=queries is not None,
            KEY_RULE=RULES[key_rule], VALUE_RULE=RULES[value_rule], num_warps=4,
        )  # fmt: skip
    return Pooled(Entries(out_k, out_v, last, bias if has_log_count else None), weights, anchors)
