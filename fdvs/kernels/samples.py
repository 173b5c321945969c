"""Random attention calls with a plan of every kind: what tests, `fdvs kernels check` and benchmarks run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.columns import compact
from fdvs.kernels.layout import Layout, band_starts, cut_into_groups
from fdvs.kernels.plans import NEVER, Entries, Plan, Tiles, dense_plan, query_positions
from fdvs.kernels.pooling import pool


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of an attention call; positions of the queries are the last `num_q` of `num_k`."""

    batch: int = 1
    heads_q: int = 2
    heads_k: int = 1
    num_q: int = 63
    num_k: int = 63
    size: int = 32
    size_v: int | None = None

    def __str__(self) -> str:
        heads = f"Hq{self.heads_q}-Hk{self.heads_k}"
        sizes = f"D{self.size}" + ("" if self.size_v is None else f"-Dv{self.size_v}")
        return f"B{self.batch}-{heads}-Tq{self.num_q}-Tk{self.num_k}-{sizes}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One attention call: `q`, `k`, `v` as in `reference.attend`, and its plan."""

    q: Tensor
    k: Tensor
    v: Tensor
    plan: Plan

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Sample:
        """The same call in another floating type or on another device; biases and positions keep their types."""

        def moved(x: Tensor) -> Tensor:
            return x.to(device=device, dtype=dtype if x.is_floating_point() else None)

        def entries(part: Entries | None) -> Entries | None:
            if part is None:
                return None
            bias = None if part.bias is None else part.bias.to(device)
            return Entries(moved(part.k), moved(part.v), part.last.to(device), bias)

        tiles = self.plan.tiles
        if tiles is not None:
            orders = [None if order is None else order.to(device) for order in (tiles.q_order, tiles.k_order)]
            tiles = replace(tiles, keep=tiles.keep.to(device), q_order=orders[0], k_order=orders[1])
        plan = Plan(
            self.plan.q_positions.to(device),
            self.plan.band_start.to(device),
            entries(self.plan.pooled),
            entries(self.plan.selected),
            tiles,
            self.plan.is_remainder,
        )
        return Sample(moved(self.q), moved(self.k), moved(self.v), plan)


