"""Selection and a pooled remainder: what is looked at is kept as it is, all the rest counts as groups. Ours.

Selection alone drops the tokens it does not keep, and the weights of the others grow. Here each of them is a member of
one group, and a group weighs what its tokens weigh (the logarithm of their number is added to its logit). So every
token before a query is counted exactly once: in the window, in the selection, or in a group.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.columns import positions_of
from fdvs.kernels.layout import Groups, Layout, band_starts, cut_into_groups
from fdvs.kernels.methods.base import Prompt, ReducedCache, queries_at
from fdvs.kernels.methods.buffers import EntryBuffer, entries_before, no_entries, tokens_from
from fdvs.kernels.methods.cores import matched_bias
from fdvs.kernels.methods.selection import is_at, smallest_set, with_exact
from fdvs.kernels.methods.tca import Tca
from fdvs.kernels.ops import Ops
from fdvs.kernels.plans import NEVER, Entries, Plan
from fdvs.kernels.pooling import PoolRule, mean_of_query_heads
from fdvs.kernels.rotary import Rotation

SelectBy = Literal["quotas", "mass"]
"""Select by TCA's quotas for blocks, or the fewest tokens that hold a share of the last query's attention."""


@dataclass(frozen=True, slots=True)
class Hybrid(Tca):
    """TCA's selection or a threshold, and groups of everything that was not selected.

    Attributes, beside those of `Tca`:
        select_by: `quotas` selects as TCA does. `mass` keeps, for each KV head, the fewest tokens of the whole prompt
            whose scores add up to `mass`, however they lie; budgets and share do not matter then.
        mass: of the scores, in 0…1.
        group: neighbouring tokens that make one group before its selected and exact members are taken out.
        key_rule, value_rule: what stands for a group. `mean`, the default, needs no query, so that a group is the same
            at prefill and at decoding. `weighted` and `anchor` weigh by the last query of the prompt, and in decoding
            by the query of the step at which the group leaves the window. An anchor is the strongest member: with the
            logarithm of the count it stands for too much (test_hybrid.py). Keys are pooled as they are rotated.
        bias: `log_count` lets a group of equal tokens weigh what they weigh. `matched` lets any group weigh what its
            tokens weigh for the query that weighs it; with weighted values that query, where it is the only one of its
            KV head, gets what dense attention gives.

    Decided here:
        - Groups are cut at the borders of the layout before anything is selected, so that all heads have the same
          stretches and a window starts at the same place in each. A group whose members are all selected is padding.
        - The window starts where a group ends: it holds at least `window` tokens, at most `group` - 1 more.
        - Decoding folds: a group that leaves the window is pooled, its selected and exact members stay. Tokens that
          were decoded were never selected among; they all go into groups, of `group` each.
    """

    select_by: SelectBy = "quotas"
    mass: float = 0.9
    group: int = 16
    key_rule: PoolRule = "mean"
    value_rule: PoolRule = "mean"
    bias: Literal["log_count", "matched"] = "log_count"

    name: ClassVar[str] = "hybrid"

    def __post_init__(self) -> None:
        Tca.__post_init__(self)
        if self.group < 1:
            raise InputError(f"a group needs at least one token, got {self.group}")
        if self.select_by not in {"quotas", "mass"}:
            raise InputError(f"select_by is 'quotas' or 'mass', got {self.select_by!r}")
        if not 0 <= self.mass <= 1:
            raise InputError(f"mass lies in 0…1, got {self.mass}")
        if self.bias not in {"log_count", "matched"}:
            raise InputError(f"bias is 'log_count' or 'matched', got {self.bias!r}")
        for rule in (self.key_rule, self.value_rule):
            if rule not in {"mean", "weighted", "anchor"}:
                raise InputError(f"a group is pooled by 'mean', 'weighted' or 'anchor', got {rule!r}")

    @property
    def needs_query(self) -> bool:
        """Whether what stands for a group depends on a query."""
        return self.bias == "matched" or not self.key_rule == self.value_rule == "mean"

    def choose(self, prompt: Prompt) -> Tensor:
        if self.select_by == "quotas":
            return Tca.choose(self, prompt)
        return with_exact(smallest_set(self.selection.scores(prompt), self.mass), prompt)

    def stretches(self, layout: Layout, device: torch.device) -> Groups:
        """The groups before anything is taken out of them: they cover all tokens but the open ones at the end."""
        return cut_into_groups(Layout(layout.length, layout.borders), self.group, device=device)

    def members(self, prompt: Prompt, chosen: Tensor) -> Tensor:
        """`[B, Hk, M, G]`: whom the pooled entries of `plan_with` stand for, padded with -1."""
        _, members = self._remainder(prompt, chosen)
        return members

    def plan(self, prompt: Prompt) -> Plan:
        return self.plan_with(prompt, self.choose(prompt))

    def plan_with(self, prompt: Prompt, chosen: Tensor) -> Plan:
        band_start, members = self._remainder(prompt, chosen)
        weigher = queries_at(prompt, prompt.q_positions[-1:]) if self.needs_query else None
        return Plan(
            prompt.q_positions,
            band_start[None, None],
            pooled=self.pool(prompt.k, prompt.v, members, weigher, ops=prompt.ops, scale=prompt.scale),
            # What is selected inside the window is seen by no query yet; the cache has to know it nevertheless.
            selected=prompt.ops.compact(prompt.k, prompt.v, positions_of(chosen)),
        )

    def pool(
        self, k: Tensor, v: Tensor, members: Tensor, weigher: Tensor | None, *, ops: Ops, scale: float | None
    ) -> Entries:
        """`members` `[B, Hk, M, G]` as entries, weighed by one query for each KV head, `[B, Hk, 1, D]`."""
        queries = None if weigher is None else weigher.expand(-1, -1, members.shape[2], -1)
        pooled = ops.pool(k, v, members, queries, scale=scale, key_rule=self.key_rule, value_rule=self.value_rule)
        if self.bias == "log_count" or queries is None:
            return pooled.entries
        scale = k.shape[-1] ** -0.5 if scale is None else scale
        return replace(pooled.entries, bias=matched_bias(k, pooled, pooled.entries.k, queries, scale))

    def cache(self) -> ReducedCache:
        return HybridCache(self)

    def _remainder(self, prompt: Prompt, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Where bands start, `[Tq]`, and the members of the groups that any query sees."""
        stretches = self.stretches(prompt.layout, prompt.k.device)
        band_start = band_starts(stretches.ends, prompt.q_positions, self.window)
        is_far = stretches.ends <= band_start[-1]
        return band_start, left_of(stretches.members[is_far], chosen)


