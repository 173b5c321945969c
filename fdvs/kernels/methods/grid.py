"""MMInference's grid: one token of every frame is seen by all, and sees all; the rest is local. For video prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.tiling import check_block, softmax_over
from fdvs.kernels.plans import Plan, Tiles, dense_plan


class Span(NamedTuple):
    """A stretch of frames of equal length.

    Attributes:
        begin, end: positions of its first token, and after its last.
        stride: tokens from one frame to the next.
    """

    begin: int
    end: int
    stride: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Lines of a grid over the frames of a video, a sink and a window.

    Within a stretch of frames of equal length, tokens at one place in the frame (the phase of a head) are seen by all
    later queries, and queries at this place see everything before them: vertical and horizontal lines of a grid. All
    queries see what comes before the video and their window; queries after it (the question) see everything.

    Attributes:
        block: tokens in a tile; published: 64 for keys.
        stride: tokens from one frame to the next. None: as the borders of the layout lie.
        strides: search among these on each prompt, one for all heads: the one whose phases gain most over an even
            share of attention (the paper takes the most attention, which favours short strides). Empty: no search.
        sinks: first tokens that all see, at least; what comes before the video is always among them.
        window: newest tokens that are seen as they are; published: 1024.
        num_queries: last queries whose attention finds the phase of each head; published: 64.
        has_rows: queries of the phase see everything. False: only the vertical lines, the other form that is searched.

    As published, tokens are put into an order by place and then by frame, so that a line is a run of whole tiles; for
    that, the sink is rounded up and the number of frames down to whole tiles, and what is cut off at the end belongs
    to the part that sees everything. With fewer frames than one tile the plan is dense, as in the authors' code.
    Decided here:
        - Each query head finds its phase on each prompt, as the paper's algorithm does; the code has it from a search.
        - All heads use the grid. The paper gives some heads other forms, by an offline search that is not made here,
          so this is its form for video heads and not the whole method.
        - The stretch of frames is the longest run of equal distances between borders; where each frame comes with a
          text of its own, distances between every second border are looked at, too.
        - Decoding keeps every token.

    Source: MMInference 2504.16083.
    """

    block: int = 64
    stride: int | None = None
    strides: tuple[int, ...] = ()
    sinks: int = 64
    window: int = 1024
    num_queries: int = 64
    has_rows: bool = True

    name: ClassVar[str] = "grid"
    is_causal: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_block(self.block)
        if self.window < 1 or self.num_queries < 1 or self.sinks < 0:
            raise InputError(f"window and num_queries are at least 1 and sinks 0, got {self}")
        if any(stride < 2 for stride in (*self.strides, *([] if self.stride is None else [self.stride]))):
            raise InputError(f"a frame has at least two tokens, got strides of {self.stride} and {self.strides}")

    def plan(self, prompt: Prompt) -> Plan:
        span = self.whole_tiles(self.span(prompt))
        if span.end == span.begin:
            return dense_plan(prompt.q.shape[2], prompt.k.shape[2], prompt.q.device)
        positions = prompt.q_positions
        sees_all = (positions < span.begin) | (positions >= span.end)
        band_start = (positions + 1 - self.window).clamp_min(0).masked_fill(sees_all, 0)
        k_order = order_by_place(span, prompt.k.shape[2], prompt.k.device)
        place = torch.empty_like(k_order).scatter_(0, k_order, torch.arange(len(k_order), device=k_order.device))
        q_order = place[positions].argsort()
        keep = self.keep(prompt, span, k_order, positions[q_order])
        tiles = Tiles(keep, self.block, self.block, q_order, k_order)
        return Plan(positions, band_start[None, None], tiles=tiles)

    def span(self, prompt: Prompt) -> Span:
        """The stretch of frames.

        Raises:
            InputError: the layout has no borders, and neither a stride was given nor some to search among.
        """
        borders = [] if prompt.layout.borders is None else prompt.layout.borders.tolist()
        begin, length = borders[0] if borders else 0, prompt.layout.length
        if self.stride is not None:
            return Span(begin, length, self.stride)
        if self.strides:
            return max((Span(begin, length, stride) for stride in self.strides), key=lambda one: self.gain(prompt, one))
        if not borders:
            raise InputError("a grid needs the borders of frames in the layout of the prompt, or strides")
        marks = [*borders, length]
        return max((longest_run(marks, lag) for lag in (1, 2)), key=lambda run: run.end - run.begin)

    def gain(self, prompt: Prompt, span: Span) -> float:
        """How much more attention than an even share the phase of a head has, the mean over heads; 0 without tiles."""
        span = self.whole_tiles(span)
        if span.end == span.begin:
            return 0.0
        by_place = self.by_place(prompt, span)
        tiny = torch.finfo(by_place.dtype).tiny
        return float((by_place.amax(-1) / by_place.sum(-1).clamp_min(tiny)).mean()) - 1 / span.stride

    def whole_tiles(self, span: Span) -> Span:
        """The part of a span that is whole tiles for every place in a frame; empty where there is none."""
        sink = max(span.begin, self.sinks)
        begin = -(-sink // self.block) * self.block
        step = span.stride * self.block
        return Span(begin, begin + max(span.end - begin, 0) // step * step, span.stride)

    def by_place(self, prompt: Prompt, span: Span) -> Tensor:
        """`[B, Hq, stride]`: what the last queries give to each place in a frame, counted from the begin of `span`."""
        last = min(self.num_queries, prompt.q.shape[2])
        grouped = prompt.q[:, :, -last:].unflatten(1, (prompt.heads_k, -1))
        precise = torch.promote_types(prompt.q.dtype, torch.float32)
        logits = torch.flatten(grouped.to(precise) @ prompt.k[:, :, None].to(precise).mT, 1, 2) * prompt.softmax_scale
        columns = torch.arange(prompt.k.shape[2], device=prompt.k.device)
        received = softmax_over(logits, columns <= prompt.q_positions[-last:, None]).sum(2)
        return torch.unflatten(received[..., span.begin : span.end], -1, (-1, span.stride)).sum(2)

    def keep(self, prompt: Prompt, span: Span, k_order: Tensor, q_positions: Tensor) -> Tensor:
        """`[B, Hq, nQ, nK]` bool, for queries in the order of `q_positions` `[Tq]`."""
        phases = self.by_place(prompt, span).argmax(-1)
        is_line = (_place(k_order, span) == phases[..., None]) & _is_in(k_order, span)
        shown = is_line | (k_order < span.begin)
        columns = _any_of_tile(shown, self.block)[:, :, None]
        if not self.has_rows:
            return columns.expand(-1, -1, -(-len(q_positions) // self.block), -1)
        sees_all = (_place(q_positions, span) == phases[..., None]) & _is_in(q_positions, span)
        return columns | _any_of_tile(sees_all, self.block)[..., None]

    def cache(self) -> None:
        return None


def longest_run(marks: list[int], lag: int) -> Span:
    """The longest stretch over which marks `lag` apart have equal distances, of at least two."""
    best = Span(marks[0], marks[0], 2)
    steps = [(here, there - here) for here, there in zip(marks[:-lag], marks[lag:], strict=True)]
    for first in range(lag):
        run = steps[first::lag]
        begin = 0
        for place in range(1, len(run) + 1):
            if place < len(run) and run[place][1] == run[begin][1]:
                continue
            found = Span(run[begin][0], run[place - 1][0] + run[begin][1], run[begin][1])
            if found.stride >= 2 and found.end - found.begin > best.end - best.begin:
                best = found
            begin = place
    return best


def order_by_place(span: Span, length: int, device: torch.device) -> Tensor:
    """`[T]` int64: positions, those of `span` by place in their frame and then by frame."""
    positions = torch.arange(length, device=device)
    inside = positions[span.begin : span.end].unflatten(0, (-1, span.stride)).T.flatten()
    return torch.cat([positions[: span.begin], inside, positions[span.end :]])


def _place(positions: Tensor, span: Span) -> Tensor:
    return (positions - span.begin) % span.stride


def _is_in(positions: Tensor, span: Span) -> Tensor:
    return (positions >= span.begin) & (positions < span.end)


def _any_of_tile(marks: Tensor, block: int) -> Tensor:
    """`[…, ceil(T / block)]` bool."""
    return torch.unflatten(torch.nn.functional.pad(marks, (0, -marks.shape[-1] % block)), -1, (-1, block)).any(-1)
