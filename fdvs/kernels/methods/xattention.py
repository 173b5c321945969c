"""XAttention: blocks by the sums of their antidiagonals, which touch each of its tokens at a fraction of the cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.selection import smallest_set
from fdvs.kernels.methods.tiling import Tiling, check_block, softmax_over, tile_logits
from fdvs.kernels.plans import Plan

SCORES_AT_ONCE = 1 << 26
"""Scores that are held at a time, 256 MB in float32: at 128K tokens and stride 8 a head has four times as many."""


@dataclass(frozen=True, slots=True)
class XAttention:
    """The fewest blocks of keys whose antidiagonal scores hold a share of the whole, for each block of queries.

    Attributes:
        block: tokens in a block, of queries and of keys; published: 128.
        stride: queries and keys are taken in groups of this many. The mean logit of a group with a group, each query
            with the key opposite to it, is one score; published: 8 or 16.
        threshold: share of a row's scores that the kept blocks hold; published: 0.9.

    As published, the first block and a query's own are always kept and their scores count for the threshold. Decided
    here: a group at the end of the sequence that is short scores by the pairs it has, so that padding does not vote.
    Decoding keeps every token.

    Source: XAttention 2503.16428.
    """

    block: int = 128
    stride: int = 8
    threshold: float = 0.9

    name: ClassVar[str] = "xattention"
    is_causal: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_block(self.block)
        if self.stride < 1 or self.block % self.stride:
            raise InputError(f"stride divides the block of {self.block}, got {self.stride}")
        if not 0 <= self.threshold <= 1:
            raise InputError(f"threshold lies in 0…1, got {self.threshold}")

    def plan(self, prompt: Prompt) -> Plan:
        tiling = Tiling.of(prompt, self.block)
        places = torch.arange(tiling.num_k, device=prompt.k.device)
        forced = (places == 0) | ((places >= tiling.own[:, None]) & tiling.causal())
        return tiling.plan(prompt, smallest_set(self.scores(prompt, tiling), self.threshold, forced))

    def scores(self, prompt: Prompt, tiling: Tiling) -> Tensor:
        """`[B, Hq, nQ, nK]`: attention between groups, summed over the groups of each pair of blocks."""
        queries, has_query = _groups(prompt.q.flip(2), self.stride, at_end=True)
        keys, has_key = _groups(prompt.k, self.stride, at_end=False)
        # Groups of queries are made of the flipped sequence, so that a query meets the key opposite to it.
        queries, has_query = queries.flip(2), has_query.flip(0)
        first = prompt.q_positions[:: self.stride]
        before = torch.arange(len(has_key), device=first.device) * self.stride <= first[:, None]
        pairs = has_query.to(torch.float32) @ has_key.to(torch.float32).mT
        of_block = self.block // self.stride
        step = max(
            1, SCORES_AT_ONCE // (prompt.q.shape[0] * prompt.q.shape[1] * self.block // self.stride * len(has_key))
        )
        found = []
        for rows in torch.arange(len(first), device=first.device).split(step * of_block):
            logits = tile_logits(queries[:, :, rows], keys, prompt.softmax_scale) / pairs[rows].clamp_min(1)
            weights = softmax_over(logits, before[rows] & (pairs[rows] > 0))
            spare = (0, -weights.shape[3] % of_block, 0, -weights.shape[2] % of_block)
            sums = torch.nn.functional.pad(weights, spare).unflatten(3, (-1, of_block)).sum(4)
            found.append(sums.unflatten(2, (-1, of_block)).sum(3))
        return torch.cat(found, dim=2)

    def cache(self) -> None:
        return None


def _groups(x: Tensor, stride: int, *, at_end: bool) -> tuple[Tensor, Tensor]:
    """`[B, H, N, stride × D]`, rows in groups of `stride`, and which of their places are filled, `[N, stride]`.

    Args:
        at_end: the first group is the short one, as in a flipped sequence.
    """
    precise = x.to(torch.promote_types(x.dtype, torch.float32))
    spare = -x.shape[2] % stride
    pad = (spare, 0) if at_end else (0, spare)
    is_filled = torch.nn.functional.pad(torch.ones(x.shape[2], dtype=torch.bool, device=x.device), pad)
    grouped = torch.nn.functional.pad(precise, (0, 0, *pad)).unflatten(2, (-1, stride)).flatten(3)
    return grouped, is_filled.unflatten(0, (-1, stride))
