"""Text that scrolls: lines that move up or down together at a steady pace become one long page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from statistics import median

from fdvs.screen_text.boxes import height, middle
from fdvs.screen_text.looks import Look
from fdvs.screen_text.readings import ReadLine
from fdvs.screen_text.texts import essence, same_words

# Lines that moved: as long and as high as before, hardly moved sideways, read alike.
SIDEWAYS, AS_HIGH = 15, 0.7
# Shifts that differ by no more than this (in thousandths of the height) are one shift; smaller ones are standing still.
SHIFT_WITHIN, LEAST_SHIFT = 12, 15
# Share of the lines of the emptier look that must share the shift, and how many at least.
MOVING_SHARE, LEAST_MOVING = 0.5, 2
# The pace of a scroll stays within this factor, over at least so many shifts and for at least so many lines. Once it is
# known, one line that moved by what it foretells is enough, and so many looks that tell nothing may lie between.
PACE_WITHIN, LEAST_SHIFTS, LEAST_LINES, MOST_BLIND_LOOKS = 1.35, 2, 4, 3
# How long the text may be out of sight, or too small to be read, before the scroll is over.
MOST_BLIND_S = 30.0

_Move = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Scroll:
    """Looks of a video that show one text moving up, in time order.

    `offsets[i]` is how far the text of look `indexes[i]` has moved up since the first of them, in thousandths of the
    height: what is read at height y of that look stands at height y + offset of the whole text.
    """

    indexes: tuple[int, ...]
    offsets: tuple[int, ...]


def scrolls_of(looks: Sequence[Look]) -> list[Scroll]:
    """Texts that move up at one pace, in time order, without overlap."""
    runs: list[_Run] = []
    start = 0
    while start < len(looks):
        run = _run(looks, start)
        texts = {essence(line.text) for index, _ in run.places for line in looks[index].lines}
        if len(run.places) <= LEAST_SHIFTS or len(texts) < LEAST_LINES:
            start += 1
            continue
        start = run.places[-1][0] + 1
        run = _from_its_start(run, looks, runs[-1].places[-1][0] + 1 if runs else 0)
        if runs and _goes_on(runs[-1], run, looks):
            runs[-1] = _bridged(runs[-1], run, looks)
        else:
            runs.append(run)
    return [Scroll(tuple(index for index, _ in run.places), tuple(offset for _, offset in run.places)) for run in runs]


@dataclass(frozen=True, slots=True)
class _Run:
    """Looks with the offset of each, and the pace in thousandths of the height for each second."""

    places: tuple[tuple[int, int], ...]
    pace: float


def _run(looks: Sequence[Look], start: int) -> _Run:
    """For as long as the text of look `start` goes on moving up at one pace."""
    places = [(start, 0)]
    paces: list[float] = []
    while True:
        here, offset = places[-1]
        pace = median(paces) if paces else 0.0
        for there in range(here + 1, min(len(looks), here + 2 + (MOST_BLIND_LOOKS if paces else 0))):
            seconds = (looks[there].time_ms - looks[here].time_ms) / 1000
            if not 0 < seconds <= MOST_BLIND_S:
                break
            shift = _shift(looks[here], looks[there], pace * seconds if paces else None)
            if shift is None and paces and _moves_as_one(looks[here], looks[there]):
                break  # at another pace
            if shift is not None:
                paces.append(shift / seconds)
                places += _between(looks, places[-1], there, shift / seconds)
                places.append((there, offset + shift))
                break
        if places[-1][0] == here:
            return _Run(tuple(places), pace)


def _from_its_start(run: _Run, looks: Sequence[Look], earliest: int) -> _Run:
    """The run with the looks before it (none before look `earliest`) in which the first of its lines came in, too few
    to tell a scroll by."""
    places = list(run.places)
    while places[0][0] > earliest:
        first, offset = places[0]
        seconds = (looks[first].time_ms - looks[first - 1].time_ms) / 1000
        shift = _shift(looks[first - 1], looks[first], run.pace * seconds) if 0 < seconds <= MOST_BLIND_S else None
        if shift is None:
            break
        places.insert(0, (first - 1, offset - shift))
    return _Run(tuple(places), run.pace)


def _goes_on(before: _Run, after: _Run, looks: Sequence[Look]) -> bool:
    """Whether a scroll is the one before it, out of sight for a while."""
    last, first = before.places[-1][0], after.places[0][0]
    blind_ms = looks[first].time_ms - looks[last].time_ms
    if blind_ms > MOST_BLIND_S * 1000 or not 1 / PACE_WITHIN <= after.pace / before.pace <= PACE_WITHIN:
        return False
    return not any(_moves_as_one(a, b, most=LEAST_SHIFT) for a, b in pairwise(looks[last : first + 1]))


def _bridged(before: _Run, after: _Run, looks: Sequence[Look]) -> _Run:
    """One run of two; where it was out of sight the text moved on at its pace."""
    between = _between(looks, before.places[-1], after.places[0][0] + 1, before.pace)
    moved_on = between[-1][1]
    places = (*before.places, *between, *((index, moved_on + more) for index, more in after.places[1:]))
    return _Run(places, median((before.pace, after.pace)))


def _between(looks: Sequence[Look], last: tuple[int, int], until: int, pace: float) -> list[tuple[int, int]]:
    """The looks after the last place and before look `until`, with the offsets that the pace foretells."""
    index, offset = last
    return [
        (there, offset + round(pace * (looks[there].time_ms - looks[index].time_ms) / 1000))
        for there in range(index + 1, until)
    ]


def _shift(a: Look, b: Look, foretold: float | None) -> int | None:
    """How far the lines of look a moved up until look b; None where they did not move as one, or not as foretold."""
    if foretold is None:
        moves = _common([move for move in _moves(a, b) if move[0] >= LEAST_SHIFT])
        return _amount(moves) if _num_moving(moves) >= _enough(a, b) else None
    least, most = foretold / PACE_WITHIN, foretold * PACE_WITHIN
    moves = _common([move for move in _moves(a, b) if least <= move[0] <= most])
    return _amount(moves) if moves else None


def _moves_as_one(a: Look, b: Look, most: float = inf) -> bool:
    """Whether most lines can be read in both looks and moved alike, by less than `most`."""
    return _num_moving(_common([move for move in _moves(a, b) if move[0] < most])) >= _enough(a, b)


def _enough(a: Look, b: Look) -> float:
    return max(LEAST_MOVING, MOVING_SHARE * min(len(a.lines), len(b.lines)))


def _moves(a: Look, b: Look) -> list[_Move]:
    """Every way in which a line of b may be a line of a: how far up it moved, and which lines these are."""
    return [
        (round(middle(one.box) - middle(other.box)), i, j)
        for i, one in enumerate(a.lines)
        for j, other in enumerate(b.lines)
        if _moved(one, other)
    ]


def _common(moves: Sequence[_Move]) -> list[_Move]:
    """The moves by one amount that the most lines share."""
    groups = [[move for move in moves if 0 <= move[0] - first <= SHIFT_WITHIN] for first, _, _ in moves]
    return max(groups, key=_num_moving, default=[])


def _amount(moves: Sequence[_Move]) -> int:
    return round(median(move for move, _, _ in moves))


def _num_moving(moves: Sequence[_Move]) -> int:
    return min(len({i for _, i, _ in moves}), len({j for _, _, j in moves}))


def _moved(a: ReadLine, b: ReadLine) -> bool:
    sideways = min(abs(a.box[0] - b.box[0]), abs(a.box[0] + a.box[2] - b.box[0] - b.box[2]) / 2)
    low, high = sorted((height(a.box), height(b.box)))
    return sideways <= SIDEWAYS and low >= AS_HIGH * high and same_words(a.text, b.text)
