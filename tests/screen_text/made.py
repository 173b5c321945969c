"""Readings made by hand: a film of equal clips and what stands on its screen in each stretch."""

from __future__ import annotations

from collections.abc import Sequence

from fdvs.records import Caption, Clip, ShownPage, Span
from fdvs.screen_text.pages import pages_of
from fdvs.screen_text.readings import Reading, ReadLine

CLIP_MS = 5000


def line(text: str, top: int, *, left: int = 100, score: float = 0.99, high: int = 50, wide: int = 0) -> ReadLine:
    return ReadLine(text, score, (left, top, left + (wide or 12 * len(text)), top + high))


def look(start_s: float, end_s: float, *lines: ReadLine) -> Reading:
    start, end = round(start_s * 1000), round(end_s * 1000)
    return Reading(Span(start, end), end - 1, lines, "read" if lines else "no_text")


def same(start_s: float, end_s: float) -> Reading:
    return Reading(Span(round(start_s * 1000), round(end_s * 1000)), -1, (), "same")


def skipped(start_s: float, end_s: float) -> Reading:
    return Reading(Span(round(start_s * 1000), round(end_s * 1000)), -1, (), "skipped")


def film(readings: Sequence[Reading]) -> list[tuple[Clip, tuple[Reading, ...]]]:
    """Clips of 5 s that together hold the readings; a reading belongs to the clip in which it starts."""
    end = max(reading.span.end_ms for reading in readings)
    clips = []
    for start in range(0, end, CLIP_MS):
        span = Span(start, min(start + CLIP_MS, end))
        clip = Clip(f"clip-{start // CLIP_MS}", "video", span, start, (start,))
        clips.append((clip, tuple(one for one in readings if span.contains(one.span.start_ms))))
    return clips


def pages(*readings: Reading) -> list[ShownPage]:
    by_clip, _ = pages_of(film(readings), "settings")
    return sorted((page for several in by_clip.values() for page in several), key=lambda page: page.span)


def captions(*readings: Reading) -> list[Caption]:
    _, by_clip = pages_of(film(readings), "settings")
    return sorted((one for several in by_clip.values() for one in several), key=lambda one: one.span)


def texts(page: ShownPage) -> list[str]:
    return [one.text for step in page.steps for one in step.lines]
