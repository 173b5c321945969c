"""The readings of one clip after the other: a pure function of a clip's samples and of what was seen before them."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fdvs.media.frame import Frame
from fdvs.records import Span
from fdvs.screen_text.boxes import Box
from fdvs.screen_text.changes import Luma, looks_same, luma_size, same_in
from fdvs.screen_text.gate import Pace, is_line, is_news
from fdvs.screen_text.reader import GLANCE_SIDE, MOST_SIDE, TextReader
from fdvs.screen_text.readings import Reading, ReadLine


class Eyes(Protocol):
    """What looks at pictures; `reader.TextReader` is one."""

    def glance(self, pixels: NDArray[np.uint8]) -> tuple[Box, ...]: ...

    def read(self, pixels: NDArray[np.uint8]) -> tuple[ReadLine, ...]: ...


class Shown:
    """What is kept of a sample until its clip is read.

    Attributes:
        luma: its small picture.
        frame: the picture itself; None once it is known that the sample after it shows the same.
    """

    __slots__ = ("frame", "luma")

    def __init__(self, frame: Frame) -> None:
        self.luma: Luma = frame.luma(*luma_size(frame.width, frame.height))
        self.frame: Frame | None = frame.held(MOST_SIDE)


@dataclass(frozen=True, slots=True, eq=False)
class WatchState:
    """What is carried from clip to clip.

    Attributes:
        luma: the picture that was looked at last; None before the first.
        boxes: where text was read in it, or seen and not read; empty where it shows none.
        pace: how much was looked at.
    """

    luma: Luma | None = None
    boxes: tuple[Box, ...] = ()
    pace: Pace = field(default_factory=Pace)

    def to_bytes(self) -> bytes:
        shape = None if self.luma is None else self.luma.shape
        pace = dataclasses.astuple(self.pace)
        head = json.dumps({"shape": shape, "boxes": self.boxes, "pace": pace}, separators=(",", ":")).encode()
        return head + b"\n" + (b"" if self.luma is None else zlib.compress(self.luma.tobytes(), 1))

    @staticmethod
    def from_bytes(data: bytes) -> WatchState:
        head, _, packed = data.partition(b"\n")
        facts = json.loads(head)
        luma = None
        if facts["shape"] is not None:
            luma = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(facts["shape"])
        return WatchState(luma, tuple(tuple(box) for box in facts["boxes"]), Pace(*facts["pace"]))


class TextWatch:
    """Reads one clip after the other and carries what must be carried.

    Attributes:
        state: after the clips that were read so far; store it with them to go on behind them.
    """

    def __init__(self, state: WatchState, eyes: Callable[[], Eyes] = TextReader) -> None:
        """`eyes` makes the reader; it is called when the first picture is looked at."""
        self.state = state
        self._make_eyes = eyes
        self._made: Eyes | None = None
        self._before: tuple[int, Shown] | None = None

    def shown(self, frame: Frame, *, begins_clip: bool) -> Shown:
        """What to keep of a sample. The sample before it in its clip is let go of where both show the same: the last
        of a stretch is what is read."""
        now = Shown(frame)
        if self._before is not None and not begins_clip:
            pts, before = self._before
            if pts < frame.pts and looks_same(before.luma, now.luma):
                before.frame = None
        self._before = frame.pts, now
        return now

    def read(self, span: Span, samples: Sequence[tuple[int, Shown]]) -> tuple[Reading, ...]:
        """`read_clip` of the next clip; its pictures are let go of."""
        readings, self.state = read_clip(span, samples, self.state, self._eyes)
        for _, shown in samples:
            shown.frame = None
        return readings

    def _eyes(self) -> Eyes:
        if self._made is None:
            self._made = self._make_eyes()
        return self._made


def read_clip(
    span: Span, samples: Sequence[tuple[int, Shown]], state: WatchState, eyes: Callable[[], Eyes]
) -> tuple[tuple[Reading, ...], WatchState]:
    """What is written in one clip.

    Args:
        span: of the clip.
        samples: (time_ms, sample) in time order.
        state: what the clip before left.
        eyes: gives the reader; called only when there is something to look at.

    Returns:
        Readings that cover the clip (none for a clip without samples) and the state for the next clip.
    """
    readings: list[Reading] = []
    starts = [0, *(i for i in range(1, len(samples)) if not looks_same(samples[i - 1][1].luma, samples[i][1].luma))]
    for start, end in zip(starts, [*starts[1:], len(samples)], strict=True) if samples else ():
        time_ms, shown = samples[end - 1]
        until_ms = samples[end][0] if end < len(samples) else span.end_ms
        stretch = Span(samples[start][0] if readings else span.start_ms, until_ms)
        seen, state = _look(time_ms, shown, state, eyes, stands=end - start > 1)
        looked = state.pace.looked_ms == time_ms and seen.outcome != "same"
        readings.append(Reading(stretch, time_ms if looked else -1, seen.lines, seen.outcome, seen.places))
    return tuple(_merged(readings)), state


@dataclass(frozen=True, slots=True)
class _Seen:
    """What came of one sample; the fields are those of `Reading`."""

    outcome: str
    lines: tuple[ReadLine, ...] = ()
    places: tuple[Box, ...] = ()


def _look(
    time_ms: int, shown: Shown, state: WatchState, eyes: Callable[[], Eyes], *, stands: bool
) -> tuple[_Seen, WatchState]:
    """The last sample of a stretch, and the state after it."""
    before = state.luma
    if before is not None and looks_same(before, shown.luma):
        return _Seen("same"), state
    if shown.frame is None or not state.pace.may_look(time_ms, stands=stands):
        return _Seen("skipped"), state
    frame = shown.frame
    seen = eyes().glance(frame.rgb(_short_side(frame, GLANCE_SIDE)))
    found = tuple(box for box in seen if is_line(box, frame.width, frame.height))
    pace = state.pace.looked(time_ms)
    if not found:
        return _Seen("no_text"), WatchState(shown.luma, (), pace)
    if before is not None and not is_news(found, state.boxes, lambda boxes: same_in(before, shown.luma, boxes)):
        return _Seen("same"), replace(state, pace=pace)
    if not pace.may_read:
        return _Seen("skipped"), WatchState(None, (), pace)  # what came is not known, so nothing can be like it
    lines = eyes().read(frame.rgb())
    outcome = "read" if lines else "no_text"
    # What gave nothing gives nothing again as long as it stands: its places are as known as those of lines.
    known = (*(line.box for line in lines), *found)
    return _Seen(outcome, lines, found), WatchState(shown.luma, known, pace.read())


def _short_side(frame: Frame, long_side: int) -> int:
    """The short side that gives a picture this long side; never larger than it is."""
    longer, shorter = max(frame.width, frame.height), min(frame.width, frame.height)
    return max(1, round(shorter * min(1.0, long_side / longer)))


def _merged(readings: Sequence[Reading]) -> Iterator[Reading]:
    """Neighbours that were not looked at, or that still show the same, as one."""
    held: Reading | None = None
    for reading in readings:
        if held is not None and reading.outcome == held.outcome and reading.time_ms == held.time_ms == -1:
            held = replace(held, span=Span(held.span.start_ms, reading.span.end_ms))
            continue
        if held is not None:
            yield held
        held = reading
    if held is not None:
        yield held