def left_of(members: Tensor, chosen: Tensor) -> Tensor:
    """`[B, H, M, G]`: `members` `[M, G]` without the tokens that a head keeps, padded with -1 on the right.

    Args:
        chosen: `[B, H, T]` bool.
    """
    is_left = (members >= 0) & ~chosen[:, :, members.clamp_min(0)]
    left = members.masked_fill(~is_left, NEVER).sort(dim=-1).values
    return left.masked_fill(left == NEVER, -1)


class HybridCache:
    """What the hybrid decodes with: selection, groups, and everything from the newest group's end on."""

    def __init__(self, method: Hybrid) -> None:
        self._method = method
        self._num_tokens = 0

    def fill(self, prompt: Prompt, plan: Plan) -> None:
        self._ops, self._scale = prompt.ops, prompt.scale
        self._start = int(plan.band_start[..., -1].max())
        self._num_tokens = prompt.k.shape[2]
        none_yet = no_entries(prompt.k, prompt.v, has_bias=False)
        selected = none_yet if plan.selected is None else plan.selected
        self._selected = EntryBuffer(entries_before(selected, self._start))
        self._pooled = EntryBuffer(
            no_entries(prompt.k, prompt.v, has_bias=True) if plan.pooled is None else plan.pooled
        )
        self._recent = EntryBuffer(tokens_from(prompt.k, prompt.v, self._start))
        self._kept = is_at(selected.last, self._num_tokens)[..., self._start :]
        ends = self._method.stretches(prompt.layout, torch.device("cpu")).ends
        self._ends = [end for end in ends.tolist() if end > self._start]  # groups that are closed and in the window

    def append(self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation | None = None) -> None:
        self._recent.append(tokens_from(k, v, 0, first_position=self._num_tokens))
        self._num_tokens += k.shape[2]
        self._kept = torch.nn.functional.pad(self._kept, (0, k.shape[2]))  # new tokens are not selected
        while self._next_end() <= self._num_tokens - self._method.window:
            self._fold(self._next_end(), q)

    def segments(self) -> list[Entries]:
        return [self._pooled.entries(), self._selected.entries(), self._recent.entries()]

    @property
    def num_tokens(self) -> int:
        return self._num_tokens

    @property
    def num_entries(self) -> int:
        return len(self._pooled) + len(self._selected) + len(self._recent) if self._num_tokens else 0

    def _next_end(self) -> int:
        return self._ends[0] if self._ends else self._start + self._method.group

    def _fold(self, end: int, q: Tensor) -> None:
        """Takes the tokens up to `end` out of the window: kept ones to the selection, the others into one group."""
        size = end - self._start
        leaving, kept = self._recent.first(size), self._kept[..., :size]
        members = left_of(torch.arange(size, device=kept.device)[None], kept)
        weigher = mean_of_query_heads(q[:, :, -1:], kept.shape[1]) if self._method.needs_query else None
        pooled = self._method.pool(leaving.k, leaving.v, members, weigher, ops=self._ops, scale=self._scale)
        self._pooled.append(_moved(pooled, self._start))
        stays = self._ops.compact(leaving.k, leaving.v, positions_of(kept))
        if stays.num_entries:
            self._selected.append(_moved(stays, self._start))
        self._recent.drop_first(size)
        self._kept = self._kept[..., size:]
        self._start = end
        self._ends = self._ends[1:]


def _moved(entries: Entries, by: int) -> Entries:
    """The same entries, `by` positions later; padding stays padding."""
    last = torch.where(entries.last == NEVER, NEVER, entries.last + by)
    return Entries(entries.k, entries.v, last, entries.bias)
