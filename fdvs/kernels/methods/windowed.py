"""Groups of tokens as one entry each, and a local window that begins where a group ends: what CCA and LCA share.

A method of this kind says how its groups are made and what stands for one (`Grouping`). A group is pooled when its
last token is there, which is long before it leaves the window: only then is the query at hand that weighs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from fdvs.errors import InputError, ShapeError
from fdvs.kernels.layout import Groups, band_starts, cut_into_groups
from fdvs.kernels.methods.base import Prompt, queries_at
from fdvs.kernels.methods.cores import CoreRule, Cores
from fdvs.kernels.ops import Ops
from fdvs.kernels.plans import Entries, Plan, join_entries
from fdvs.kernels.rotary import Rotation

WeighedBy = Literal["closing", "prompt_end"]
"""Whose queries weigh a group: the newest ones when its last token is there, or the last ones of the prompt."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """How groups are made and what stands for them.

    Attributes:
        size: neighbouring tokens in a group, g. A group may be shorter before a border and without its exact tokens.
        window: newest tokens, a query's own among them, that are always seen as they are.
        cores: what stands for a group.
        counts_border_twice: show the last token before the window both in its group and as it is.
        num_queries: newest queries whose mean weighs a group.
        weighed_by: see `WeighedBy`. Groups that close in decoding are weighed as they close, in either case.
    """

    size: int
    window: int
    cores: Cores = field(default_factory=CoreRule)
    counts_border_twice: bool = False
    num_queries: int = 1
    weighed_by: WeighedBy = "closing"

    def __post_init__(self) -> None:
        if self.size < 1 or self.window < 1 or self.num_queries < 1:
            raise InputError(
                f"group, window and num_queries are at least 1, got {self.size}, {self.window} and {self.num_queries}"
            )
        if self.counts_border_twice and self.size == 1:
            raise InputError("groups of one token cannot count their border twice: it would be all there is of a group")

    def groups(self, prompt: Prompt) -> Groups:
        """The groups that are complete at the end of the prompt: row n of `members` is pooled entry n of the plan."""
        return cut_into_groups(prompt.layout, self.size, device=prompt.k.device)

    def plan(self, prompt: Prompt, known: Entries | None = None) -> Plan:
        """Entries for all groups, exact tokens, and bands that begin where the last group outside the window ends.

        The newest entries are seen by no query yet: they wait in the cache until their group leaves the window.

        Args:
            known: entries of the groups that ended in earlier chunks of the prompt: `pooled` of the last chunk's plan.
        """
        groups = self.groups(prompt)
        band_start = band_starts(groups.ends, prompt.q_positions, self.window)
        if self.counts_border_twice:
            if len(groups.ends) and int(groups.ends[0]) == 1:
                raise InputError("a first group of one token cannot count its border twice")
            band_start = (band_start - 1).clamp_min(0)
        return Plan(
            prompt.q_positions, band_start[None, None], self._pooled(prompt, groups, known), _exact_entries(prompt)
        )

    def pool(
        self,
        k: Tensor,
        v: Tensor,
        members: Tensor,
        ends: Tensor,
        queries: Tensor,
        *,
        rotation: Rotation | None,
        ops: Ops,
        scale: float,
    ) -> Entries:
        """Groups as entries: `members` `[M, G]` and `ends` `[M]` as in `Groups`, the rest as in `Cores.pool`.

        A group is over when its stretch is, even where that ends with exact tokens.
        """
        entries = self.cores.pool(
            k, v, members[None, None], (ends - 1)[None, None], queries, rotation=rotation, ops=ops, scale=scale
        )
        return Entries(entries.k, entries.v, entries.last - int(self.counts_border_twice), entries.bias)

    def _pooled(self, prompt: Prompt, groups: Groups, known: Entries | None) -> Entries:
        num_known = 0
        if known is not None:
            num_known = int((groups.ends <= prompt.q_positions[0]).sum())
            if known.num_entries != num_known:
                raise ShapeError(f"{num_known} groups ended in earlier chunks, {known.num_entries} entries are known")
        members, ends = groups.members[num_known:], groups.ends[num_known:]
        new = self.pool(
            prompt.k,
            prompt.v,
            members,
            ends,
            self._queries(prompt, ends),
            rotation=prompt.layout.rotation,
            ops=prompt.ops,
            scale=prompt.softmax_scale,
        )
        return new if known is None else join_entries([known, new])

    def _queries(self, prompt: Prompt, ends: Tensor) -> Tensor:
        """`[B, Hk, M, D]`: what weighs each group."""
        if self.weighed_by == "prompt_end":
            last = prompt.q_positions[-1:] + 1
            return self._newest(prompt, last).expand(-1, -1, len(ends), -1)
        return self._newest(prompt, ends)

    def _newest(self, prompt: Prompt, ends: Tensor) -> Tensor:
        """`[B, Hk, M, D]`: the mean of the newest queries before each of `ends` `[M]`."""
        positions = ends[:, None] - 1 - torch.arange(self.num_queries, device=ends.device)
        is_there = positions >= 0
        # Before the start of the sequence there is none: the last one stands in and counts for nothing.
        queries = queries_at(prompt, torch.where(is_there, positions, ends[:, None] - 1))
        precise = torch.promote_types(queries.dtype, torch.float32)
        share = is_there.to(precise) / is_there.sum(1, keepdim=True)
        return (queries.to(precise) * share[..., None]).sum(3).to(queries.dtype)


def _exact_entries(prompt: Prompt) -> Entries | None:
    positions = prompt.layout.exact_positions().to(prompt.k.device)
    if not len(positions):
        return None
    return prompt.ops.compact(prompt.k, prompt.v, positions.expand(*prompt.k.shape[:2], -1))
