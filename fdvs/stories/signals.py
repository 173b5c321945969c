"""How strongly two neighbouring clips (or scenes, or chapters) differ: the evidence that borders are chosen from.

Every strength is an integer in thousandths (0..1000), rounded once, before any decision: the same borders come out on
machines whose last float bits differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.records import Span

_PAUSE_MS = 4000  # a silence this long counts in full
# Dissimilarity that counts in full when a video has nothing stronger: noise is not blown up to look like cuts.
_PICTURE_FLOOR = 0.10
_TEXT_FLOOR = 0.50
_FACTS_FLOOR = 0.40
_WEIGHTS = {"seen": 0.6, "text": 0.3, "subject": 0.6, "pause": 0.2}
_NEAR_MS, _NEAR_CLIPS = 12_000, 8  # how far either side of a border is searched for a picture that comes back
_NOTHING_ALIKE = 0.5  # cosine; shots of one place and action measure more on real films, another place less
_ADJACENT_SHARE = 0.4  # the rest is the contextual comparison of a few items on either side
_BLOCK = 256  # items compared at once: bounds the memory, not the result


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known of n consecutive items.

    Attributes:
        edges_ms: [n + 1] ascending borders; item i is [edges_ms[i], edges_ms[i + 1]).
        picture, text: [n, D] unit rows; a row of zeros where an item has none; None where no item has any.
        speech: spans of speech of the whole video, by start.
        facts: [n] how much item i differs from item i - 1 in what was measured, 0..1; NaN where one has no facts.
        subject: [n] 1 where item i begins or follows what is told as one (a slide, credits), 0 where that goes on; NaN
            elsewhere.
        departs: [n] whether item i leaves a picture to which the video often comes back.
    """

    edges_ms: NDArray[np.int64]
    picture: NDArray[np.float32] | None
    text: NDArray[np.float32] | None
    speech: tuple[Span, ...] = ()
    facts: NDArray[np.float64] | None = None
    subject: NDArray[np.float64] | None = None
    departs: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.edges_ms) - 1

    def merged(self, groups: Sequence[range]) -> Signals:
        """The same signals one level up: each group of consecutive items becomes one item (mean by duration)."""
        starts = np.array([group.start for group in groups], dtype=np.int64)
        edges = np.append(self.edges_ms[starts], self.edges_ms[-1])
        lengths = np.diff(self.edges_ms).astype(np.float32)
        return Signals(
            edges,
            _merge(self.picture, lengths, starts),
            _merge(self.text, lengths, starts),
            self.speech,
            None if self.facts is None else self.facts[starts],
            None if self.subject is None else self.subject[starts],
            None if self.departs is None else self.departs[starts],
        )


def boundary_strengths(signals: Signals, window: int) -> NDArray[np.int64]:
    """Strength in thousandths of the border before each item ([n]; the first is 0: nothing is before it).

    Picture and text compare neighbours and the means of up to `window` items on either side, facts compare neighbours;
    of picture and facts the stronger one counts. Silence in speech adds to a border, running speech takes from it. A
    signal that one side lacks has no vote there.
    """
    n = len(signals)
    votes = np.zeros(n)
    weight = np.zeros(n)
    for name, values in _measured(signals, window).items():
        known = ~np.isnan(values)
        votes[known] += _WEIGHTS[name] * values[known]
        weight[known] += _WEIGHTS[name]
    strengths = np.divide(votes, weight, out=np.zeros(n), where=weight > 0)
    strengths[:1] = 0
    thousandths: NDArray[np.int64] = np.rint(1000 * np.clip(strengths, 0, 1)).astype(np.int64)
    return thousandths


def entirely_new(signals: Signals) -> NDArray[np.bool_]:
    """[n] Borders after which, for a while, nothing looks like anything seen shortly before them: no picture of the
    clips on one side comes near a picture on the other. Shot and reverse shot come back, so they are none."""
    n = len(signals)
    found = np.zeros(n, dtype=np.bool_)
    if signals.picture is None:
        return found
    edges = signals.edges_ms
    for border in range(1, n):
        at = edges[border]
        first = max(border - _NEAR_CLIPS, int(np.searchsorted(edges[1:], at - _NEAR_MS, side="right")))
        stop = min(border + _NEAR_CLIPS, int(np.searchsorted(edges[:-1], at + _NEAR_MS)))
        before, after = signals.picture[first:border], signals.picture[border:stop]
        known = before.any() and after.any()
        found[border] = known and round(float((before @ after.T).max()), 3) < _NOTHING_ALIKE
    return found


def certain_borders(signals: Signals) -> NDArray[np.bool_]:
    """[n] Borders that are borders however strong the others are: everything looks new, another subject is shown, or
    a picture is left that often comes back."""
    found = entirely_new(signals)
    if signals.subject is not None:
        found |= signals.subject == 1
    if signals.departs is not None:
        found |= signals.departs
    return found & ~goes_on(signals)


def goes_on(signals: Signals) -> NDArray[np.bool_]:
    """[n] Borders inside one slide, inside credits, inside one visit: nothing begins there."""
    if signals.subject is None:
        return np.zeros(len(signals), dtype=np.bool_)
    inside: NDArray[np.bool_] = signals.subject == 0
    return inside


