"""What a plan leaves of attention: how often each token is counted, the pairs it computes, the mass that stays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fdvs.kernels.plans import NEVER, Entries, Plan, Tiles
from fdvs.kernels.visibility import band_seen, entries_seen, hidden_remainder, per_query_head, tile_of_rows, tiles_seen


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What a plan costs and keeps, beside every speed-up that is quoted for it.

    Attributes:
        pairs: query–key and query–entry pairs that are computed, over all heads and rows of the batch.
        dense_pairs: those of causal attention.
        retained_mass: mean attention weight, in 0…1, that lies on tokens seen as they are.
        entries_kept: entries and band tokens that the last query sees, over the tokens before it: the cache's share.
    """

    pairs: int
    dense_pairs: int
    retained_mass: float
    entries_kept: float

    @property
    def kept_share(self) -> float:
        """Pairs computed, over those of causal attention."""
        return self.pairs / max(self.dense_pairs, 1)


def seen_tokens(plan: Plan, num_keys: int, heads_q: int) -> Tensor:
    """`[B, Hq, Tq, Tk]` bool: the tokens that a query sees as they are, through band, tiles and selection."""
    seen = per_query_head(band_seen(plan, num_keys), heads_q)
    if plan.tiles is not None:
        seen = seen | tiles_seen(plan.tiles, plan, num_keys, heads_q)
    if plan.selected is not None:
        chosen = _scatter(entries_seen(plan.selected, plan.band_start), plan.selected, num_keys)
        seen = seen | per_query_head(chosen > 0, heads_q)
    return seen


def count_matrix(plan: Plan, num_keys: int, heads_q: int, members: Tensor | None = None) -> Tensor:
    """`[B, Hq, Tq, Tk]` int64: how many times a query counts each token, alone or as a member of a pooled entry.

    Args:
        members: `[B or 1, Hk or 1, M, G]`, who the pooled entries stand for, padded with -1. Needed if there are any.
    """
    counts = per_query_head(band_seen(plan, num_keys), heads_q).long()
    if plan.tiles is not None:
        counts = counts + tiles_seen(plan.tiles, plan, num_keys, heads_q)
    if plan.selected is not None:
        chosen = _scatter(entries_seen(plan.selected, plan.band_start), plan.selected, num_keys)
        counts = counts + per_query_head(chosen, heads_q)
    if plan.pooled is not None:
        assert members is not None, "pooled entries need to be told whom they stand for"
        seen = per_query_head(entries_seen(plan.pooled, plan.band_start), heads_q)
        if plan.is_remainder and plan.tiles is not None:
            seen = seen & ~hidden_remainder(plan.tiles, len(plan.q_positions), heads_q)
        whole = members.expand(*plan.pooled.last.shape[:2], -1, -1)
        stands_for = torch.zeros(*whole.shape[:3], num_keys + 1, dtype=torch.int64, device=whole.device)
        stands_for.scatter_(-1, torch.where(whole >= 0, whole, num_keys), 1)
        counts = counts + seen.long() @ per_query_head(stands_for[..., :num_keys], heads_q)
    return counts


def _scatter(seen: Tensor, selected: Entries, num_keys: int) -> Tensor:
    columns = torch.where(selected.last < num_keys, selected.last, num_keys)
    full = torch.zeros(*seen.shape[:3], num_keys + 1, dtype=torch.int64, device=seen.device)
    full.scatter_add_(-1, columns[:, :, None].expand(-1, -1, seen.shape[2], -1), seen.long())
    return full[..., :num_keys]


