"""Which picture every frame of a film shows: one seen before, or a new one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.redundancy.growing import GrowingRows
from fdvs.redundancy.layout import SIZE, SKETCH, Layouts, is_telling, similarities, sketch_radius, sketches
from fdvs.redundancy.near import SLACK, GrowingNear, Near, Points, Rows

# Both bound the memory, not the result.
BLOCK_FRAMES = 256
BLOCK_PAIRS = 512
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


class Pictures:
    """The pictures of a film so far: each is known by the layout of its first showing.

    A frame shows the most similar of the pictures before it (of equals the earliest), or a new one. Frames are
    compared with first showings only. So two frames of one picture may differ by more than the threshold allows, but
    neither differs so from what the picture first was.
    """

    def __init__(self, threshold: float, *, search: Near | None = None) -> None:
        """Args:
        threshold: the least similarity to a picture's first showing.
        search: an empty search of radius `sketch_radius(threshold)`; default: by the number of pictures.
        """
        self._threshold = threshold
        self._firsts = GrowingRows(SIZE, np.uint8)
        self._search = search or GrowingNear(SKETCH, sketch_radius(threshold))

    def show(self, layouts: Layouts) -> Shown:
        """What the next frames show: `[N, 288]`, later than all before and in time order.

        However the frames of a film are cut into calls, they show the same; what is not a first showing is forgotten.
        """
        shown = Shown(np.full(len(layouts), NO_PICTURE, np.int64), np.zeros(len(layouts)))
        for start in range(0, len(layouts), BLOCK_FRAMES):
            rows = start + np.flatnonzero(is_telling(layouts[start : start + BLOCK_FRAMES]))
            if len(rows):
                seen = self._show_telling(layouts[rows])
                shown.picture[rows], shown.similarity[rows] = seen.picture, seen.similarity
        return shown

    def _show_telling(self, block: Layouts) -> Shown:
        points = sketches(block)
        seen = _most_similar(block, self._firsts.rows, *self._search.pairs(points))
        new = _new_pictures(block, points, seen, self._threshold, len(self._firsts))
        self._firsts.add(block[new])
        self._search.add(points[new])
        return seen


def pictures_of(layouts: Layouts, threshold: float) -> Shown:
    """What all frames of a film show; `[N, 288]` in time order."""
    return Pictures(threshold).show(layouts)


def compare(one: Layouts, other: Layouts, rows: Rows, positions: Rows) -> NDArray[np.float64]:
    """Similarities of the pairs (one[rows[i]], other[positions[i]]), some at a time."""
    parts = [
        similarities(one[rows[at : at + BLOCK_PAIRS]], other[positions[at : at + BLOCK_PAIRS]])
        for at in range(0, len(rows), BLOCK_PAIRS)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _most_similar(block: Layouts, firsts: Layouts, rows: Rows, pictures: Rows) -> Shown:
    """For every frame of a block the most similar known picture; no picture where none is near."""
    picture, alike = np.full(len(block), NO_PICTURE), np.zeros(len(block))
    found = compare(block, firsts, rows, pictures)
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
