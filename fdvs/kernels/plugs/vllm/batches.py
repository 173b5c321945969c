"""One step of vLLM taken apart: which requests a method plans, which go on from a reduced cache, which are dense.

A step mixes prompts and requests that write, so every request is looked at by itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fdvs.kernels.plugs.vllm.asked import DecodeRule


@dataclass(frozen=True, slots=True)
class Request:
    """One request's part of a step.

    Attributes:
        index: its place in the batch.
        begin, end: its rows in the flat tensors of the step.
        length: its tokens so far, those of this step among them.
        block: its first block of the paged cache. No two requests that live have the same one, as prefix caching is
            off; whoever gets it next starts with a prompt.
    """

    index: int
    begin: int
    end: int
    length: int
    block: int

    @property
    def num_rows(self) -> int:
        return self.end - self.begin

    @property
    def is_whole_prompt(self) -> bool:
        return self.num_rows == self.length


@dataclass(frozen=True, slots=True)
class Split:
    """Who is treated how in one step.

    Attributes:
        planned: prompts whose attention a method plans.
        reduced: requests that write one token from their reduced caches.
        dense: places in the batch of all others that have rows, with the reasons.
        alive: first blocks of all requests that have reduced caches.
    """

    planned: tuple[Request, ...] = ()
    reduced: tuple[Request, ...] = ()
    dense: tuple[tuple[Request, str], ...] = ()
    alive: frozenset[int] = frozenset()

    @property
    def is_all_dense(self) -> bool:
        return not self.planned and not self.reduced

    def dense_rows(self) -> Tensor:
        """`[R]` int64: the rows of the dense requests, request after request."""
        return torch.cat([torch.arange(one.begin, one.end) for one, _ in self.dense])


def requests_of(starts: Sequence[int], lengths: Sequence[int], blocks: Sequence[int]) -> list[Request]:
    """The requests of a step that have rows; others only fill it up.

    Args:
        starts: first row of each request and, last, the end.
        lengths: tokens of each so far.
        blocks: first block of each; -1 where nobody asks for it.
    """
    return [
        Request(index, begin, end, length, block)
        for index, (begin, end, length, block) in enumerate(zip(starts, starts[1:], lengths, blocks, strict=False))
        if end > begin
    ]


@dataclass(slots=True)
class Splitter:
    """Splits step after step, and remembers which requests have reduced caches.

    Attributes:
        dense_below: prompts of fewer tokens are dense.
        decode: see `DecodeRule`.
        most: requests that live at once; of more that are remembered, those are gone that were not seen the longest.
    """

    dense_below: int
    decode: DecodeRule = "dense"
    most: int = 1
    lengths: OrderedDict[int, int] = field(default_factory=OrderedDict)

    def split(self, requests: Sequence[Request], *, is_causal: bool = True) -> Split:
        """Who is treated how.

        Args:
            is_causal: False where vLLM wants attention in both directions; then all are dense.
        """
        planned, reduced, dense = [], [], []
        for one in requests:
            reason = "other" if not is_causal else self._why_dense(one)
            if reason:
                dense.append((one, reason))
            elif one.is_whole_prompt:
                planned.append(one)
            else:
                reduced.append(one)
            self._remember(one, is_followed=not reason)
        return Split(tuple(planned), tuple(reduced), tuple(dense), frozenset(self.lengths))

    def _why_dense(self, one: Request) -> str:
        if one.is_whole_prompt:
            return "short" if one.length < max(self.dense_below, 2) else ""
        if one.num_rows > 1:
            return "continued"
        return "" if self.lengths.get(one.block) == one.length - 1 else "write"

    def _remember(self, one: Request, *, is_followed: bool) -> None:
        self.lengths.pop(one.block, None)
        if is_followed and self.decode == "reduced":
            self.lengths[one.block] = one.length
            while len(self.lengths) > self.most:
                self.lengths.popitem(last=False)