def num_pairs(plan: Plan, num_keys: int, batch: int, heads_q: int, heads_k: int) -> int:
    """Pairs that a plan computes. Memory does not grow with Tq × Tk."""
    start = plan.band_start.expand(batch, heads_k, -1)
    band = (plan.q_positions + 1 - start).clamp_min(0)
    total = int(band.sum()) * (heads_q // heads_k)
    for entries in (plan.pooled, plan.selected):
        if entries is not None and entries.num_entries:
            ordered = entries.last.sort(dim=-1).values
            seen = torch.searchsorted(ordered.contiguous(), start.contiguous())  # entries with last < start
            total += int(seen.sum()) * (heads_q // heads_k)
    if plan.tiles is not None:
        total += _tile_pairs(plan, num_keys, batch, heads_q, heads_k)
    return total


PAIRS_AT_ONCE = 2**22
"""Numbers that are held at a time while pairs of tiles are counted: tiles of queries × keys."""


def _tile_pairs(plan: Plan, num_keys: int, batch: int, heads_q: int, heads_k: int) -> int:
    """Pairs of kept tiles, less the pooled entries that they hide: for each key of a tile, how many rows see it."""
    tiles = plan.tiles
    assert tiles is not None
    lists, num_q_tiles = tiles.keep.shape[1:3]
    keys = torch.arange(num_keys, device=tiles.keep.device) if tiles.k_order is None else tiles.k_order
    keys = torch.nn.functional.pad(keys, (0, -num_keys % tiles.block_k), value=NEVER)
    limits = _sorted_by_tile(torch.minimum(plan.band_start, plan.q_positions + 1), tiles)
    starts = _sorted_by_tile(plan.band_start, tiles)
    total = 0
    for part in torch.arange(num_q_tiles, device=keys.device).split(max(1, PAIRS_AT_ONCE // len(keys))):
        pairs = torch.unflatten(_num_above(limits[:, :, part], keys), -1, (-1, tiles.block_k)).sum(-1)
        if plan.is_remainder and plan.pooled is not None:
            pairs = pairs - _num_above(starts[:, :, part].expand(batch, heads_k, -1, -1), plan.pooled.last[:, :, None])
        if pairs.shape[1] > 1:
            pairs = pairs.repeat_interleave(lists // heads_k, dim=1)
        total += int((pairs * tiles.keep[:, :, part]).sum())
    return total * (heads_q // lists)


def _sorted_by_tile(limits: Tensor, tiles: Tiles) -> Tensor:
    """`[…, Tq]` as `[…, nQ, block_q]`, ascending in each query tile; -1 where a tile has no row."""
    limits = limits if tiles.q_order is None else limits[..., tiles.q_order]
    padded = torch.nn.functional.pad(limits, (0, -limits.shape[-1] % tiles.block_q), value=-1)
    return torch.unflatten(padded, -1, (-1, tiles.block_q)).sort(-1).values


def _num_above(limits: Tensor, positions: Tensor) -> Tensor:
    """`[…, nQ, N]`: how many of `limits` `[…, nQ, block_q]`, ascending, lie after each of `positions`."""
    wanted = positions.expand(*limits.shape[:-1], positions.shape[-1]).contiguous()
    return limits.shape[-1] - torch.searchsorted(limits.contiguous(), wanted, right=True)


def retained_mass(q: Tensor, k: Tensor, plan: Plan, *, scale: float | None = None, max_rows: int = 64) -> float:
    """Mean share of causal attention's weight that lies on tokens seen as they are.

    Args:
        q: `[B, Hq, Tq, D]`.
        k: `[B, Hk, Tk, D]`.
        max_rows: queries that are looked at, evenly spread and the last among them.
    """
    heads_q, num_q = q.shape[1:3]
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    rows = torch.linspace(0, num_q - 1, min(max_rows, num_q), device=q.device).round().long().unique()
    positions = torch.arange(k.shape[2], device=q.device)
    precise = torch.promote_types(q.dtype, torch.float32)
    total = 0.0
    for row in rows.split(1):
        grouped = torch.unflatten(q[:, :, row].to(precise), 1, (k.shape[1], -1)).squeeze(3)
        logits = (grouped @ k.mT.to(precise) * scale).flatten(1, 2)[:, :, None]
        logits = logits.masked_fill(positions > plan.q_positions[row], -torch.inf)
        total += float((torch.softmax(logits, -1) * rows_seen(plan, row, k.shape[2], heads_q)).sum(-1).mean())
    return total / max(len(rows), 1)


def rows_seen(plan: Plan, rows: Tensor, num_keys: int, heads_q: int) -> Tensor:
    """`[B or 1, Hq, R, Tk]` bool: rows `rows` `[R]` of `seen_tokens`, without making the others."""
    alone = Plan(plan.q_positions[rows], plan.band_start[..., rows], selected=plan.selected)
    seen = seen_tokens(alone, num_keys, heads_q)
    tiles = plan.tiles
    if tiles is None:
        return seen
    tile = tile_of_rows(tiles.q_order, len(plan.q_positions), tiles.block_q, tiles.keep.device)[rows]
    column = tile_of_rows(tiles.k_order, num_keys, tiles.block_k, tiles.keep.device)
    places = torch.arange(num_keys, device=tiles.keep.device)
    before = (places < alone.band_start[..., None]) & (places <= alone.q_positions[:, None])
    return seen | (per_query_head(tiles.keep[:, :, tile][..., column], heads_q) & per_query_head(before, heads_q))


def report(q: Tensor, k: Tensor, plan: Plan, *, scale: float | None = None, max_rows: int = 64) -> PlanReport:
    """What `plan` costs and keeps for these queries and keys."""
    batch, heads_q = q.shape[:2]
    heads_k, num_k = k.shape[1:3]
    band = (plan.q_positions[-1] + 1 - plan.band_start[..., -1]).clamp_min(0).float().mean()
    entries = sum(
        float(((e.last < NEVER) & (e.last < plan.band_start[..., -1:])).sum(-1).float().mean())
        for e in (plan.pooled, plan.selected)
        if e is not None
    )
    return PlanReport(
        pairs=num_pairs(plan, num_k, batch, heads_q, heads_k),
        dense_pairs=int((plan.q_positions + 1).sum()) * batch * heads_q,
        retained_mass=retained_mass(q, k, plan, scale=scale, max_rows=max_rows),
        entries_kept=1.0 if plan.tiles is not None else (float(band) + entries) / int(plan.q_positions[-1] + 1),
    )
