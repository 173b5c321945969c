"""Prefill: one softmax over pooled entries, selected entries, kept tiles and the causal band.

A program owns the rows of one tile: `PACK` query heads of each of its queries, row by row, so that all heads that share
a KV head share what is loaded of it. It walks the entries that one of its rows looks at, its list of key tiles, and the
band from the first key that one of its rows sees; key tiles that none of them sees are never loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from fdvs.kernels.plans import NEVER, Attended, Entries, Plan, Tiles
from fdvs.kernels.triton.launch import LOG2_E, Tiling, padded_size, prefill_tiling, strides, with_unit_stride
from fdvs.kernels.triton.merge import merge_stacked
from fdvs.kernels.triton.softmax_step import finish, softmax_step
from fdvs.kernels.visibility import num_looked_at


@triton.jit
def _walk_entries(  # type: ignore[no-untyped-def]
    acc, top, total, q_blk, start, count,
    k_ptr, v_ptr, last_ptr, bias_ptr, keep_ptr,
    num_entries, scale,
    D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr, KEYS: tl.constexpr,
    HAS_BIAS: tl.constexpr, IS_REMAINDER: tl.constexpr,
):  # fmt: skip
    """The first `count` entries of one KV head; pointers stand at its first entry, that of keep at its tile's list."""
    offs_n = tl.arange(0, KEYS)
    offs_d = tl.arange(0, BLOCK_D)
    offs_dv = tl.arange(0, BLOCK_DV)
    for first in range(0, count, KEYS):
        entry = (first + offs_n).to(tl.int64)
        mask_n = entry < num_entries
        mask_k = (offs_d[:, None] < D) & mask_n[None, :]
        k_blk = tl.load(k_ptr + offs_d[:, None] + entry[None, :] * D, mask=mask_k, other=0.0)  # [BLOCK_D, KEYS]
        logits = tl.dot(q_blk, k_blk, input_precision="tf32x3") * scale
        if HAS_BIAS:
            bias = tl.load(bias_ptr + entry, mask=mask_n, other=0.0)  # [KEYS]
            logits += bias[None, :] * 1.4426950408889634
        last = tl.load(last_ptr + entry, mask=mask_n, other=2147483647)  # [KEYS]
        is_seen = last[None, :] < start[:, None]
        if IS_REMAINDER:
            is_kept = tl.load(keep_ptr + entry, mask=mask_n, other=1)  # [KEYS]
            is_seen = is_seen & (is_kept == 0)[None, :]
        mask_v = mask_n[:, None] & (offs_dv[None, :] < DV)
        v_blk = tl.load(v_ptr + entry[:, None] * DV + offs_dv[None, :], mask=mask_v, other=0.0)  # [KEYS, BLOCK_DV]
        acc, top, total = softmax_step(acc, top, total, tl.where(is_seen, logits, float("-inf")), v_blk)
    return acc, top, total


