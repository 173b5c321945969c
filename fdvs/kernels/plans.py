"""What a query attends to: far entries, selected tiles and a local band, all under one softmax.

A method decides this before attention runs and says it as a `Plan`. The only rule of visibility is where a query's band
starts: everything before that point is seen through entries and tiles, everything from there on as it is.

    out_i = softmax over { entries whose `last` < start_i } ∪ { keys < start_i of tiles kept for i's tile }
                       ∪ { keys start_i … i }
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from fdvs.errors import ShapeError

NEVER = 2**31 - 1
"""A position after every other one. An entry with this `last` is padding: no query ever sees it."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Keys and values that stand for tokens far away: pooled groups, or single tokens taken out of the sequence.

    Attributes:
        k: `[B, Hk, M, D]`, rotated like all keys.
        v: `[B, Hk, M, Dv]`.
        last: `[B, Hk, M]` int64, the position of the last token that an entry stands for. A query sees the entry when
            its band starts after this position. `NEVER` marks padding.
        bias: `[B, Hk, M]` float32 added to the logit (natural logarithm, after scaling), or None for zero. The
            logarithm of the number of tokens makes a group of equal tokens weigh what its tokens weigh.
    """

    k: Tensor
    v: Tensor
    last: Tensor
    bias: Tensor | None = None

    def __post_init__(self) -> None:
        lead = tuple(self.k.shape[:3])
        for name, tensor in (("v", self.v), ("last", self.last), ("bias", self.bias)):
            if tensor is not None and tuple(tensor.shape[:3]) != lead:
                raise ShapeError(f"entries: {name} begins with {tuple(tensor.shape[:3])}, the keys with {lead}")

    @property
    def num_entries(self) -> int:
        return self.k.shape[2]

    def biases(self) -> Tensor:
        """`[B, Hk, M]` float32, zeros where there is no bias."""
        return torch.zeros_like(self.last, dtype=torch.float32) if self.bias is None else self.bias


def join_entries(parts: Sequence[Entries]) -> Entries:
    """One run of entries out of several, in the given order."""
    if len(parts) == 1:
        return parts[0]
    return Entries(
        k=torch.cat([part.k for part in parts], dim=2),
        v=torch.cat([part.v for part in parts], dim=2),
        last=torch.cat([part.last for part in parts], dim=2),
        bias=None if all(part.bias is None for part in parts) else torch.cat([part.biases() for part in parts], dim=2),
    )


@dataclass(frozen=True, slots=True)
class Tiles:
    """Which blocks of keys each block of queries looks at, beside its band.

    Attributes:
        keep: `[B, Hs, ceil(Tq / block_q), ceil(Tk / block_k)]` bool. Hs is Hk (one list for all query heads of a KV
            head) or Hq.
        block_q, block_k: rows of a query tile, keys of a key tile.
        q_order, k_order: `[Tq]`, `[Tk]` int64 permutations, or None for the order of the sequence: tile n holds the
            rows `order[n * block : (n + 1) * block]`. They make a regular grid of far-apart tokens one dense tile.
    """

    keep: Tensor
    block_q: int
    block_k: int
    q_order: Tensor | None = None
    k_order: Tensor | None = None

    def csr(self) -> tuple[Tensor, Tensor]:
        """The kept tiles as lists: `indptr` `[B, Hs, nQ + 1]`, `indices` `[total]`, int32, ascending in each list."""
        flat = self.keep.flatten(0, 1)
        counts = flat.sum(-1).flatten()
        ends = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).to(torch.int32)
        batch, heads, num_q = self.keep.shape[:3]
        rows = torch.arange(batch * heads, device=ends.device)[:, None] * num_q
        columns = torch.arange(num_q + 1, device=ends.device)[None]
        indptr = ends[rows + columns].reshape(batch, heads, num_q + 1)
        return indptr, flat.nonzero()[:, -1].to(torch.int32)


@dataclass(frozen=True, slots=True)
class Plan:
    """What each query of one attention call attends to. `dense_plan` is causal attention as it always was.

    Attributes:
        q_positions: `[Tq]` int64, positions of the queries in the sequence, ascending. Key n has position n.
        band_start: `[B or 1, Hk or 1, Tq]` int64. Query i sees the keys `band_start … position of i`. It may lie after
            the query's own position: then there is no band.
        pooled: entries with a bias, or None.
        selected: entries of single tokens, or None.
        tiles: whole blocks of keys, or None. A token that is both selected and in a kept tile counts twice.
        is_remainder: pooled entry n stands for key tile n, and counts only for query tiles that do not keep that tile.
    """

    q_positions: Tensor
    band_start: Tensor
    pooled: Entries | None = None
    selected: Entries | None = None
    tiles: Tiles | None = None
    is_remainder: bool = False

    def rows(self, begin: int, end: int) -> Plan:
        """The plan of queries `begin … end - 1` alone. Not for plans with tiles, whose blocks would fall apart."""
        if self.tiles is not None:
            raise ShapeError("a plan with tiles cannot be cut into rows")
        return replace(
            self, q_positions=self.q_positions[begin:end], band_start=self.band_start[..., begin:end].contiguous()
        )

    def far(self) -> Entries | None:
        """Pooled and selected entries as one run, pooled ones first."""
        parts = [part for part in (self.pooled, self.selected) if part is not None]
        return join_entries(parts) if parts else None


class Attended(NamedTuple):
    """Result of attention: `out` `[B, Hq, Tq, Dv]` and `lse` `[B, Hq, Tq]` float32 or float64 (-inf: no key seen)."""

    out: Tensor
    lse: Tensor


def query_positions(num_queries: int, num_keys: int, device: torch.device | str | None = None) -> Tensor:
    """`[Tq]`: the last `num_queries` positions of `num_keys`, where queries stand unless told otherwise."""
    if num_queries > num_keys:
        raise ShapeError(f"{num_queries} queries are more than the {num_keys} keys that end with them")
    return torch.arange(num_keys - num_queries, num_keys, device=device)


def dense_plan(num_queries: int, num_keys: int, device: torch.device | str | None = None) -> Plan:
    """Causal attention over everything: the band starts at 0."""
    positions = query_positions(num_queries, num_keys, device)
    return Plan(positions, torch.zeros(1, 1, num_queries, dtype=torch.int64, device=device))


def check_segments(q: Tensor, segments: Sequence[Entries]) -> None:
    """Raises ShapeError where a query and the segments of a cache do not belong together, or there is no segment."""
    if not segments:
        raise ShapeError("wanted at least one segment to attend to, got none")
    batch, heads_q, _, size = q.shape
    heads_k, size_v = segments[0].k.shape[1], segments[0].v.shape[3]
    if heads_k == 0 or heads_q % heads_k:
        raise ShapeError(f"wanted query heads that are a multiple of {heads_k}, got {heads_q}")
    for part in segments:
        for name, tensor, last in (("keys", part.k, size), ("values", part.v, size_v)):
            if (tensor.shape[0], tensor.shape[1], tensor.shape[3]) != (batch, heads_k, last):
                raise ShapeError(f"wanted {name} [{batch}, {heads_k}, M, {last}], got {list(tensor.shape)}")


def check_shapes(q: Tensor, k: Tensor, v: Tensor, plan: Plan) -> None:
    """Raises ShapeError where tensors and plan do not belong together; the message shows wanted and got."""

    def require(is_right: bool, wanted: str, got: Sequence[int]) -> None:
        if not is_right:
            raise ShapeError(f"wanted {wanted}, got {list(got)}")

    require(
        q.dim() == k.dim() == v.dim() == 4, "q, k and v of four dimensions [B, H, T, D]", [q.dim(), k.dim(), v.dim()]
    )
    batch, heads_q, num_q, _ = q.shape
    heads_k, num_k = k.shape[1:3]
    require(k.shape[0] == batch and k.shape[3] == q.shape[3], f"k [{batch}, Hk, Tk, {q.shape[3]}]", k.shape)
    require(v.shape[:3] == k.shape[:3], f"v [{batch}, {heads_k}, {num_k}, Dv]", v.shape)
    require(heads_k > 0 and heads_q % heads_k == 0, f"query heads that are a multiple of {heads_k}", [heads_q])
    require(tuple(plan.q_positions.shape) == (num_q,), f"q_positions [{num_q}]", plan.q_positions.shape)
    start = plan.band_start.shape
    require(
        len(start) == 3 and start[0] in {1, batch} and start[1] in {1, heads_k} and start[2] == num_q,
        f"band_start [1 or {batch}, 1 or {heads_k}, {num_q}]",
        start,
    )
    for entries in (plan.pooled, plan.selected):
        if entries is not None:
            require(entries.k.shape[:2] == k.shape[:2], f"entries of [{batch}, {heads_k}, M, D]", entries.k.shape)
            require(entries.k.shape[3] == k.shape[3], f"entries of head size {k.shape[3]}", entries.k.shape)
            require(entries.v.shape[3] == v.shape[3], f"values of head size {v.shape[3]}", entries.v.shape)
    if plan.tiles is not None:
        keep, tiles = plan.tiles.keep, plan.tiles
        wanted = [batch, heads_k, -(-num_q // tiles.block_q), -(-num_k // tiles.block_k)]
        require(
            keep.dim() == 4
            and keep.shape[0] == batch
            and keep.shape[1] in {heads_k, heads_q}
            and list(keep.shape[2:]) == wanted[2:],
            f"tiles {wanted} or the same with {heads_q} heads",
            keep.shape,
        )
    if plan.is_remainder:
        require(
            plan.pooled is not None and plan.tiles is not None and plan.pooled.num_entries == plan.tiles.keep.shape[3],
            "one pooled entry for each key tile",
            [] if plan.pooled is None else plan.pooled.k.shape,
        )
