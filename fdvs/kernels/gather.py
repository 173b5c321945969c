"""The portable path: each tile of queries gathers the keys it can see and attends to them alone.

Memory grows with the number of keys, not with queries × keys; work grows with what the plan leaves. On CPUs the
softmax itself is the fused kernel of PyTorch's `scaled_dot_product_attention`, elsewhere three plain steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fdvs.kernels import reference
from fdvs.kernels.masked import causal_attention, masked_attention
from fdvs.kernels.ops import TorchPlanning
from fdvs.kernels.plans import NEVER, Attended, Entries, Plan, Tiles, check_segments, check_shapes
from fdvs.kernels.visibility import num_looked_at, tile_of_rows


@dataclass(frozen=True, slots=True)
class GatherOps(TorchPlanning):
    """Gathered segments under a fused or a plain softmax, on any device and in any floating type.

    Attributes:
        query_rows: queries of a tile, where the plan has no tiles of its own.
        max_elements: numbers that one tile's mask or logits may have; tiles shrink to this with many keys, to no less
            than one row.
        is_fused: whether to use the fused kernel of CPUs; None means wherever tensors are on a CPU.
    """

    query_rows: int = 128
    max_elements: int = 2**24
    is_fused: bool | None = None
    name = "gather"

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: Plan, *, scale: float | None = None) -> Attended:
        """Same as `reference.attend`."""
        check_shapes(q, k, v, plan)
        whole = Call(q, k, v, plan, q.shape[-1] ** -0.5 if scale is None else scale, self._fuses(q))
        if whole.is_fused and whole.is_causal():
            return causal_attention(q, k, v, scale=whole.scale)
        near = whole.empty()
        for part in whole.bands_and_entries(self._rows(q, k, plan)):
            part.write(near)
        if plan.tiles is None:
            return near
        far = whole.empty()
        for part in whole.kept_tiles(plan.tiles):
            part.write(far)
        return reference.merge([near, far])

    def decode(self, q: Tensor, segments: Sequence[Entries], *, scale: float | None = None) -> Attended:
        """Same as `reference.decode`, segment by segment: a cache is read where it lies."""
        check_segments(q, segments)
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        precise = torch.promote_types(q.dtype, torch.float32)
        parts = []
        for entries in segments:
            groups = q.shape[1] // entries.k.shape[1]
            rows = q.unflatten(1, (-1, groups)).flatten(2, 3)  # query heads of a KV head are rows of one tile
            mask = entries.biases().to(precise).masked_fill(entries.last == NEVER, -torch.inf)[:, :, None]
            out, lse = masked_attention(rows, entries.k, entries.v, mask, scale=scale, is_fused=self._fuses(q))
            parts.append(
                Attended(out.unflatten(2, (groups, -1)).flatten(1, 2), lse.unflatten(2, (groups, -1)).flatten(1, 2))
            )
        return parts[0] if len(parts) == 1 else reference.merge(parts)

    def _fuses(self, q: Tensor) -> bool:
        return q.device.type == "cpu" if self.is_fused is None else self.is_fused

    def _rows(self, q: Tensor, k: Tensor, plan: Plan) -> int:
        num_columns = k.shape[2] + sum(part.num_entries for part in (plan.pooled, plan.selected) if part is not None)
        per_row = q.shape[0] * max(num_columns, 1) * (1 if self._fuses(q) else q.shape[1] // k.shape[1])
        return max(1, min(self.query_rows, self.max_elements // per_row))


@dataclass(frozen=True, slots=True)
class Part:
    """Attention of some rows of some heads of some sequences, and where its result belongs."""

    batch: slice
    heads: slice
    rows: slice | Tensor
    result: Attended

    def write(self, whole: Attended) -> None:
        whole.out[self.batch, self.heads, self.rows] = self.result.out
        whole.lse[self.batch, self.heads, self.rows] = self.result.lse


@dataclass(frozen=True, slots=True)
class Call:
    """One call of attention, cut into parts that each see few keys."""

    q: Tensor
    k: Tensor
    v: Tensor
    plan: Plan
    scale: float
    is_fused: bool

    @property
    def groups(self) -> int:
        return self.q.shape[1] // self.k.shape[1]

    def empty(self) -> Attended:
        """Room for the result. Rows that no part writes see nothing: they are zero."""
        precise = torch.promote_types(self.q.dtype, torch.float32)
        lse = torch.full(self.q.shape[:3], -torch.inf, dtype=precise, device=self.q.device)
        return Attended(self.q.new_zeros(*self.q.shape[:3], self.v.shape[3]), lse)

    def is_causal(self) -> bool:
        """Whether every query sees exactly the keys up to its own, and there are as many of them."""
        plan, num_k = self.plan, self.k.shape[2]
        if plan.pooled is not None or plan.selected is not None or plan.tiles is not None:
            return False
        if not 0 < len(plan.q_positions) == num_k or bool(plan.band_start.any()):
            return False
        return torch.equal(plan.q_positions, torch.arange(num_k, device=plan.q_positions.device))

    def bands_and_entries(self, rows: int) -> Iterator[Part]:
        """Band and entries, `rows` queries of one KV head at a time."""
        num_q, heads_k = self.q.shape[2], self.k.shape[1]
        if num_q == 0:
            return
        start = self.plan.band_start.expand(self.q.shape[0], heads_k, -1)
        tile_of = torch.arange(num_q, device=start.device) // rows
        lows = _per_tile(start.amin(0), tile_of, "amin")
        highs = _per_tile(self.plan.q_positions[None] + 1, tile_of, "amax")
        segments = [entries for entries in (self.plan.pooled, self.plan.selected) if entries is not None]
        counts = [_per_tile(num_looked_at(entries.last, start).amax(0), tile_of, "amax") for entries in segments]
        together = heads_k if not segments and self.plan.band_start.shape[1] == 1 else 1  # all see the same keys
        for tile, high in enumerate(highs[0]):
            for head in range(0, heads_k, together):
                far = [(entries, count[head][tile]) for entries, count in zip(segments, counts, strict=True)]
                band = slice(min(lows[head][tile], high), high)
                yield self._near(slice(head, head + together), slice(tile * rows, (tile + 1) * rows), far, band)

    def _near(self, mine: slice, rows: slice, far: Sequence[tuple[Entries, int]], band: slice) -> Part:
        """One tile: the first entries of each segment, as many as it has to look at, and the keys of its bands."""
        start = self.plan.band_start[:, mine.start if self.plan.band_start.shape[1] > 1 else 0, None, rows, None]
        positions = torch.arange(band.start, band.stop, device=start.device)
        is_seen = (positions >= start) & (positions <= self.plan.q_positions[rows, None])
        masks = [self._zeros(is_seen.shape).masked_fill_(~is_seen, -torch.inf)]
        keys, values = [self.k[:, mine, band]], [self.v[:, mine, band]]
        for entries, count in far:
            is_hidden = entries.last[:, mine, None, :count] >= start
            if self.plan.is_remainder and entries is self.plan.pooled:
                is_hidden = is_hidden | self._kept_whole(mine.start, rows, count)
            bias = entries.biases()[:, mine, None, :count].to(masks[0].dtype)
            masks.append(bias.expand(is_hidden.shape).masked_fill(is_hidden, -torch.inf))
            keys.append(entries.k[:, mine, :count])
            values.append(entries.v[:, mine, :count])
        lead = torch.broadcast_shapes(*(mask.shape[:3] for mask in masks))
        heads = slice(mine.start * self.groups, mine.stop * self.groups)
        result = masked_attention(
            self.q[:, heads, rows],
            torch.cat(keys, dim=2) if far else keys[0],
            torch.cat(values, dim=2) if far else values[0],
            torch.cat([mask.expand(*lead, -1) for mask in masks], dim=-1),
            scale=self.scale,
            is_fused=self.is_fused,
        )
        return Part(slice(None), heads, rows, result)

    def _kept_whole(self, head: int, rows: slice, count: int) -> Tensor:
        """`[B, 1 or G, R, count]`: pooled entries whose tile a row sees token by token."""
        tiles = self.plan.tiles
        assert tiles is not None
        of_row = tile_of_rows(tiles.q_order, self.q.shape[2], tiles.block_q, self.q.device)[rows]
        per_head = tiles.keep.shape[1] // self.k.shape[1]
        return tiles.keep[:, head * per_head : (head + 1) * per_head, of_row, :count]

    def kept_tiles(self, tiles: Tiles) -> Iterator[Part]:
        """Kept tiles, one list at a time."""
        num_q, num_k = self.q.shape[2], self.k.shape[2]
        device = self.q.device
        q_order = torch.arange(num_q, device=device) if tiles.q_order is None else tiles.q_order
        k_order = torch.arange(num_k, device=device) if tiles.k_order is None else tiles.k_order
        limits = torch.minimum(self.plan.band_start, self.plan.q_positions + 1)
        per_list = self.q.shape[1] // tiles.keep.shape[1]
        in_tile = torch.arange(tiles.block_k, device=device)
        for batch, one, tile in tiles.keep.any(-1).nonzero().tolist():
            head = one * per_list // self.groups
            rows = q_order[tile * tiles.block_q : (tile + 1) * tiles.block_q]
            limit = limits[batch % limits.shape[0], head % limits.shape[1], rows]
            places = (tiles.keep[batch, one, tile].nonzero() * tiles.block_k + in_tile).flatten()
            positions = k_order[places[places < num_k]]
            positions = positions[positions < limit.max()]
            is_seen = positions < limit[:, None]
            mask = self._zeros(is_seen.shape).masked_fill_(~is_seen, -torch.inf)[None, None]
            k, v = self.k[batch, head, positions][None, None], self.v[batch, head, positions][None, None]
            heads, sequence = slice(one * per_list, (one + 1) * per_list), slice(batch, batch + 1)
            queries = self.q[sequence, heads][:, :, rows]
            result = masked_attention(queries, k, v, mask, scale=self.scale, is_fused=self.is_fused)
            yield Part(sequence, heads, rows, result)

    def _zeros(self, shape: Sequence[int]) -> Tensor:
        precise = torch.promote_types(self.q.dtype, torch.float32)
        return torch.zeros(tuple(shape), dtype=precise, device=self.q.device)


def _per_tile(values: Tensor, tile_of: Tensor, reduce: str) -> list[list[int]]:
    """The least or greatest of `values` `[H, Tq]` in each tile."""
    index = tile_of.expand(values.shape[0], -1)
    room = values.new_zeros(values.shape[0], int(tile_of[-1]) + 1)
    found: list[list[int]] = room.scatter_reduce_(1, index, values, reduce, include_self=False).tolist()
    return found


GATHER = GatherOps()
