"""Where text stands: over which clips each page is told, and whether it is what the video shows there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.captioners.wording import SMALL_BELOW, mean_change
from fdvs.records import PageKind, ShownPage
from fdvs.stories.evidence import ClipEvidence

_SLIDE_LINES = 3  # a page without a title is a slide from so many lines on
_SLIDE_MS = 5000  # a page that stands shorter is words in a picture: a film's title, a sign


@dataclass(frozen=True, slots=True)
class Shown:
    """One page where it is told.

    Attributes:
        clip: index of the clip it belongs to: that in which it starts, or the next one when most of it stands there.
        stop: index after the last clip that it stands over for the larger part.
        is_subject: whether it is what the video shows then (a slide, scrolling text), not words in a picture.
    """

    page: ShownPage
    clip: int
    stop: int
    is_subject: bool


def shown_pages(clips: Sequence[ClipEvidence]) -> list[Shown]:
    """All pages of a video by start, with the clips they stand over."""
    edges = [evidence.clip.span.start_ms for evidence in clips] + [clips[-1].clip.span.end_ms]
    found: list[Shown] = []
    for i, evidence in enumerate(clips):
        for page in evidence.pages:
            clip = min(_nearest(edges, page.span.start_ms, i), len(clips) - 1)
            if edges[clip] >= page.span.end_ms:
                clip = i
            stop = max(clip + 1, _nearest(edges, page.span.end_ms, i))
            found.append(Shown(page, clip, stop, _is_subject(page, clips[clip:stop])))
    return found


def _nearest(edges: Sequence[int], time_ms: int, first: int) -> int:
    """Index of the border nearest to a time, not before border `first`."""
    at = first
    while at + 1 < len(edges) and abs(edges[at + 1] - time_ms) <= abs(edges[at] - time_ms):
        at += 1
    return at


def _is_subject(page: ShownPage, over: Sequence[ClipEvidence]) -> bool:
    if page.kind is not PageKind.PAGE:
        return page.kind is PageKind.SCROLL
    if page.span.duration_ms < _SLIDE_MS:
        return False
    num_lines = sum(len(step.lines) for step in page.steps)
    quiet = [e.facts is None or mean_change(e.facts) < SMALL_BELOW for e in over]
    return (bool(page.title) or num_lines >= _SLIDE_LINES) and 2 * sum(quiet) >= len(quiet)


def subject_changes(pages: Sequence[Shown], num_clips: int) -> NDArray[np.float64] | None:
    """[n] For the border before each clip: 1 where a slide or scrolling text begins or ends, 0 while one stands, NaN
    where there is none; None where the video has no page that is its subject."""
    changes = np.full(num_clips, np.nan)
    subjects = [shown for shown in pages if shown.is_subject]
    for shown in subjects:
        changes[shown.clip + 1 : shown.stop] = 0.0
    for shown in subjects:
        changes[shown.clip] = 1.0
        if shown.stop < num_clips:
            changes[shown.stop] = 1.0
    return changes if subjects else None


def standing(pages: Sequence[Shown], clips: range) -> Shown | None:
    """The slide or scrolling text that stands over all of these clips."""
    return next((p for p in pages if p.is_subject and p.clip <= clips.start and p.stop >= clips.stop), None)
