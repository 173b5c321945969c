"""Which tokens a head keeps: scores by the last queries, quotas for blocks by their density, the best of each block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.columns import positions_of
from fdvs.kernels.methods.base import Prompt

Density = Literal["plain", "scaled"]
"""How a block's share of the attention and its concentration become one figure, see `Selection`."""


@dataclass(frozen=True, slots=True)
class Selection:
    """How TCA selects. Budgets are measured with one of these and hold for it alone.

    Attributes:
        block: tokens in a block, b; a power of two. A head keeps 1, 2, 4, … or b tokens of a block.
        alpha: weight of a block's concentration against its share of the attention, in 0…1.
        num_queries: how many of the last queries score the tokens. The paper's text known to us says one.
        density: `plain` adds share and concentration as the formula reads. In a long prompt a share is about
            block / length and a concentration at least 1 / block, so the second rules whatever alpha says. `scaled`
            divides each by its largest over the blocks of a head, so that alpha is a balance. Our option.

    Source: TCA 2512.09238.
    """

    block: int = 128
    alpha: float = 0.5
    num_queries: int = 1
    density: Density = "plain"

    def __post_init__(self) -> None:
        if self.block < 1 or self.block & (self.block - 1):
            raise InputError(f"block has to be a power of two, got {self.block}")
        if not 0 <= self.alpha <= 1:
            raise InputError(f"alpha lies in 0…1, got {self.alpha}")
        if self.num_queries < 1:
            raise InputError(f"at least one query has to score the tokens, got {self.num_queries}")
        if self.density not in {"plain", "scaled"}:
            raise InputError(f"density is 'plain' or 'scaled', got {self.density!r}")

    @property
    def counts(self) -> tuple[int, ...]:
        """How many tokens of a block may be kept: 1, 2, 4, …, block."""
        return tuple(1 << power for power in range(self.block.bit_length()))

    def scores(self, prompt: Prompt) -> Tensor:
        """`[B, Hk, Tk]` float32: the attention of the last queries, a mean over them and a KV head's query heads.

        The mean keeps the sum over all tokens at 1, so that the balance in a block's density depends neither on how
        many query heads share a KV head nor on how many queries score. In what order tokens come, sum and mean agree.
        """
        last = min(self.num_queries, prompt.q.shape[2])
        return prompt.ops.column_scores(
            prompt.q[:, :, -last:], prompt.q_positions[-last:], prompt.k, scale=prompt.scale
        )

    def densities(self, scores: Tensor) -> Tensor:
        """`[B, H, ceil(T / block)]`: (1 - alpha) × a block's sum of scores + alpha × its concentration.

        The concentration is the Herfindahl–Hirschman index, the sum of squared shares of the block's own sum: 1 / block
        for an even block, 1 for a single token, and 0 here for a block that got no attention at all.
        """
        num_blocks = -(-scores.shape[-1] // self.block)
        padded = torch.nn.functional.pad(scores, (0, num_blocks * self.block - scores.shape[-1]))
        of_block = padded.unflatten(-1, (num_blocks, self.block))
        sums = of_block.sum(-1)
        tiny = torch.finfo(scores.dtype).tiny
        concentration = (of_block / sums.clamp_min(tiny)[..., None]).square().sum(-1)
        if self.density == "scaled":
            sums = sums / sums.amax(-1, keepdim=True).clamp_min(tiny)
            concentration = concentration / concentration.amax(-1, keepdim=True).clamp_min(tiny)
        density: Tensor = (1 - self.alpha) * sums + self.alpha * concentration
        return density

    def quotas(self, densities: Tensor, proportions: Tensor) -> Tensor:
        """`[B, H, N]` int64: how many tokens each block keeps, the densest blocks the most.

        Blocks are ranked by density, of equal ones the earlier first. The blocks that keep the most take the first
        ranks: the limits between the levels are the running sums of the proportions, times N, rounded to the nearest
        rank (halves up). So the levels share out exactly the N blocks there are, and no limit is off by more than half
        a block. How to round is our choice.

        Args:
            densities: `[B, H, N]`.
            proportions: `[H, K]` or `[1, K]`, the fraction of blocks for each of `counts`; each row sums to 1.
        """
        num_blocks = densities.shape[-1]
        levels = torch.tensor(self.counts, device=densities.device).flip(0)
        limits = (proportions.to(densities.device, torch.float64).flip(-1).cumsum(-1) * num_blocks + 0.5).floor()
        limits[..., -1] = num_blocks  # whatever the sum of the proportions is off by
        ranks = torch.arange(num_blocks, device=densities.device, dtype=torch.float64)
        by_rank = levels[torch.searchsorted(limits, ranks.expand(len(limits), -1).contiguous(), right=True)]
        order = densities.sort(dim=-1, descending=True, stable=True).indices
        return torch.empty_like(order).scatter_(-1, order, by_rank.expand_as(order))

    def choose(self, prompt: Prompt, scores: Tensor, proportions: Tensor) -> Tensor:
        """`[B, Hk, Tk]` bool: the tokens that each KV head keeps, before exact ones are added.

        Args:
            scores: as of `scores`.
            proportions: as of `quotas`.
        """
        quotas = self.quotas(self.densities(scores), proportions)
        return is_at(prompt.ops.block_top_k(scores, quotas, self.block), scores.shape[-1])


def is_at(positions: Tensor, length: int) -> Tensor:
    """`[B, H, T]` bool: true at `positions` `[B, H, S]`; `NEVER` is nowhere."""
    marks = torch.zeros(*positions.shape[:2], length + 1, dtype=torch.bool, device=positions.device)
    return marks.scatter_(-1, positions.clamp_max(length), value=True)[..., :length]


def with_exact(chosen: Tensor, prompt: Prompt) -> Tensor:
    """`chosen` `[B, Hk, Tk]` and the tokens that are always seen as they are, which no quota counts."""
    exact = prompt.layout.exact
    return chosen if exact is None else chosen | exact.to(chosen.device)


def positions_before(chosen: Tensor, end: int) -> Tensor:
    """`[B, H, S]` int64: the chosen tokens before `end`, ascending, padded with `NEVER` on the right."""
    return positions_of(chosen[..., : max(end, 0)])


def smallest_set(scores: Tensor, mass: float, forced: Tensor | None = None) -> Tensor:
    """`[…, T]` bool: the fewest of the last dimension whose scores add up to `mass` of all.

    Args:
        scores: `[…, T]`, at least 0. Of equal ones the earlier is taken.
        mass: in 0…1; 1 takes all.
        forced: `[…, T]` bool, what is taken in any case; its scores count. None: nothing.
    """
    forced = torch.zeros_like(scores, dtype=torch.bool) if forced is None else forced.expand_as(scores)
    order = scores.masked_fill(forced, torch.inf).sort(dim=-1, descending=True, stable=True).indices
    ordered = scores.gather(-1, order).to(torch.float64)
    before = ordered.cumsum(-1) - ordered
    wanted = mass * ordered.sum(-1, keepdim=True)
    is_needed = (before < wanted) if mass < 1 else torch.ones_like(forced)
    return torch.zeros_like(forced).scatter_(-1, order, is_needed) | forced