def _measured(signals: Signals, window: int) -> dict[str, NDArray[np.float64]]:
    picture = _dissimilarity(signals.picture, window, _PICTURE_FLOOR)
    facts = None if signals.facts is None else _scaled(np.sqrt(signals.facts), _FACTS_FLOOR**0.5)
    seen = picture if facts is None else facts if picture is None else np.fmax(picture, facts)
    found = {
        "seen": seen,
        "text": _dissimilarity(signals.text, window, _TEXT_FLOOR),
        "subject": signals.subject,
        "pause": _pauses(signals),
    }
    return {name: values for name, values in found.items() if values is not None}


def _merge(
    rows: NDArray[np.float32] | None, lengths: NDArray[np.float32], starts: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    if rows is None:
        return None
    merged = np.empty((len(starts), rows.shape[1]), np.float32)
    stops = np.append(starts[1:], len(rows))
    first = 0
    while first < len(starts):
        last = max(first + 1, int(np.searchsorted(stops, starts[first] + _BLOCK, side="right")))
        part = slice(int(starts[first]), int(stops[last - 1]))
        weighted = rows[part] * lengths[part, None]
        sums = np.add.reduceat(weighted, starts[first:last] - starts[first], axis=0, dtype=np.float64)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        np.divide(sums, norms, out=sums, where=norms > 1e-12)
        merged[first:last] = np.where(norms > 1e-12, sums, 0)
        first = last
    return merged


def _dissimilarity(rows: NDArray[np.float32] | None, window: int, floor: float) -> NDArray[np.float64] | None:
    """√(1 - cosine) at each border, scaled so that the video's strong borders reach 1; NaN where a side has nothing.

    The root (half the chord between unit vectors, up to a factor) keeps small real changes, such as one white slide
    after another, apart from none without drowning them in the cuts of a film.
    """
    if rows is None or len(rows) < 2:
        return None
    adjacent, contextual = np.empty(len(rows) - 1), np.empty(len(rows) - 1)
    for start in range(0, len(adjacent), _BLOCK):
        stop = min(start + _BLOCK, len(adjacent))
        adjacent[start:stop] = 1 - _cosines(rows[start:stop], rows[start + 1 : stop + 1])
        contextual[start:stop] = 1 - _cosines(*_either_side(rows, start, stop, window))
    adjacent = np.where(np.isnan(adjacent), contextual, adjacent)
    both = _ADJACENT_SHARE * _root(adjacent) + (1 - _ADJACENT_SHARE) * _root(contextual)
    return _scaled(np.concatenate([[np.nan], both]), floor**0.5)


def _either_side(
    rows: NDArray[np.float32], start: int, stop: int, window: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sums of up to `window` rows before and after each of the borders [start, stop); border i follows item i."""
    left, right = rows[start:stop].copy(), rows[start + 1 : stop + 1].copy()
    for k in range(1, window):
        first = max(k - start, 0)  # borders before it have no k-th item on their left
        left[first:] += rows[start + first - k : max(stop - k, 0)]
        beyond = rows[start + 1 + k : stop + 1 + k]
        right[: len(beyond)] += beyond
    return left, right


def _root(values: NDArray[np.float64]) -> NDArray[np.float64]:
    roots: NDArray[np.float64] = np.sqrt(np.clip(values, 0, None))
    return roots


def _scaled(raw: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """Rounded to thousandths, then divided by the largest value (by `floor` where that is smaller)."""
    rounded = np.round(raw, 3)
    strongest = float(np.nanmax(rounded)) if (~np.isnan(rounded)).any() else 0.0
    scaled: NDArray[np.float64] = np.clip(rounded / max(floor, strongest), 0, 1)
    return scaled


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    norms = np.linalg.norm(a, axis=1).astype(np.float64) * np.linalg.norm(b, axis=1)
    dots = np.einsum("ij,ij->i", a, b).astype(np.float64)
    cosines: NDArray[np.float64] = np.divide(dots, norms, out=np.full(len(a), np.nan), where=norms > 1e-9)
    return cosines


def _pauses(signals: Signals) -> NDArray[np.float64] | None:
    """Length of the silence around each border, full at `_PAUSE_MS`, where speech is near; else no strength."""
    if not signals.speech:
        return None
    starts = np.array([span.start_ms for span in signals.speech])
    ends = np.maximum.accumulate([span.end_ms for span in signals.speech])
    edges = signals.edges_ms
    at = edges[:-1]
    index = np.searchsorted(starts, at, side="left")
    far = 10 * _PAUSE_MS
    before = np.where(index > 0, ends[np.maximum(index - 1, 0)], at - far)
    after = np.where(index < len(starts), starts[np.minimum(index, len(starts) - 1)], at + far)
    previous = np.concatenate([edges[:1], edges[:-2]])
    near = (before > previous) | (after < edges[1:])
    pause = np.clip((after - before) / _PAUSE_MS, 0, 1)
    return np.where(near, np.round(pause, 3), 0.0)


def mean_and_deviation(strengths: NDArray[np.int64]) -> tuple[float, float]:
    """Mean and standard deviation of integer strengths, from exact integer sums (no order of summation matters)."""
    values = [int(value) for value in strengths]
    if not values:
        return 0.0, 0.0
    n, total, squares = len(values), sum(values), sum(value * value for value in values)
    return total / n, math.sqrt(n * squares - total * total) / n
