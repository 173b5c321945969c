"""What is told as one: a visit between two showings of a picture that often comes back, and a film's end credits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fdvs.records import PageKind
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.returns import Returns
from fdvs.stories.standing import Shown, subject_changes

_VISIT_MS = 60_000  # what lasts longer between two showings is cut like any other film
_LATE = 0.75  # credits begin after this share of the film
_BETWEEN_MS = 30_000  # text that follows so soon belongs to the credits, too


def subjects(clips: Sequence[ClipEvidence], pages: Sequence[Shown], returns: Returns) -> NDArray[np.float64] | None:
    """[n] For the border before each clip: 1 where what is told as one begins or ends, 0 inside of it, NaN elsewhere;
    None where nothing is."""
    found = subject_changes(pages, len(clips))
    visits, ending = visits_of(clips, returns), credits_of(clips, pages)
    if found is None and not visits and ending is None:
        return None
    changes = np.full(len(clips), np.nan) if found is None else found
    for visit in visits:
        inner = changes[visit.start + 1 : visit.stop]
        inner[np.isnan(inner)] = 0.0
    if ending is not None:
        changes[ending.start + 1 : ending.stop] = 0.0
        changes[[at for at in (ending.start, ending.stop) if at < len(clips)]] = 1.0
    return changes


def visits_of(clips: Sequence[ClipEvidence], returns: Returns) -> list[range]:
    """The clips from where the video leaves a picture that often comes back to where it leaves it again."""
    borders = [0, *sorted(returns.departures), len(clips)]
    visits = [range(a, b) for a, b in pairwise(borders)] if returns.departures else []
    return [one for one in visits if clips[one[-1]].clip.span.end_ms - clips[one[0]].clip.span.start_ms <= _VISIT_MS]


def credits_of(clips: Sequence[ClipEvidence], pages: Sequence[Shown]) -> range | None:
    """The clips over which a film's credits go: late in it, text after text, some of which scrolls."""
    duration_ms = clips[-1].clip.span.end_ms
    runs: list[list[Shown]] = []
    for shown in pages:
        if shown.page.span.start_ms < _LATE * duration_ms or shown.page.kind is PageKind.OVERLAY:
            continue
        if runs and shown.page.span.start_ms - max(one.page.span.end_ms for one in runs[-1]) <= _BETWEEN_MS:
            runs[-1].append(shown)
        else:
            runs.append([shown])
    for run in runs:
        if any(shown.page.kind is PageKind.SCROLL for shown in run):
            return range(run[0].clip, max(shown.stop for shown in run))
    return None


def without_scraps(clips: Sequence[ClipEvidence], pages: Sequence[Shown]) -> list[Shown]:
    """The pages that are told: what is read in credits once they scroll is more of what scrolls."""
    ending = credits_of(clips, pages)
    if ending is None:
        return list(pages)
    first = min(s.page.span.start_ms for s in pages if s.clip in ending and s.page.kind is PageKind.SCROLL)
    last = max(s.page.span.end_ms for s in pages if s.clip in ending and s.page.kind is PageKind.SCROLL)
    return [
        shown for shown in pages if shown.page.kind is not PageKind.PAGE or not first <= shown.page.span.start_ms < last
    ]
