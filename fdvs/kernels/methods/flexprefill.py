"""FlexPrefill: each head is found, on each prompt, to be query-aware or vertical-slash, and holds its share of mass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.selection import smallest_set
from fdvs.kernels.methods.tiling import Tiling, check_block, means, softmax_over, tile_logits
from fdvs.kernels.plans import Plan


class Sample(NamedTuple):
    """Attention of the last block of queries, a mean over them.

    Attributes:
        vertical: `[B, Hq, Tk]`, by key.
        slash: `[B, Hq, Tk]`, by distance from query to key.
    """

    vertical: Tensor
    slash: Tensor


@dataclass(frozen=True, slots=True)
class FlexPrefill:
    """Columns and diagonals of blocks, or blocks found by mean queries and keys, whichever a head's last queries suit.

    Attributes:
        block: tokens in a block, of queries and of keys; published: 128.
        gamma: share of the attention that is to be held; published: 0.9.
        tau: distance up to which mean queries and keys are trusted to find the blocks of a head; published: 0.1.
        min_budget: least number of tokens that columns hold, and diagonals hold, of any head; published: 512.

    A head is query-aware where the square root of the Jensen–Shannon divergence (natural logarithm) between the
    weights of blocks by the mean of the last queries and those by the queries themselves is below `tau`. Decided here:
        - How many columns of blocks: as many as the tokens that hold `gamma` would fill, and one; which: those of the
          largest sums. Diagonals likewise. This is how the authors' code reads; the paper counts tokens.
        - A diagonal is all pairs of tiles at one distance; a token's distance counts for the tile distance that its
          multiple of `block` gives.
        - A query-aware head keeps the fewest blocks whose weights hold `gamma` of all its rows together, and the
          least budgets of columns and diagonals.
        - The first column and the query's own blocks are always kept, on top of what was found. In the authors' code
          they take up one place each, so that without a least budget the only column that matters may be lost.
        - Decoding keeps every token.

    Source: FlexPrefill 2502.20766.
    """

    block: int = 128
    gamma: float = 0.9
    tau: float = 0.1
    min_budget: int = 512

    name: ClassVar[str] = "flexprefill"
    is_causal: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_block(self.block)
        if not 0 <= self.gamma <= 1:
            raise InputError(f"gamma lies in 0…1, got {self.gamma}")
        if self.tau < 0 or self.min_budget < 0:
            raise InputError(f"tau and min_budget are at least 0, got {self.tau} and {self.min_budget}")

    def plan(self, prompt: Prompt) -> Plan:
        tiling = Tiling.of(prompt, self.block)
        sample = self.sample(prompt)
        is_aware = self.is_query_aware(prompt, sample)
        keep = self.vertical_slash(tiling, sample, is_aware)
        if is_aware.any():
            keep |= self.query_aware(prompt, tiling) & is_aware[..., None, None]
        return tiling.plan(prompt, keep)

    def sample(self, prompt: Prompt) -> Sample:
        """The dense attention of the last block of queries, one KV head at a time."""
        last = min(self.block, prompt.q.shape[2])
        positions, num_keys = prompt.q_positions[-last:], prompt.k.shape[2]
        precise = torch.promote_types(prompt.q.dtype, torch.float32)
        columns = torch.arange(num_keys, device=prompt.k.device)
        by_head = prompt.q[:, :, -last:].unflatten(1, (prompt.heads_k, -1)).to(precise)
        verticals, slashes = [], []
        for head in range(prompt.heads_k):
            logits = by_head[:, head] @ prompt.k[:, head, None].to(precise).mT * prompt.softmax_scale
            weights = softmax_over(logits, columns <= positions[:, None])
            verticals.append(weights.mean(2))
            # Row by row the keys in reverse, so that a distance has the same place in all rows.
            distances = positions[:, None] - columns
            turned = weights.gather(3, distances.clamp_min(0).expand_as(weights))
            slashes.append(turned.masked_fill(distances < 0, 0).mean(2))
        return Sample(torch.cat(verticals, dim=1), torch.cat(slashes, dim=1))

    def is_query_aware(self, prompt: Prompt, sample: Sample) -> Tensor:
        """`[B, Hq]` bool."""
        last = min(self.block, prompt.q.shape[2])
        query = means(prompt.q[:, :, -last:], last)
        logits = tile_logits(query, means(prompt.k, self.block), prompt.softmax_scale)[:, :, 0]
        is_near: Tensor = distance(torch.softmax(logits, dim=-1), _sums(sample.vertical, self.block)) < self.tau
        return is_near

    def vertical_slash(self, tiling: Tiling, sample: Sample, is_aware: Tensor) -> Tensor:
        """`[B, Hq, nQ, nK]` bool: columns and diagonals of blocks; of query-aware heads only the least budgets."""
        vertical = self._best(sample.vertical, is_aware)
        slash = self._best(sample.slash, is_aware)
        behind = tiling.own[:, None] - torch.arange(tiling.num_k, device=tiling.own.device)
        on_slash = slash[..., behind.clamp_min(0)] & (behind >= 0)
        return vertical[:, :, None] | on_slash

    def query_aware(self, prompt: Prompt, tiling: Tiling) -> Tensor:
        """`[B, Hq, nQ, nK]` bool: the fewest blocks that hold `gamma` of the weights of all rows of a head."""
        logits = tile_logits(means(prompt.q, self.block), means(prompt.k, self.block), prompt.softmax_scale)
        weights = softmax_over(logits, tiling.causal())
        return torch.unflatten(smallest_set(weights.flatten(2), self.gamma), 2, weights.shape[2:])

    def cache(self) -> None:
        return None

    def _best(self, weights: Tensor, is_aware: Tensor) -> Tensor:
        """`[B, Hq, N]` bool: the first block and those of the largest sums, as many as `gamma` and the budget need."""
        of_block = _sums(weights, self.block)
        tokens = smallest_set(weights, self.gamma).sum(-1)
        least = -(-self.min_budget // self.block)
        wanted = torch.where(is_aware, 0, tokens // self.block + 1).clamp_min(least)
        places = torch.arange(of_block.shape[-1], device=weights.device).expand_as(of_block)
        order = of_block.sort(dim=-1, descending=True, stable=True).indices
        ranks = torch.empty_like(order).scatter_(-1, order, places)
        return (ranks < wanted[..., None]) | (places == 0)


def distance(p: Tensor, q: Tensor) -> Tensor:
    """Square root of the Jensen–Shannon divergence of distributions over the last dimension, in 0…√ln 2."""
    middle = (p + q) / 2
    parts = torch.stack([torch.xlogy(x, x) - torch.xlogy(x, middle) for x in (p, q)])
    return (parts.sum((0, -1)) / 2).clamp_min(0).sqrt()


def _sums(x: Tensor, block: int) -> Tensor:
    """`[…, ceil(T / block)]`: sums of neighbouring blocks."""
    return torch.unflatten(torch.nn.functional.pad(x, (0, -x.shape[-1] % block)), -1, (-1, block)).sum(-1)
