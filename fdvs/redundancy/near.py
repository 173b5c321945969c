"""Which points lie near which: a search within a radius, by NumPy or FAISS, that finds the same either way.

Both may return a few pairs that lie a hair beyond the radius, never one too few; whoever asks compares what was found.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fdvs.redundancy.growing import GrowingRows

Points = NDArray[np.float32]  # [N, D]
Rows = NDArray[np.int64]

SLACK = 1e-4  # on squared distances of points of length 1, far above what float32 loses
BLOCK = 2048  # points that are compared at once: bounds the memory, not the result
FAISS_PAYS_FROM = 20_000  # points; below, loading it costs more than it saves


class Near(Protocol):
    """Points that grow in number, and a search among them."""

    def add(self, points: Points) -> None: ...

    def pairs(self, queries: Points) -> tuple[Rows, Rows]:
        """(query, point) of every pair within the radius, by query; points are counted in the order they were added."""


class NumpyNear:
    """The plain meaning: all distances, block by block."""

    def __init__(self, dimension: int, radius: float) -> None:
        self._limit = radius * radius + SLACK
        self._points = GrowingRows(dimension, np.float32)

    @property
    def points(self) -> Points:
        """All of them, in the order they were added."""
        return self._points.rows

    def add(self, points: Points) -> None:
        self._points.add(points)

    def pairs(self, queries: Points) -> tuple[Rows, Rows]:
        found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        squares = np.sum(queries * queries, axis=1)
        for start in range(0, len(self._points), BLOCK):
            points = self.points[start : start + BLOCK]
            distances = queries @ points.T
            distances *= -2
            distances += squares[:, None]
            distances += np.sum(points * points, axis=1)
            rows, positions = np.nonzero(distances <= self._limit)
            found.append((rows, positions + start))
        rows, positions = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.lexsort((positions, rows))
        return rows[order], positions[order]


class FaissNear:
    """The same through FAISS."""

    def __init__(self, dimension: int, radius: float) -> None:
        self._faiss: Any = importlib.import_module("faiss")
        self._limit = radius * radius + SLACK
        self._index: Any = self._faiss.IndexFlatL2(dimension)

    def add(self, points: Points) -> None:
        self._index.add(np.ascontiguousarray(points))

    def pairs(self, queries: Points) -> tuple[Rows, Rows]:
        self._faiss.omp_set_num_threads(1)  # one process per video is at work already
        ends, _, positions = self._index.range_search(np.ascontiguousarray(queries), self._limit)
        rows = np.repeat(np.arange(len(queries), dtype=np.int64), np.diff(ends.astype(np.int64)))
        positions = positions.astype(np.int64)
        order = np.lexsort((positions, rows))
        return rows[order], positions[order]


class GrowingNear:
    """NumPy while points are few; FAISS, where it is installed, as soon as they are so many that loading it pays."""

    def __init__(self, dimension: int, radius: float) -> None:
        self._dimension, self._radius = dimension, radius
        self._few: NumpyNear | None = NumpyNear(dimension, radius)
        self._search: Near = self._few

    def add(self, points: Points) -> None:
        self._search.add(points)
        if self._few is not None and len(self._few.points) >= FAISS_PAYS_FROM and _has_faiss():
            self._search = FaissNear(self._dimension, self._radius)
            self._search.add(self._few.points)
            self._few = None

    def pairs(self, queries: Points) -> tuple[Rows, Rows]:
        return self._search.pairs(queries)


def _has_faiss() -> bool:
    return importlib.util.find_spec("faiss") is not None
