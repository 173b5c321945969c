"""Text that lies over the pages: logos, watermarks, running titles and the frame of a slide template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

from fdvs.screen_text.boxes import TOP_BAND, Box, alike, height, in_band, x_shared
from fdvs.screen_text.looks import Look
from fdvs.screen_text.readings import ReadLine
from fdvs.screen_text.sheets import same_text
from fdvs.screen_text.texts import essence, is_counter, pattern, same_words
from fdvs.screen_text.titles import title_of
from fdvs.screen_text.tracks import SAME_BOX, Track, likeness
from fdvs.screen_text.votes import Line, Sighting

# A page change: more than this share of the letters outside the bands at top and bottom is gone.
GONE = 0.5
# A line in the bottom band is no part of the page when it outlives one page; one at the top, where titles stand too,
# when it outlives two and is not larger than the text under it by more than this factor.
CHANGES_AT_BOTTOM, CHANGES_AT_TOP, TITLE_TALLER = 1, 2, 1.2
# Over pictures without other text it must be seen this often, over this share of the film.
LEAST_SIGHTINGS, FILM_SHARE = 3, 0.5
# Anywhere else, a line that is no heading and stands on this many different pages belongs to none of them.
LEAST_PAGES = 3
# A line that was read otherwise is looked for in so many looks; one that was read just so in the whole film.
REMEMBERED_LOOKS = 8
# Lines with less free height between them than this part of a line are one block.
BLOCK_GAP = 0.6


def without_overlays(looks: Sequence[Look]) -> tuple[list[Line], list[Look]]:
    """The lines in the bands at top and bottom that outlive pages, and the looks without them."""
    tracks = _band_tracks(looks)
    changes = _changes(looks)
    over = [track for track in tracks if _outlives(track, looks, changes)]
    taken: dict[int, set[ReadLine]] = {}
    for track in over:
        for sighting in track.sightings:
            taken.setdefault(sighting.look_index, set()).add(sighting.line)
    rest = [
        replace(look, lines=tuple(line for line in look.lines if line not in taken[index])) if index in taken else look
        for index, look in enumerate(looks)
    ]
    return [line for track in over if (line := track.line(looks)).believed], rest


def _band_tracks(looks: Sequence[Look]) -> list[Track]:
    """Lines in the bands, followed over the whole film by place and text."""
    tracks: list[Track] = []
    by_pattern: dict[str, list[Track]] = {}
    recent: list[Track] = []
    for index, look in enumerate(looks):
        recent = [track for track in recent if track.last_index >= index - REMEMBERED_LOOKS]
        for line in _in_bands(look.lines):
            sighting = Sighting(index, look, line)
            known = (*recent, *by_pattern.get(pattern(line.text), ()))
            track = next((track for track in known if track.last_index < index and _stays(track.last, line)), None)
            if track is None:
                track = Track(sighting)
                tracks.append(track)
                recent.append(track)
                by_pattern.setdefault(pattern(line.text), []).append(track)
            else:
                track.sightings.append(sighting)
                if track not in recent:
                    recent.append(track)
    return tracks


def _stays(a: ReadLine, b: ReadLine) -> bool:
    if alike(a.box, b.box) < SAME_BOX:
        return False
    return same_words(a.text, b.text) or (is_counter(a.text) and pattern(a.text) == pattern(b.text))


def _in_bands(lines: Sequence[ReadLine]) -> list[ReadLine]:
    """Lines of blocks that lie wholly in the bands: the end of a longer text belongs to that text."""
    blocks: list[list[ReadLine]] = []
    for line in lines:
        joined = [block for block in blocks if any(_adjoin(line.box, other.box) for other in block)]
        blocks = [block for block in blocks if block not in joined]
        blocks.append([line, *(other for block in joined for other in block)])
    apart = {line for block in blocks if all(in_band(line.box) for line in block) for line in block}
    return [line for line in lines if line in apart]


def _adjoin(a: Box, b: Box) -> bool:
    free = max(a[1], b[1]) - min(a[3], b[3])
    return x_shared(a, b) > 0 and free <= BLOCK_GAP * min(height(a), height(b))


def _centre(look: Look) -> list[ReadLine]:
    bands = set(_in_bands(look.lines))
    return [line for line in look.lines if line not in bands]


def _changes(looks: Sequence[Look]) -> list[int]:
    """`[N]`: how many page changes happened up to and with each look, judged by the lines outside the bands."""
    counts: list[int] = []
    standing: list[ReadLine] = []
    num = 0
    for look in looks:
        now = _centre(look)
        letters = sum(len(essence(line.text)) for line in standing)
        still = sum(len(essence(a.text)) for a in standing if any(likeness(a, b) >= 1 for b in now))
        if standing and look.lines and round(1 - still / letters, 3) > GONE:
            num += 1
        if look.lines:
            standing = now
        counts.append(num)
    return counts


def _outlives(track: Track, looks: Sequence[Look], changes: Sequence[int]) -> bool:
    indexes = [sighting.look_index for sighting in track.sightings]
    survived = sum(changes[b] > changes[a] for a, b in pairwise(indexes))
    if track.last.box[3] > TOP_BAND:
        enough = survived >= CHANGES_AT_BOTTOM
    else:
        under = [height(line.box) for i in indexes for line in _centre(looks[i])]
        small = not under or height(track.last.box) <= TITLE_TALLER * median(under)
        enough = survived >= CHANGES_AT_TOP and small
    return enough or _over_pictures(track, looks)


def _over_pictures(track: Track, looks: Sequence[Look]) -> bool:
    indexes = [sighting.look_index for sighting in track.sightings]
    alone = sum(not _centre(looks[i]) for i in indexes)
    film_ms = looks[-1].span.end_ms - looks[0].span.start_ms
    span_ms = looks[indexes[-1]].span.end_ms - looks[indexes[0]].span.start_ms
    return len(indexes) >= LEAST_SIGHTINGS and 2 * alone >= len(indexes) and span_ms >= FILM_SHARE * film_ms


def common_lines(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """Lines that stand in the same place on several different pages and are the heading of none: each with all its
    showings, in time order."""
    showings: dict[str, list[tuple[int, Line]]] = {}
    for index, page in enumerate(pages):
        for line in page:
            showings.setdefault(essence(line.text), []).append((index, line))
    found = []
    for several in showings.values():
        here = [(index, line) for index, line in several if alike(line.box, several[0][1].box) >= SAME_BOX]
        if len(here) < LEAST_PAGES or any(line.text in title_of(pages[index]) for index, line in here):
            continue
        if len(_different(pages[index] for index, _ in here)) >= LEAST_PAGES:
            found.append([line for _, line in here])
    return found


def _different(pages: Iterable[Sequence[Line]]) -> list[Sequence[Line]]:
    """The first `LEAST_PAGES` pages of which no two show the same text."""
    kept: list[Sequence[Line]] = []
    for page in pages:
        if len(kept) < LEAST_PAGES and not any(same_text(page, other) for other in kept):
            kept.append(page)
    return kept
