"""Who sees what under a plan, as boolean masks: the meaning of `Plan`, in full and without any speed."""

from __future__ import annotations

import torch
from torch import Tensor

from fdvs.kernels.plans import Entries, Plan, Tiles


def entries_seen(entries: Entries, band_start: Tensor) -> Tensor:
    """`[B, Hk, Tq, M]` bool: the entries that lie wholly before a query's band."""
    return entries.last[:, :, None, :] < band_start[..., None]


def num_looked_at(last: Tensor, band_start: Tensor) -> Tensor:
    """`[B, Hk, Tq]` int64: how many entries, from the left, a query has to look at so that it misses none.

    Of entries in the order of the sequence it sees all of these; in any other order some of them may be hidden.

    Args:
        last: `[B, Hk, M]`.
        band_start: `[B, Hk, Tq]`.
    """
    earliest_from_here = last.flip(-1).cummin(-1).values.flip(-1) if last.shape[-1] else last
    return torch.searchsorted(earliest_from_here.contiguous(), band_start.contiguous())


def band_seen(plan: Plan, num_keys: int) -> Tensor:
    """`[B or 1, Hk or 1, Tq, Tk]` bool: the keys of each query's band."""
    positions = torch.arange(num_keys, device=plan.q_positions.device)
    return (positions >= plan.band_start[..., None]) & (positions <= plan.q_positions[:, None])


def tile_of_rows(order: Tensor | None, num_rows: int, block: int, device: torch.device) -> Tensor:
    """`[T]`: the tile that each row of the sequence lies in."""
    places = torch.arange(num_rows, device=device)
    if order is None:
        return places // block
    return torch.empty_like(places).scatter_(0, order, places) // block


def tiles_seen(tiles: Tiles, plan: Plan, num_keys: int, heads_q: int) -> Tensor:
    """`[B, Hq, Tq, Tk]` bool: the keys of kept tiles that lie before a query's band and not after the query."""
    device = tiles.keep.device
    rows = tile_of_rows(tiles.q_order, len(plan.q_positions), tiles.block_q, device)
    columns = tile_of_rows(tiles.k_order, num_keys, tiles.block_k, device)
    kept = tiles.keep[:, :, rows][..., columns]
    positions = torch.arange(num_keys, device=device)
    before = (positions < plan.band_start[..., None]) & (positions <= plan.q_positions[:, None])
    return per_query_head(kept, heads_q) & per_query_head(before, heads_q)


def hidden_remainder(tiles: Tiles, num_queries: int, heads_q: int) -> Tensor:
    """`[B, Hq, Tq, M]` bool: pooled tiles that a query sees token by token, and so must not see as one entry."""
    rows = tile_of_rows(tiles.q_order, num_queries, tiles.block_q, tiles.keep.device)
    return per_query_head(tiles.keep[:, :, rows], heads_q)


def per_query_head(mask: Tensor, heads_q: int) -> Tensor:
    """`[B, 1 or Hk or Hq, …]` repeated to `[B, Hq, …]`; head h of Hq belongs to KV head h // (Hq / Hk)."""
    heads = mask.shape[1]
    if heads == 1:
        return mask.expand(-1, heads_q, *mask.shape[2:])
    return mask if heads == heads_q else mask.repeat_interleave(heads_q // heads, dim=1)