def random_qkv(shape: Shape, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Standard normal float64 on the CPU."""
    generator = torch.Generator().manual_seed(seed)

    def normal(heads: int, length: int, size: int) -> Tensor:
        return torch.randn(shape.batch, heads, length, size, generator=generator, dtype=torch.float64)

    return (
        normal(shape.heads_q, shape.num_q, shape.size),
        normal(shape.heads_k, shape.num_k, shape.size),
        normal(shape.heads_k, shape.num_k, shape.size_v or shape.size),
    )


@dataclass(frozen=True)
class _Draft:
    """What plans of all kinds are made of."""

    shape: Shape
    k: Tensor
    v: Tensor
    generator: torch.Generator
    block_q: int
    block_k: int

    @property
    def positions(self) -> Tensor:
        return query_positions(self.shape.num_q, self.shape.num_k)

    @property
    def band(self) -> Tensor:
        """`[1, 1, Tq]`: a window of a fifth of the sequence."""
        return (self.positions + 1 - max(1, self.shape.num_k // 5)).clamp_min(0)[None, None]

    def some_tokens(self) -> Entries:
        """A third of the tokens, others for each KV head, padded."""
        is_kept = torch.rand(self.k.shape[:3], generator=self.generator) < 1 / 3
        places = torch.arange(self.k.shape[2]).masked_fill(~is_kept, NEVER).sort(-1).values
        return compact(self.k, self.v, places[..., : max(1, int(is_kept.sum(-1).max()))])

    def random_tiles(self, heads: int, *, is_permuted: bool = False) -> Tiles:
        num_q, num_k = self.shape.num_q, self.shape.num_k
        lists = (self.shape.batch, heads, -(-num_q // self.block_q), -(-num_k // self.block_k))
        keep = torch.rand(lists, generator=self.generator) < 0.4
        if not is_permuted:
            return Tiles(keep, self.block_q, self.block_k)
        orders = [torch.randperm(length, generator=self.generator) for length in (num_q, num_k)]
        return Tiles(keep, self.block_q, self.block_k, *orders)

    def dense(self) -> Plan:
        return dense_plan(self.shape.num_q, self.shape.num_k)

    def band_only(self) -> Plan:
        return Plan(self.positions, self.band)

    def pooled(self) -> Plan:
        groups = cut_into_groups(Layout(self.shape.num_k), 4)
        window = max(1, self.shape.num_k // 5)
        start = band_starts(groups.ends, self.positions, window)[None, None]
        return Plan(self.positions, start, pooled=pool(self.k, self.v, groups.members[None, None]).entries)

    def selected(self) -> Plan:
        return Plan(self.positions, self.band, selected=self.some_tokens())

    def both(self) -> Plan:
        """Pooled and selected entries, and bands of their own for each sequence and KV head."""
        lead = (self.shape.batch, self.shape.heads_k, 1)
        start = (self.band - torch.randint(0, 9, lead, generator=self.generator)).clamp_min(0)
        return Plan(self.positions, start, self.pooled().pooled, self.some_tokens())

    def tiles(self) -> Plan:
        return Plan(self.positions, self.band, tiles=self.random_tiles(self.shape.heads_k))

    def tiles_per_query_head(self) -> Plan:
        return Plan(self.positions, self.band, tiles=self.random_tiles(self.shape.heads_q))

    def remainder(self, *, is_permuted: bool = False) -> Plan:
        """Kept tiles, and the mean of each tile for those that do not keep it."""
        tiles = self.random_tiles(self.shape.heads_k, is_permuted=is_permuted)
        num_k = self.shape.num_k
        places = torch.arange(tiles.keep.shape[3] * self.block_k)
        order = torch.arange(num_k) if tiles.k_order is None else tiles.k_order
        members = torch.where(places < num_k, order[places.clamp_max(num_k - 1)], NEVER)
        members = members.view(1, 1, -1, self.block_k).sort(-1).values
        pooled = pool(self.k, self.v, members.masked_fill(members == NEVER, -1)).entries
        return Plan(self.positions, self.band, pooled, None, tiles, is_remainder=True)

    def permuted(self) -> Plan:
        return self.remainder(is_permuted=True)

    def blind(self) -> Plan:
        """Every third row sees nothing at all; entries are there, and all of them are padding."""
        late = torch.where(self.positions % 3 == 0, self.positions + 1, self.band)
        some = self.some_tokens()
        return Plan(self.positions, late, selected=Entries(some.k, some.v, torch.full_like(some.last, NEVER)))

    def empty(self) -> Plan:
        """Segments without entries, and tiles of which none is kept."""
        tiles = self.random_tiles(self.shape.heads_k)
        nobody = torch.zeros(self.shape.batch, self.shape.heads_k, 0, dtype=torch.int64)
        pooled = pool(self.k, self.v, nobody[:1, :1, :, None]).entries
        none_kept = replace(tiles, keep=torch.zeros_like(tiles.keep))
        return Plan(self.positions, self.band, pooled, compact(self.k, self.v, nobody), none_kept)


_BUILDERS: dict[str, Callable[[_Draft], Plan]] = {
    "dense": _Draft.dense,
    "band": _Draft.band_only,
    "pooled": _Draft.pooled,
    "selected": _Draft.selected,
    "both": _Draft.both,
    "tiles": _Draft.tiles,
    "tiles_per_query_head": _Draft.tiles_per_query_head,
    "remainder": _Draft.remainder,
    "permuted": _Draft.permuted,
    "blind": _Draft.blind,
    "empty": _Draft.empty,
}
PLAN_KINDS = tuple(_BUILDERS)
"""Every kind of plan: band only, each segment alone and together, and the odd ones."""


TILED = frozenset({"tiles", "tiles_per_query_head", "remainder", "permuted", "empty"})
"""Kinds of plans that have tiles."""


def sample(kind: str, shape: Shape, seed: int = 0, *, block_q: int = 16, block_k: int = 16) -> Sample:
    """A call of this shape with a plan of one of `PLAN_KINDS`, in float64 on the CPU.

    Args:
        block_q, block_k: of plans with tiles.

    Raises:
        InputError: there is no such kind.
    """
    if kind not in _BUILDERS:
        raise InputError(f"unknown kind of plan {kind!r}; known: {', '.join(PLAN_KINDS)}")
    q, k, v = random_qkv(shape, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    return Sample(q, k, v, _BUILDERS[kind](_Draft(shape, k, v, generator, block_q, block_k)))
