"""The cache of groups and a window: a group is pooled when it is complete and folds when it leaves the window."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fdvs.errors import InputError, ShapeError
from fdvs.kernels.columns import compact
from fdvs.kernels.layout import Layout
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.buffers import EntryBuffer, entries_before, no_entries, tokens_from
from fdvs.kernels.methods.windowed import Grouping
from fdvs.kernels.plans import Entries, Plan
from fdvs.kernels.pooling import mean_of_query_heads
from fdvs.kernels.rotary import Rotation


class WindowedCache:
    """Entries of all complete groups, exact tokens before the window, and the window itself.

    Entries of groups that are still in the window wait: they are held, and `segments` does not show them. Tokens that
    are decoded are in groups of full size, without borders, and none of them is exact.
    """

    def __init__(self, grouping: Grouping) -> None:
        self._grouping = grouping
        self._num_tokens = 0

    def fill(self, prompt: Prompt, plan: Plan) -> None:
        assert plan.pooled is not None, "the plan of a grouping has entries, be it none of them"
        layout, size, num_queries = prompt.layout, self._grouping.size, self._grouping.num_queries
        if prompt.q.shape[2] < min(num_queries, prompt.k.shape[2]):
            raise InputError(f"the next group needs the last {num_queries} queries, the last chunk has fewer")
        self._ops, self._scale = prompt.ops, prompt.softmax_scale
        self._num_tokens = prompt.k.shape[2]
        start = int(plan.band_start[..., -1].max())
        ends: list[int] = self._grouping.groups(prompt).ends.tolist()
        limit = self._num_tokens - self._grouping.window
        self._num_shown = sum(end <= limit for end in ends)
        self._waiting = ends[self._num_shown :]
        self._pooled = EntryBuffer(plan.pooled)
        self._exact: list[int] = [at for at in layout.exact_positions().tolist() if at >= start]
        chosen = no_entries(prompt.k, prompt.v, has_bias=False) if plan.selected is None else plan.selected
        self._selected = EntryBuffer(entries_before(chosen, start))
        self._recent = EntryBuffer(tokens_from(prompt.k, prompt.v, start))
        self._open = _begin_of_open_group(layout, size)
        self._rotation = None if layout.rotation is None else _rows(layout.rotation, self._open, self._num_tokens)
        self._queries = mean_of_query_heads(prompt.q[:, :, -num_queries:], prompt.heads_k)

    def append(self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation | None = None) -> None:
        if k.shape[2] != 1:
            raise ShapeError(f"a step takes one token, got {k.shape[2]}")
        self._recent.append(tokens_from(k, v, 0, first_position=self._num_tokens))
        self._num_tokens += 1
        newest = mean_of_query_heads(q, k.shape[1])
        self._queries = torch.cat([self._queries, newest], dim=2)[:, :, -self._grouping.num_queries :]
        if self._rotation is not None:
            if rotation is None:
                raise InputError("the prompt's keys were rotated: a step has to tell the rotation of its token")
            self._rotation = Rotation(*(torch.cat(parts) for parts in zip(self._rotation, rotation, strict=True)))
        if self._num_tokens - self._open == self._grouping.size:
            self._close()
        while self._waiting and self._waiting[0] <= self._num_tokens - self._grouping.window:
            self._fold(self._waiting.pop(0))

    def segments(self) -> list[Entries]:
        return [self._pooled.first(self._num_shown), self._selected.entries(), self._recent.entries()]

    @property
    def num_tokens(self) -> int:
        return self._num_tokens

    @property
    def num_entries(self) -> int:
        return len(self._pooled) + len(self._selected) + len(self._recent) if self._num_tokens else 0

    def _close(self) -> None:
        """Pools the newest tokens, which have become a whole group, unless all of them are exact."""
        size, begin = self._grouping.size, self._open
        self._open = self._num_tokens
        rotation = self._rotation
        self._rotation = None if rotation is None else _rows(rotation, 0, 0)
        held = self._recent.entries()
        members = [at for at in range(size) if at + begin not in self._exact]
        if not members:
            return
        device = held.k.device
        entries = self._grouping.pool(
            held.k[:, :, -size:],
            held.v[:, :, -size:],
            torch.tensor([members + [-1] * (size - len(members))], device=device),
            torch.tensor([size], device=device),
            self._queries.mean(2, keepdim=True),
            rotation=rotation,
            ops=self._ops,
            scale=self._scale,
        )
        self._pooled.append(replace(entries, last=entries.last + begin))
        self._waiting.append(self._num_tokens)

    def _fold(self, end: int) -> None:
        """Shows the oldest group that waits in place of its tokens."""
        self._num_shown += 1
        held = self._recent.entries()
        begin = self._num_tokens - held.num_entries
        start = end - 1 if self._grouping.counts_border_twice else end
        leaving = [at - begin for at in self._exact if at < start]
        if leaving:
            places = torch.tensor(leaving, device=held.k.device).expand(*held.k.shape[:2], -1)
            stays = compact(held.k, held.v, places)
            self._selected.append(replace(stays, last=stays.last + begin))
            self._exact = self._exact[len(leaving) :]
        self._recent.drop_first(start - begin)


def _begin_of_open_group(layout: Layout, size: int) -> int:
    """Position of the first token that is in no complete group."""
    borders = [] if layout.borders is None else layout.borders.tolist()
    piece = max((border for border in borders if 0 < border < layout.length), default=0)
    return piece + (layout.length - piece) // size * size


def _rows(rotation: Rotation, begin: int, end: int) -> Rotation:
    return Rotation(rotation.cos[begin:end], rotation.sin[begin:end])
