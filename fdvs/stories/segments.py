"""Where scenes, chapters and parts begin.

Scenes are cut at peaks of boundary strength, chapters the same way on scenes; what is then still too long or has too
many children is split at its strongest inner border. Decisions use integers only (see `signals`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fdvs.records import Level
from fdvs.settings import StorySettings
from fdvs.stories.signals import Signals, boundary_strengths, certain_borders, goes_on, mean_and_deviation

_WINDOWS = {Level.SCENE: 3, Level.CHAPTER: 2, Level.PART: 2}  # items compared on either side of a border
# Standard deviations above the mean that make a peak; borders of scenes have passed that once, so the mean will do.
_DEVIATIONS = {Level.SCENE: 1.0, Level.CHAPTER: 0.0}
_MIN_SCENE_MS = 5000
_MIN_CHAPTER_MS = 20_000  # more in longer films: a twelfth, up to a quarter of the longest chapter allowed
_MIN_STRENGTH = 250  # thousandths: below this nothing is called a change, however quiet the rest is
_UNBOUNDED_MS = 1 << 62


@dataclass(frozen=True, slots=True)
class Bounds:
    """What groups of one level must keep to. A single item longer than `max_ms` stays whole."""

    max_children: int
    max_ms: int = _UNBOUNDED_MS
    min_ms: int = 0
    max_peaks: int = 1 << 31


@dataclass(frozen=True, slots=True)
class Layer:
    """The nodes of one level as ranges of the level below, in time order."""

    level: Level
    groups: tuple[range, ...]


def plan_layers(signals: Signals, settings: StorySettings) -> list[Layer]:
    """The levels above the clips, from the lowest up; the last has the one video node.

    `PART` is there exactly when chapters exceed the fan-out; parts that exceed it themselves stand in parts again.
    """
    if settings.levels == "paper":
        layers = [Layer(Level.CHAPTER, tuple(range(i, i + 1) for i in range(len(signals))))]
        chapters = signals
    else:
        layers, chapters = _scenes_and_chapters(signals, settings)
    above = Bounds(settings.max_children)
    while len(layers[-1].groups) > settings.max_children:
        parts = _split_only(chapters, Level.PART, above)
        layers.append(Layer(Level.PART, tuple(parts)))
        chapters = chapters.merged(parts)
    layers.append(Layer(Level.VIDEO, (range(len(layers[-1].groups)),)))
    return layers


def _scenes_and_chapters(signals: Signals, settings: StorySettings) -> tuple[list[Layer], Signals]:
    """Scenes and chapters; in very long films longer ones, so that the parts above fit under one video node."""
    duration_ms = int(signals.edges_ms[-1])
    max_ms = max(1, round(1000 * settings.max_chapter_s))
    while True:
        scenes = _peaks_then_splits(
            signals,
            Level.SCENE,
            settings.scene_sensitivity,
            Bounds(settings.max_children, max_ms, _MIN_SCENE_MS),
            certain=certain_borders(signals),
        )
        of_scenes = signals.merged(scenes)
        bounds = Bounds(
            settings.max_children,
            max_ms,
            min_ms=min(max_ms // 4, max(duration_ms // 12, _MIN_CHAPTER_MS)),
            max_peaks=max(settings.max_children - 1, duration_ms // max_ms),
        )
        chapters = _peaks_then_splits(of_scenes, Level.CHAPTER, settings.scene_sensitivity, bounds)
        of_chapters = of_scenes.merged(chapters)
        num_parts = len(_split_only(of_chapters, Level.PART, Bounds(settings.max_children)))
        if num_parts <= settings.max_children or max_ms >= duration_ms:
            return [Layer(Level.SCENE, tuple(scenes)), Layer(Level.CHAPTER, tuple(chapters))], of_chapters
        max_ms = max_ms * 3 // 2 + 1


def _peaks_then_splits(
    signals: Signals, level: Level, sensitivity: float, bounds: Bounds, certain: NDArray[np.bool_] | None = None
) -> list[range]:
    # What one slide or scrolling text holds together is cut by a limit only, and there like any other: at strength 0.
    strengths = np.where(goes_on(signals), 0, boundary_strengths(signals, _WINDOWS[level]))
    cuts = find_peaks(strengths, signals.edges_ms, bounds, sensitivity, deviations=_DEVIATIONS[level], certain=certain)
    return split(strengths, signals.edges_ms, cuts, bounds)


def _split_only(signals: Signals, level: Level, bounds: Bounds) -> list[range]:
    strengths = np.where(goes_on(signals), 0, boundary_strengths(signals, _WINDOWS[level]))
    return split(strengths, signals.edges_ms, [], bounds)


def find_peaks(
    strengths: NDArray[np.int64],
    edges_ms: NDArray[np.int64],
    bounds: Bounds,
    sensitivity: float,
    *,
    deviations: float = 1.0,
    certain: NDArray[np.bool_] | None = None,
) -> list[int]:
    """Indices of items that begin something new, ascending.

    A peak is a local maximum of at least mean + `deviations` · standard deviation / `sensitivity` (so a higher
    sensitivity finds more, 0 finds none) and at least `_MIN_STRENGTH`; where `certain` is set, a border
    is a peak whatever the others are, for in a film of few, all different shots none stands out. Stronger peaks win
    over weaker ones nearer than `bounds.min_ms`, earlier over later ones of equal strength; nothing begins
    within `min_ms` of either end.
    """
    if sensitivity <= 0 or len(strengths) < 2:
        return []
    mean, deviation = mean_and_deviation(strengths[1:])
    threshold = max(round(mean + deviations * deviation / sensitivity), _MIN_STRENGTH)
    inner = strengths[1:]
    before = np.concatenate([[-1], inner[:-1]])
    after = np.concatenate([inner[1:], [-1]])
    is_peak = (inner >= threshold) & (inner > before) & (inner >= after)
    if certain is not None:
        is_peak |= certain[1:]
    candidates = np.flatnonzero(is_peak) + 1
    order = candidates[np.lexsort((candidates, -strengths[candidates]))]
    return _apart((int(i) for i in order), edges_ms, bounds)


def _apart(ranked: Iterable[int], edges_ms: NDArray[np.int64], bounds: Bounds) -> list[int]:
    """The best-ranked indices that are at least `min_ms` from each other and from both ends."""
    first, last = int(edges_ms[0]), int(edges_ms[-1])
    min_ms = max(bounds.min_ms, 1)
    taken: dict[int, list[int]] = {}  # cells of min_ms, so that only neighbouring cells need a look
    chosen: list[int] = []
    for index in ranked:
        at = int(edges_ms[index])
        cell = at // min_ms
        near = (time for c in (cell - 1, cell, cell + 1) for time in taken.get(c, ()))
        if at - first < bounds.min_ms or last - at < bounds.min_ms or any(abs(t - at) < bounds.min_ms for t in near):
            continue
        taken.setdefault(cell, []).append(at)
        chosen.append(index)
        if len(chosen) >= bounds.max_peaks:
            break
    return sorted(chosen)


def split(
    strengths: NDArray[np.int64], edges_ms: NDArray[np.int64], cuts: Sequence[int], bounds: Bounds
) -> list[range]:
    """Groups of consecutive items: cut at `cuts`, then every group that breaks `bounds` at its strongest inner border
    (ties: nearest its middle in time, then the earlier), again and again.

    The border is taken from the middle half of the group, so that no split peels off a sliver and the depth stays
    logarithmic.
    """
    borders = [0, *cuts, len(strengths)]
    todo = [range(a, b) for a, b in pairwise(borders) if a < b][::-1]
    groups: list[range] = []
    while todo:
        group = todo.pop()
        too_many = len(group) > bounds.max_children
        too_long = edges_ms[group.stop] - edges_ms[group.start] > bounds.max_ms
        if len(group) == 1 or not (too_many or too_long):
            groups.append(group)
            continue
        at = _strongest_inner(strengths, edges_ms, group, by_count=too_many)
        todo += [range(at, group.stop), range(group.start, at)]
    return groups


def _strongest_inner(strengths: NDArray[np.int64], edges_ms: NDArray[np.int64], group: range, *, by_count: bool) -> int:
    inner = np.arange(group.start + 1, group.stop)
    start_ms, end_ms = int(edges_ms[group.start]), int(edges_ms[group.stop])
    off_middle = np.abs(2 * edges_ms[inner] - start_ms - end_ms)
    if by_count:
        allowed = 2 * np.abs(2 * inner - group.start - group.stop) <= len(group)
    else:
        allowed = 2 * off_middle <= end_ms - start_ms
    if not allowed.any():
        allowed = off_middle == off_middle.min()
    kept = inner[allowed]
    return int(kept[np.lexsort((kept, off_middle[allowed], -strengths[kept]))[0]])