@triton.jit
def prefill_kernel(  # type: ignore[no-untyped-def]
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr,
    q_position_ptr, start_ptr, q_order_ptr,
    pooled_k_ptr, pooled_v_ptr, pooled_last_ptr, pooled_bias_ptr, pooled_count_ptr,
    selected_k_ptr, selected_v_ptr, selected_last_ptr, selected_bias_ptr, selected_count_ptr,
    tile_k_ptr, tile_v_ptr, tile_position_ptr, indptr_ptr, indices_ptr, keep_ptr,
    stride_qb, stride_qh, stride_qt, stride_kb, stride_kh, stride_kt, stride_vb, stride_vh, stride_vt,
    stride_tkb, stride_tkh, stride_tkt, stride_tvb, stride_tvh, stride_tvt,
    stride_sb, stride_sh,
    heads_q, heads_k, num_q, num_k, num_pooled, num_selected,
    block_q, tiles_q, tiles_k, programs_per_tile, scale,
    PACK: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr, BLOCK_K: tl.constexpr,
    D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
    HAS_ORDER: tl.constexpr, HAS_POOLED: tl.constexpr, HAS_SELECTED: tl.constexpr,
    HAS_POOLED_BIAS: tl.constexpr, HAS_SELECTED_BIAS: tl.constexpr, IS_REMAINDER: tl.constexpr,
    HAS_TILES: tl.constexpr, HAS_TILE_POSITIONS: tl.constexpr, HAS_BAND: tl.constexpr,
):  # fmt: skip
    """Grid: (query tiles × programs of a tile, batch × packs of query heads). `scale` is to the base 2."""
    program = tl.num_programs(0) - 1 - tl.program_id(0)  # later queries see more: the longest programs begin first
    tile = program // programs_per_tile
    packs = heads_q // PACK
    batch = (tl.program_id(1) // packs).to(tl.int64)
    pack = (tl.program_id(1) % packs).to(tl.int64)
    kv_head = pack * PACK * heads_k // heads_q
    group = batch * heads_k + kv_head

    offs_m = (program % programs_per_tile) * ROWS + tl.arange(0, ROWS)
    place = tile * block_q + offs_m // PACK
    mask_m = (offs_m < block_q * PACK) & (place < num_q)
    if HAS_ORDER:
        query = tl.load(q_order_ptr + place, mask=mask_m, other=0).to(tl.int64)  # [ROWS]
    else:
        query = place.to(tl.int64)
    q_head = pack * PACK + offs_m % PACK
    position = tl.load(q_position_ptr + query, mask=mask_m, other=-1)  # [ROWS]
    start_row = start_ptr + batch * stride_sb + kv_head * stride_sh
    start = tl.load(start_row + query, mask=mask_m, other=0)  # [ROWS]

    offs_n = tl.arange(0, KEYS)
    offs_d = tl.arange(0, BLOCK_D)
    offs_dv = tl.arange(0, BLOCK_DV)
    q_row = q_ptr + batch * stride_qb + q_head * stride_qh + query * stride_qt
    mask_q = mask_m[:, None] & (offs_d[None, :] < D)
    q_blk = tl.load(q_row[:, None] + offs_d[None, :], mask=mask_q, other=0.0)  # [ROWS, BLOCK_D]
    acc = tl.zeros([ROWS, BLOCK_DV], dtype=tl.float32)
    top = tl.full([ROWS], float("-inf"), dtype=tl.float32)
    total = tl.zeros([ROWS], dtype=tl.float32)

    kept_row = keep_ptr + ((batch * packs + pack) * tiles_q + tile) * tiles_k
    if HAS_POOLED:
        counts = tl.load(pooled_count_ptr + group * num_q + query, mask=mask_m, other=0)  # [ROWS]
        base = group * num_pooled
        acc, top, total = _walk_entries(
            acc, top, total, q_blk, start, tl.max(counts, 0),
            pooled_k_ptr + base * D, pooled_v_ptr + base * DV, pooled_last_ptr + base, pooled_bias_ptr + base, kept_row,
            num_pooled, scale, D, DV, BLOCK_D, BLOCK_DV, KEYS, HAS_POOLED_BIAS, IS_REMAINDER,
        )  # fmt: skip
    if HAS_SELECTED:
        counts = tl.load(selected_count_ptr + group * num_q + query, mask=mask_m, other=0)  # [ROWS]
        base = group * num_selected
        acc, top, total = _walk_entries(
            acc, top, total, q_blk, start, tl.max(counts, 0),
            selected_k_ptr + base * D, selected_v_ptr + base * DV, selected_last_ptr + base, selected_bias_ptr + base,
            kept_row, num_selected, scale, D, DV, BLOCK_D, BLOCK_DV, KEYS, HAS_SELECTED_BIAS, False,
        )  # fmt: skip

    if HAS_TILES:
        steps: tl.constexpr = (BLOCK_K + KEYS - 1) // KEYS
        list_ptr = indptr_ptr + (batch * packs + pack) * (tiles_q + 1) + tile
        first_kept = tl.load(list_ptr).to(tl.int64)
        end_kept = tl.load(list_ptr + 1).to(tl.int64)
        limit = tl.minimum(start, position + 1)
        k_row = tile_k_ptr + batch * stride_tkb + kv_head * stride_tkh
        v_row = tile_v_ptr + batch * stride_tvb + kv_head * stride_tvh
        for step in range(first_kept * steps, end_kept * steps):
            key_tile = tl.load(indices_ptr + step // steps).to(tl.int64)
            in_tile = (step % steps) * KEYS + offs_n
            key = key_tile * BLOCK_K + in_tile
            mask_n = (in_tile < BLOCK_K) & (key < num_k)
            mask_k = (offs_d[:, None] < D) & mask_n[None, :]
            k_blk = tl.load(k_row + offs_d[:, None] + key[None, :] * stride_tkt, mask=mask_k, other=0.0)
            if HAS_TILE_POSITIONS:
                key_position = tl.load(tile_position_ptr + key, mask=mask_n, other=2147483647)  # [KEYS]
            else:
                key_position = tl.where(mask_n, key, 2147483647)
            logits = tl.dot(q_blk, k_blk, input_precision="tf32x3") * scale
            logits = tl.where(key_position[None, :] < limit[:, None], logits, float("-inf"))
            mask_v = mask_n[:, None] & (offs_dv[None, :] < DV)
            v_blk = tl.load(v_row + key[:, None] * stride_tvt + offs_dv[None, :], mask=mask_v, other=0.0)
            acc, top, total = softmax_step(acc, top, total, logits, v_blk)

    if HAS_BAND:
        first_key = tl.min(tl.where(mask_m, start, 2147483647), 0) // KEYS * KEYS
        end_key = tl.minimum(tl.max(position, 0) + 1, num_k)
        k_row = k_ptr + batch * stride_kb + kv_head * stride_kh
        v_row = v_ptr + batch * stride_vb + kv_head * stride_vh
        for first in range(first_key, end_key, KEYS):
            key = (first + offs_n).to(tl.int64)
            mask_n = key < num_k
            mask_k = (offs_d[:, None] < D) & mask_n[None, :]
            k_blk = tl.load(k_row + offs_d[:, None] + key[None, :] * stride_kt, mask=mask_k, other=0.0)
            logits = tl.dot(q_blk, k_blk, input_precision="tf32x3") * scale  # [ROWS, KEYS]
            is_seen = (key[None, :] >= start[:, None]) & (key[None, :] <= position[:, None]) & mask_n[None, :]
            mask_v = mask_n[:, None] & (offs_dv[None, :] < DV)
            v_blk = tl.load(v_row + key[:, None] * stride_vt + offs_dv[None, :], mask=mask_v, other=0.0)
            acc, top, total = softmax_step(acc, top, total, tl.where(is_seen, logits, float("-inf")), v_blk)

    out, lse = finish(acc, top, total)
    out_row = (batch * heads_q + q_head) * num_q + query
    mask_out = mask_m[:, None] & (offs_dv[None, :] < DV)
    tl.store(out_ptr + out_row[:, None] * DV + offs_dv[None, :], out.to(out_ptr.dtype.element_ty), mask=mask_out)
    tl.store(lse_ptr + out_row, lse, mask=mask_m)


@dataclass(frozen=True, slots=True)
class _Far:
    """Entries as the kernel takes them: dense, 32-bit positions, and how many of them each query looks at."""

    k: Tensor
    v: Tensor
    last: Tensor
    bias: Tensor | None
    counts: Tensor

    @classmethod
    def of(cls, entries: Entries | None, band_start: Tensor) -> _Far | None:
        if entries is None or entries.num_entries == 0:
            return None
        return cls(
            entries.k.contiguous(),
            entries.v.contiguous(),
            entries.last.to(torch.int32).contiguous(),
            None if entries.bias is None else entries.bias.float().contiguous(),
            num_looked_at(entries.last, band_start).to(torch.int32),
        )


def attend(q: Tensor, k: Tensor, v: Tensor, plan: Plan, *, scale: float, tiling: Tiling | None = None) -> Attended:
    """Attention under a plan whose tensors are checked. Queries in another order run their band on its own."""
    tiling = tiling or prefill_tiling(q.dtype, max(q.shape[3], v.shape[3]))
    if plan.tiles is None or plan.tiles.q_order is None:
        return _launch(q, k, v, plan, scale, tiling, has_band=True, dtype=q.dtype)
    far = _launch(q, k, v, plan, scale, tiling, has_band=False, dtype=torch.float32)
    near = _launch(q, k, v, Plan(plan.q_positions, plan.band_start), scale, tiling, has_band=True, dtype=torch.float32)
    return merge_stacked(torch.stack([far.out, near.out]), torch.stack([far.lse, near.lse]), q.dtype)


def _launch(
    q: Tensor, k: Tensor, v: Tensor, plan: Plan, scale: float, tiling: Tiling, *, has_band: bool, dtype: torch.dtype
) -> Attended:
    batch, heads_q, num_q, size = q.shape
    heads_k, num_k, size_v = k.shape[1], k.shape[2], v.shape[3]
    out = torch.empty(batch, heads_q, num_q, size_v, dtype=dtype, device=q.device)
    lse = torch.empty(batch, heads_q, num_q, dtype=torch.float32, device=q.device)
    if out.shape[:3].numel() == 0:
        return Attended(out, lse)
    q, k, v = with_unit_stride(q), with_unit_stride(k), with_unit_stride(v)
    start = plan.band_start.expand(batch, heads_k, -1)
    pooled, selected = _Far.of(plan.pooled, start), _Far.of(plan.selected, start)
    tiles = _Lists.of(plan.tiles, plan, k, v)
    pack = heads_q // tiles.num_lists if tiles is not None else heads_q // heads_k
    block_q = num_q if tiles is None else tiles.block_q
    per_tile = triton.cdiv(block_q * pack, tiling.rows)
    tiles_q = triton.cdiv(num_q, block_q)
    narrow_start = plan.band_start.to(torch.int32)
    narrow_start = narrow_start.expand(batch, heads_k, -1)
    if narrow_start.stride(2) != 1:
        narrow_start = narrow_start.contiguous()
    positions = plan.q_positions.to(torch.int32)
    tile_k, tile_v = (k, v) if tiles is None else (tiles.k, tiles.v)
    prefill_kernel[(tiles_q * per_tile, batch * heads_q // pack)](
        q, k, v, out, lse,
        positions, narrow_start, positions if tiles is None or tiles.q_order is None else tiles.q_order,
        *_entries(pooled, positions), *_entries(selected, positions),
        tile_k, tile_v, *_lists(tiles, positions),
        *strides(q), *strides(k), *strides(v), *strides(tile_k), *strides(tile_v),
        narrow_start.stride(0), narrow_start.stride(1),
        heads_q, heads_k, num_q, num_k,
        0 if pooled is None else pooled.k.shape[2], 0 if selected is None else selected.k.shape[2],
        block_q, tiles_q, 1 if tiles is None else tiles.tiles_k, per_tile, scale * LOG2_E,
        PACK=pack, ROWS=tiling.rows, KEYS=tiling.keys, BLOCK_K=1 if tiles is None else tiles.block_k,
        D=size, DV=size_v, BLOCK_D=padded_size(size), BLOCK_DV=padded_size(size_v),
        HAS_ORDER=tiles is not None and tiles.q_order is not None,
        HAS_POOLED=pooled is not None, HAS_SELECTED=selected is not None,
        HAS_POOLED_BIAS=pooled is not None and pooled.bias is not None,
        HAS_SELECTED_BIAS=selected is not None and selected.bias is not None,
        IS_REMAINDER=plan.is_remainder and tiles is not None,
        HAS_TILES=tiles is not None, HAS_TILE_POSITIONS=tiles is not None and tiles.positions is not None,
        HAS_BAND=has_band and num_k > 0,
        **tiling.options(),
    )  # fmt: skip
    return Attended(out, lse)


def _entries(far: _Far | None, unused: Tensor) -> tuple[Tensor, ...]:
    """Tensors in the order of the kernel; any tensor will do for those that it does not read."""
    if far is None:
        return (unused,) * 5
    return far.k, far.v, far.last, unused if far.bias is None else far.bias, far.counts


def _lists(lists: _Lists | None, unused: Tensor) -> tuple[Tensor, ...]:
    if lists is None:
        return (unused,) * 4
    return unused if lists.positions is None else lists.positions, lists.indptr, lists.indices, lists.keep


@dataclass(frozen=True, slots=True)
class _Lists:
    """Tiles as the kernel takes them: keys in the order of the tiles, and lists without tiles that nobody sees."""

    k: Tensor
    v: Tensor
    positions: Tensor | None
    q_order: Tensor | None
    indptr: Tensor
    indices: Tensor
    keep: Tensor
    block_q: int
    block_k: int

    @property
    def num_lists(self) -> int:
        return self.keep.shape[1]

    @property
    def tiles_k(self) -> int:
        return self.keep.shape[3]

    @classmethod
    def of(cls, tiles: Tiles | None, plan: Plan, k: Tensor, v: Tensor) -> _Lists | None:
        if tiles is None:
            return None
        keep = tiles.keep & _tiles_in_sight(tiles, plan, k.shape[1], k.shape[2])
        indptr, indices = Tiles(keep, tiles.block_q, tiles.block_k).csr()
        order = tiles.k_order
        return cls(
            k=k if order is None else k.index_select(2, order),
            v=v if order is None else v.index_select(2, order),
            positions=None if order is None else order.to(torch.int32),
            q_order=None if tiles.q_order is None else tiles.q_order.to(torch.int32),
            indptr=indptr,
            indices=indices,
            keep=tiles.keep.to(torch.int8).contiguous(),  # also tiles out of sight hide their remainder
            block_q=tiles.block_q,
            block_k=tiles.block_k,
        )


def _tiles_in_sight(tiles: Tiles, plan: Plan, heads_k: int, num_k: int) -> Tensor:
    """`[B or 1, Hs or 1, nQ, nK]` bool: whether a key tile begins before the band of a query of the query tile."""
    limits = torch.minimum(plan.band_start, plan.q_positions + 1)
    limits = limits if tiles.q_order is None else limits[..., tiles.q_order]
    firsts = torch.arange(num_k, device=limits.device) if tiles.k_order is None else tiles.k_order
    latest = _by_tile(limits, tiles.block_q, 0).amax(-1)
    if latest.shape[1] == heads_k:
        latest = latest.repeat_interleave(tiles.keep.shape[1] // heads_k, dim=1)
    return _by_tile(firsts, tiles.block_k, NEVER).amin(-1) < latest[..., None]


def _by_tile(x: Tensor, block: int, filling: int) -> Tensor:
    """`[…, T]` as `[…, ceil(T / block), block]`."""
    short = -x.shape[-1] % block
    padded: Tensor = torch.nn.functional.pad(x, (0, short), value=filling)
    return torch.unflatten(padded, -1, (-1, block))
