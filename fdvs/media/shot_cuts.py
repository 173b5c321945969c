"""Shot cuts: what the signs that were spotted in a film mean together, and where clips may begin.

A hard cut is the first picture of the new shot. Two shots that are joined by black have one cut, with the stretch of
black; one that dissolves into the next is cut in the middle of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from fdvs.media.index import PacketIndex
from fdvs.media.signs import Signs
from fdvs.media.spotting import RETURN_MS

# Samples of one dissolve may lie so far apart, and it reaches so far beyond them: at its ends too little is mixed to be
# told, the longer the slower it is.
_GAP_MS = 350
_BEYOND_MS = 400
_BEYOND_TO_BLACK_MS = 900


@dataclass(frozen=True, slots=True, order=True)
class ShotCut:
    """The shot that begins at `pts`, and the black in front of it, which begins at `black_pts`; equal without any.

    Black that lasts until the end of the film ends at the film's `end_pts`, where no shot begins.
    """

    black_pts: int
    pts: int


def cuts_from(index: PacketIndex, found: Iterable[Signs]) -> tuple[ShotCut, ...]:
    """The cuts that the signs of all portions, in order, mean together.

    Black is between two shots, whatever else happens in it; pictures that mix without becoming black are a dissolve,
    cut at the middle one; of cuts that follow within a quarter of a second the first counts.
    """
    signs = list(found)
    blacks = list(_blacks(index, [turn for one in signs for turn in one.darkness]))
    hard = [pts for one in signs for pts in one.cuts]
    mixed = list(_dissolves(index, [pts for one in signs for pts in one.mixtures], blacks, hard))
    plain = [ShotCut(pts, pts) for pts in (*hard, *mixed) if not any(b.black_pts <= pts <= b.pts for b in blacks)]
    kept: list[ShotCut] = []
    for cut in sorted([*plain, *blacks]):
        if cut.pts <= index.start_pts:
            continue
        if not kept or index.ms(cut.black_pts) - index.ms(kept[-1].pts) > RETURN_MS:
            kept.append(cut)
        elif cut.pts > cut.black_pts:  # what is seen for a moment in front of black goes with it
            kept[-1] = ShotCut(kept[-1].black_pts, cut.pts)
    return tuple(kept)


def _blacks(index: PacketIndex, darkness: list[tuple[int, bool]]) -> Iterator[ShotCut]:
    begin: int | None = None
    for pts, black in darkness:
        if black and begin is None:
            begin = pts
        elif not black and begin is not None:
            yield ShotCut(begin, pts)
            begin = None
    if begin is not None and begin > index.start_pts:
        yield ShotCut(begin, index.end_pts)


def _dissolves(index: PacketIndex, mixtures: list[int], blacks: list[ShotCut], hard: list[int]) -> Iterator[int]:
    """Middle picture of each run of mixtures that neither black nor a hard cut explains."""
    runs: list[list[int]] = []
    for pts in mixtures:
        if runs and index.ms(pts) - index.ms(runs[-1][-1]) <= _GAP_MS:
            runs[-1].append(pts)
        else:
            runs.append([pts])
    for run in runs:
        first, last = index.ms(run[0]), index.ms(run[-1])
        near = _BEYOND_TO_BLACK_MS
        dark = any(index.ms(b.black_pts) - near <= last and index.ms(b.pts) + near >= first for b in blacks)
        if not dark and not any(first - _BEYOND_MS <= index.ms(pts) <= last + _BEYOND_MS for pts in hard):
            yield run[len(run) // 2]


def borders(index: PacketIndex, cuts: Iterable[ShotCut], black_join_s: float) -> list[int]:
    """Display times at which clips may begin, in order, the film's start first.

    Black shorter than `black_join_s` belongs to the shot that follows, or at the end of the film to the one before;
    longer black stands alone.
    """
    times = {index.start_pts}
    for cut in cuts:
        joins = cut.pts - cut.black_pts < index.ticks(black_join_s)
        times |= ({cut.black_pts} if cut.pts < index.end_pts else set()) if joins else {cut.black_pts, cut.pts}
    # A picture's own time may be unknown to the index where a container only guesses times.
    shown = index.display_pts
    places = {int(np.searchsorted(shown, pts)) for pts in times}
    return [int(shown[place]) for place in sorted(places) if place < len(shown)]
