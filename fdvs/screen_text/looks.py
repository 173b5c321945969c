"""Readings as looks: what stood on the screen from when to when, each look read once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fdvs.records import Span
from fdvs.screen_text.boxes import alike, same_row, x_gap
from fdvs.screen_text.readings import Reading, ReadLine
from fdvs.screen_text.texts import essence, in_known_letters, is_enumerator, tidy

# Below this the reader itself takes the line for a guess.
LEAST_SCORE = 0.5
# A number or bullet belongs to the line beside it when the gap is at most this many line heights.
ENUMERATOR_GAP = 2.0
# Two lines of one look whose boxes agree this much are one.
SAME_BOX = 0.5


@dataclass(frozen=True, slots=True)
class Look:
    """One reading and all the time that it holds for.

    Attributes:
        span: the stretch that was read and the stretches after it that look the same.
        time_ms: the sample that was read.
        lines: from top to bottom, rubbish left out and numbering joined to its line.
        sure: whether the time between this look and the next was looked at too.
    """

    span: Span
    time_ms: int
    lines: tuple[ReadLine, ...]
    sure: bool = True

    @property
    def duration_s(self) -> float:
        return self.span.duration_ms / 1000


def looks_of(readings: Iterable[Reading]) -> list[Look]:
    """The looks of one video, in time order.

    A `same` stretch makes the look before it last longer, also over stretches that were not looked at: what stood
    before and after them stood through them.
    """
    looks: list[Look] = []
    for reading in readings:
        if reading.outcome in ("read", "no_text"):
            looks.append(Look(reading.span, reading.time_ms, cleaned(reading.lines)))
        elif looks and reading.outcome == "skipped":
            looks[-1] = replace(looks[-1], sure=False)
        elif looks:
            looks[-1] = replace(looks[-1], span=Span(looks[-1].span.start_ms, reading.span.end_ms), sure=True)
    return looks


def cleaned(lines: Sequence[ReadLine]) -> tuple[ReadLine, ...]:
    """Lines that may be text: white space tidied, numbering joined; scraps without two letters or digits and words in
    letters that the reader does not know left out."""
    sure = [line for line in lines if line.score >= LEAST_SCORE and in_known_letters(line.text)]
    kept = [replace(line, text=tidy(line.text)) for line in sure]
    return tuple(_once([line for line in _numbered(kept) if len(essence(line.text)) >= 2]))


def _once(lines: Sequence[ReadLine]) -> list[ReadLine]:
    """Lines without those that were found twice in one place; the surer reading stays."""
    kept: list[ReadLine] = []
    for line in sorted(lines, key=lambda line: (-line.score, line.box, line.text)):
        if not any(alike(line.box, other.box) >= SAME_BOX for other in kept):
            kept.append(line)
    return sorted(kept, key=lambda line: (line.box[1], line.box[0], line.text))


def _numbered(lines: Sequence[ReadLine]) -> list[ReadLine]:
    """Each number or bullet that was read apart, joined to the line right of it."""
    rest = [line for line in lines if not is_enumerator(line.text)]
    for mark in (line for line in lines if is_enumerator(line.text)):
        beside = [line for line in rest if same_row(mark.box, line.box) and line.box[0] > mark.box[0]]
        line = min(beside, key=lambda other: (other.box[0], other.text), default=None)
        height = mark.box[3] - mark.box[1]
        if line is None or x_gap(mark.box, line.box) > ENUMERATOR_GAP * height:
            continue
        box = (mark.box[0], min(mark.box[1], line.box[1]), line.box[2], max(mark.box[3], line.box[3]))
        rest[rest.index(line)] = replace(line, text=f"{mark.text} {line.text}", box=box)
    return rest
