"""Looks cut into pages: a page lasts while most of what stood on it still stands."""

from __future__ import annotations

from collections.abc import Sequence

from fdvs.screen_text.looks import Look
from fdvs.screen_text.texts import essence
from fdvs.screen_text.tracks import Track, likeness, matched
from fdvs.screen_text.votes import Line, Sighting

# A page ends when more than this share of the letters that stood on it is gone.
GONE = 0.5
# The same text again after at most this long is the same page: a flash, a fade, a hand before the lens.
SAME_PAGE_S = 3.0
# Of the shorter page's letters this share must stand in the same place for two pages to be one.
SAME_PAGE_SHARE = 0.8
# A line that was missed is known again within this many looks; after that it is a new one.
REMEMBERED_LOOKS = 24

Tracks = list[Track]


def drafts_of(looks: Sequence[Look]) -> list[list[Line]]:
    """The believed lines of each page of a video, pages in time order; a page without any is left out."""
    pages: list[Tracks] = []
    for tracks in _cut(looks):
        if not _believed(tracks, looks):
            continue
        if pages and _continues(pages[-1], tracks, looks):
            pages[-1] = _joined(pages[-1], tracks)
        else:
            pages.append(tracks)
    return [lines for tracks in pages if (lines := _believed(tracks, looks))]


def _believed(tracks: Tracks, looks: Sequence[Look]) -> list[Line]:
    return [line for track in tracks if (line := track.line(looks)).believed]


def _cut(looks: Sequence[Look]) -> list[Tracks]:
    pages: list[Tracks] = []
    standing: Tracks = []
    for index, look in enumerate(looks):
        if not look.lines:
            standing = []
            continue
        known = [t for t in pages[-1] if t.last_index >= index - REMEMBERED_LOOKS] if standing else []
        found = matched(known, look.lines)
        if not standing or _share_gone(standing, {id(known[t]) for t in found.values()}) > GONE:
            pages.append([])
            found = {}
        standing = []
        for n, line in enumerate(look.lines):
            sighting = Sighting(index, look, line)
            if n in found:
                track = known[found[n]]
                track.sightings.append(sighting)
            else:
                track = Track(sighting)
                pages[-1].append(track)
            standing.append(track)
    return pages


def _share_gone(standing: Tracks, still: set[int]) -> float:
    letters = {id(track): len(essence(track.last.text)) for track in standing}
    gone = sum(num for key, num in letters.items() if key not in still)
    return round(gone / max(1, sum(letters.values())), 3)


def _continues(before: Tracks, after: Tracks, looks: Sequence[Look]) -> bool:
    """Whether a page is the one before it, interrupted for a moment."""
    old, new = _believed(before, looks), _believed(after, looks)
    if not old:
        return False
    gap_ms = min(line.span.start_ms for line in new) - max(line.span.end_ms for line in old)
    if gap_ms > SAME_PAGE_S * 1000:
        return False
    pairs = _same_lines(before, after)
    sizes = [sum(len(essence(line.text)) for line in lines) for lines in (old, new)]
    common = sum(len(essence(a.last.text)) for a, _ in pairs)
    return round(common / min(sizes), 3) >= SAME_PAGE_SHARE


def _same_lines(before: Tracks, after: Tracks) -> list[tuple[Track, Track]]:
    firsts = [track.sightings[0].line for track in after]
    return [
        (before[t], after[n]) for n, t in matched(before, firsts).items() if likeness(before[t].last, firsts[n]) >= 1
    ]


def _joined(before: Tracks, after: Tracks) -> Tracks:
    pairs = _same_lines(before, after)
    for a, b in pairs:
        a.sightings.extend(b.sightings)
    taken = {id(b) for _, b in pairs}
    return [*before, *(track for track in after if id(track) not in taken)]
