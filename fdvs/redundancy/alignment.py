"""What two videos share: stretches that show the same pictures at one constant distance in time.

One picture in common proves little: a logo, a slide design, a static camera. A shared stretch is a chain of different
pictures in the same order with the same time between them. Two codings of one film are sampled at different instants,
so a chain may have gaps where things move; but where both were sampled at the same instant, most must agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fdvs.records import Span
from fdvs.redundancy.layout import SKETCH, Layouts, sketch_radius, sketches
from fdvs.redundancy.links import Alignment
from fdvs.redundancy.near import NumpyNear
from fdvs.redundancy.pictures import compare, pictures_of

LINK_SIMILARITY: Final = 0.8  # below that of repeats in one film: another codec, size or grading; the chain makes up
SAME_PICTURE: Final = 0.85
MIN_PICTURES = 3  # different ones, in each of the two videos
MAX_SHOWINGS = 8  # a picture that is shown more often than this tells no time
OFFSET_MS = 400  # how far distances in time may differ inside a chain: onsets are known to a sample only
SAME_INSTANT_MS = 60  # samples this close are pictures of one instant, whatever moves
NEAR_INSTANT_MS = 250
MAX_GAP_MS = 12_000  # between samples of a chain: a clip and a little
REACH_MS = 2000  # a chain reaches so far beyond its last pictures, to the end of the video or where both differ
WHOLE = 0.9  # share of a video that is the whole of it

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """The telling samples of one video in time order.

    Attributes:
        times_ms: `[N]`, ascending.
        layouts: `[N, 288]`.
        pictures: `[N]` number of the picture each sample shows.
    """

    video_id: str
    duration_ms: int
    times_ms: Times
    layouts: Layouts
    pictures: Times


def track_of(video_id: str, duration_ms: int, times_ms: Times, layouts: Layouts) -> Track:
    """The track of samples in time order; flat pictures and repeated times are left out."""
    shown = pictures_of(layouts, SAME_PICTURE)
    telling = (shown.picture >= 0) & (np.diff(times_ms, prepend=-1) > 0)
    return Track(video_id, duration_ms, times_ms[telling], layouts[telling], shown.picture[telling])


def align(one: Track, other: Track) -> list[Alignment]:
    """The stretches that two videos share, by time in `one`. `one` is the video with the smaller id.

    The rule is `reencoding` where both are (nearly) whole, `excerpt` where one is, `shared` otherwise.
    """
    votes = _votes(one, other)  # [V, 3]: offset, picture of one, picture of other
    found: list[Alignment] = []
    while len(votes):
        offset, inside = _best_offset(votes)
        if offset is None:
            break
        for alignment in _chains(one, other, offset):
            if not any(_overlaps(alignment, known) for known in found):
                found.append(alignment)
        votes = votes[~inside]
    return sorted(found)


def _votes(one: Track, other: Track) -> Times:
    """(offset in ms, picture of one, picture of other) for every pair of onsets of pictures that are alike."""
    onsets, others = _onsets(one.pictures), _onsets(other.pictures)
    firsts, other_firsts = _first_rows(one.pictures), _first_rows(other.pictures)
    search = NumpyNear(SKETCH, sketch_radius(LINK_SIMILARITY))
    search.add(sketches(other.layouts[other_firsts]))
    rows, positions = search.pairs(sketches(one.layouts[firsts]))
    alike = compare(one.layouts, other.layouts, firsts[rows], other_firsts[positions]) >= LINK_SIMILARITY
    votes = []
    for row, position in zip(firsts[rows[alike]], other_firsts[positions[alike]], strict=True):
        picture, other_picture = int(one.pictures[row]), int(other.pictures[position])
        here, there = onsets[picture], others[other_picture]
        if max(len(here), len(there)) <= MAX_SHOWINGS:
            votes += [(int(other.times_ms[j] - one.times_ms[i]), picture, other_picture) for i in here for j in there]
    return np.array(sorted(votes), np.int64).reshape(-1, 3)


def _first_rows(pictures: Times) -> Times:
    rows: Times = np.unique(pictures, return_index=True)[1].astype(np.int64)
    return rows


def _onsets(pictures: Times) -> dict[int, list[int]]:
    """{picture: rows at which it appears after another one}."""
    found: dict[int, list[int]] = {}
    for row in np.flatnonzero(np.diff(pictures, prepend=-1)).tolist():
        found.setdefault(int(pictures[row]), []).append(row)
    return found


def _best_offset(votes: Times) -> tuple[int | None, NDArray[np.bool_]]:
    """The offset that most pictures agree on (of equals the smallest), and the votes for it; None for too few."""
    ends = np.searchsorted(votes[:, 0], votes[:, 0] + 2 * OFFSET_MS, side="right")
    best, best_count = 0, 0
    for start in np.argsort(np.arange(len(votes)) - ends, kind="stable").tolist():
        if ends[start] - start <= best_count:
            break  # windows come by number of votes: none that follows holds more pictures
        count = _num_pictures(votes[start : ends[start]])
        if count > best_count or (count == best_count and start < best):
            best, best_count = start, count
    if best_count < MIN_PICTURES:
        return None, np.zeros(len(votes), np.bool_)
    inside = np.zeros(len(votes), np.bool_)
    inside[best : ends[best]] = True
    values, counts = np.unique(votes[inside, 0], return_counts=True)
    agreed = counts.max() > 1
    return int(values[counts.argmax()] if agreed else np.median(values)), inside


def _num_pictures(votes: Times) -> int:
    return min(len(set(votes[:, 1].tolist())), len(set(votes[:, 2].tolist())))


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Samples of one video beside the nearest sample of the other at one offset, in time order."""

    rows: Times
    other_rows: Times
    similarity: NDArray[np.float64]
    same_instant: NDArray[np.bool_]

    @property
    def agrees(self) -> NDArray[np.bool_]:
        return self.similarity >= LINK_SIMILARITY

    @property
    def differs(self) -> NDArray[np.bool_]:
        return self.same_instant & ~self.agrees


