"""Which picture every frame of a film shows: one seen before, or a new one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.redundancy.layout import SKETCH, Layouts, is_telling, similarities, sketch_radius, sketches
from fdvs.redundancy.near import SLACK, Near, Points, Rows, near

BLOCK_FRAMES = 512
BLOCK_PAIRS = 4096
NO_PICTURE = -1


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What each of N frames shows.

    Attributes:
        picture: `[N]` number of the picture, counted from 0 in the order of first showing; -1 for a flat frame.
        similarity: `[N]` to the first showing; 1 for that itself, 0 for a flat frame.
    """

    picture: NDArray[np.int64]
    similarity: NDArray[np.float64]


def pictures_of(layouts: Layouts, threshold: float, *, search: Near | None = None) -> Shown:
    """Give every frame the most similar of the pictures before it (of equals the earliest), or make it a new one.

    Frames are compared with first showings only. So two frames of one picture may differ by more than the threshold
    allows, but neither differs so from what the picture first was.

    Args:
        layouts: `[N, 288]` in time order.
        threshold: the least similarity to a picture's first showing.
        search: an empty search of radius `sketch_radius(threshold)`; default: chosen by the number of frames.
    """
    shown = Shown(np.full(len(layouts), NO_PICTURE), np.zeros(len(layouts)))
    found = search or near(SKETCH, sketch_radius(threshold), expected=len(layouts))
    firsts = np.empty(0, np.int64)  # row of each picture's first showing
    for start in range(0, len(layouts), BLOCK_FRAMES):
        rows = start + np.flatnonzero(is_telling(layouts[start : start + BLOCK_FRAMES]))
        if not len(rows):
            continue
        block = layouts[rows]
        points = sketches(block)
        seen = _most_similar(block, layouts, firsts, *found.pairs(points))
        new = _new_pictures(block, points, seen, threshold, len(firsts))
        firsts = np.concatenate([firsts, rows[new]])
        found.add(points[new])
        shown.picture[rows], shown.similarity[rows] = seen.picture, seen.similarity
    return shown


def compare(one: Layouts, other: Layouts, rows: Rows, positions: Rows) -> NDArray[np.float64]:
    """Similarities of the pairs (one[rows[i]], other[positions[i]]), some at a time."""
    parts = [
        similarities(one[rows[at : at + BLOCK_PAIRS]], other[positions[at : at + BLOCK_PAIRS]])
        for at in range(0, len(rows), BLOCK_PAIRS)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _most_similar(block: Layouts, layouts: Layouts, firsts: Rows, rows: Rows, pictures: Rows) -> Shown:
    """For every frame of a block the most similar known picture; no picture where none is near."""
    picture, alike = np.full(len(block), NO_PICTURE), np.zeros(len(block))
    found = compare(block, layouts, rows, firsts[pictures])
    order = np.lexsort((pictures, -found, rows))
    best = order[np.unique(rows[order], return_index=True)[1]]
    picture[rows[best]], alike[rows[best]] = pictures[best], found[best]
    return Shown(picture, alike)


def _new_pictures(block: Layouts, points: Points, seen: Shown, threshold: float, num_known: int) -> list[int]:
    """The frames of a block that are new pictures; `seen` is brought up to date with them."""
    squares = np.sum(points * points, axis=1)
    unknown = np.flatnonzero(seen.similarity < threshold)
    distances = squares[unknown, None] + squares - 2 * points[unknown] @ points.T
    is_near = dict(zip(unknown.tolist(), distances <= sketch_radius(threshold) ** 2 + SLACK, strict=True))
    new: list[int] = []
    for i in is_near:
        if seen.similarity[i] >= threshold:  # it repeats one that was new in this block
            continue
        number = num_known + len(new)
        new.append(i)
        seen.picture[i], seen.similarity[i] = number, 1
        later = i + 1 + np.flatnonzero(is_near[i][i + 1 :])
        alike = compare(block, block, np.full(len(later), i), later)
        better = alike > seen.similarity[later]
        seen.picture[later[better]], seen.similarity[later[better]] = number, alike[better]
    return new