def _pairs(one: Track, other: Track, offset_ms: int) -> _Pairs:
    wanted = one.times_ms + offset_ms
    right = np.clip(np.searchsorted(other.times_ms, wanted), 1, max(1, len(other.times_ms) - 1))
    left = right - 1
    right = np.minimum(right, len(other.times_ms) - 1)
    nearer = np.abs(other.times_ms[left] - wanted) <= np.abs(other.times_ms[right] - wanted)
    beside = np.where(nearer, left, right)
    apart = np.abs(other.times_ms[beside] - wanted)
    rows = np.flatnonzero(apart <= NEAR_INSTANT_MS)
    similarity = compare(one.layouts, other.layouts, rows, beside[rows])
    return _Pairs(rows, beside[rows], similarity, apart[rows] <= SAME_INSTANT_MS)


def _chains(one: Track, other: Track, offset_ms: int) -> Iterator[Alignment]:
    pairs = _pairs(one, other, offset_ms)
    agreeing = np.flatnonzero(pairs.agrees)
    if not len(agreeing):
        return
    gaps = np.diff(one.times_ms[pairs.rows[agreeing]]) > MAX_GAP_MS
    for chain in np.split(agreeing, np.flatnonzero(gaps) + 1):
        inside = slice(int(chain[0]), int(chain[-1]) + 1)
        agree = int(np.sum(pairs.same_instant[inside] & pairs.agrees[inside]))
        rows, other_rows = pairs.rows[chain], pairs.other_rows[chain]
        pictures = min(len(set(one.pictures[rows].tolist())), len(set(other.pictures[other_rows].tolist())))
        if pictures >= MIN_PICTURES and agree >= int(np.sum(pairs.differs[inside])):
            yield _alignment(one, other, offset_ms, pairs, chain)


def _alignment(one: Track, other: Track, offset_ms: int, pairs: _Pairs, chain: Times) -> Alignment:
    times = one.times_ms[pairs.rows]
    different = times[pairs.differs]
    first, last = int(times[chain[0]]), int(times[chain[-1]])
    # A sample stands until the next one: the stretch begins with the first that agrees and ends where one differs.
    begins = bool(np.any((different < first) & (different >= first - REACH_MS)))
    earliest = first if begins else max(0, -offset_ms, first - REACH_MS)
    latest = min(
        [one.duration_ms, other.duration_ms - offset_ms, last + REACH_MS, *different[different > last].tolist()]
    )
    span = Span(earliest, max(latest, last + 1))
    other_span = Span(span.start_ms + offset_ms, span.end_ms + offset_ms)
    whole = span.duration_ms >= WHOLE * one.duration_ms, other_span.duration_ms >= WHOLE * other.duration_ms
    rule = "reencoding" if all(whole) else "excerpt" if any(whole) else "shared"
    similarity = round(float(pairs.similarity[chain].mean()), 3)
    return Alignment(one.video_id, span, other.video_id, other_span, similarity, rule)


def _overlaps(one: Alignment, other: Alignment) -> bool:
    """Whether two alignments tell of the same time in either video: the first found has more pictures behind it."""
    return _touch(one.span, other.span) or _touch(one.other_span, other.other_span)


def _touch(one: Span, other: Span) -> bool:
    return one.start_ms < other.end_ms and other.start_ms < one.end_ms
