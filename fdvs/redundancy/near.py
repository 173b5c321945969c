"""Which points lie near which: a search within a radius, by NumPy or FAISS, that finds the same either way.

Both may return a few pairs that lie a hair beyond the radius, never one too few; whoever asks compares what was found.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]  # [N, D]
Rows = NDArray[np.int64]

SLACK = 1e-4  # on squared distances of points of length 1, far above what float32 loses
BLOCK = 8192  # points that are compared at once: bounds the memory, not the result
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
        self._points = np.empty((0, dimension), np.float32)
        self._count = 0

    def add(self, points: Points) -> None:
        needed = self._count + len(points)
        if needed > len(self._points):
            grown = np.empty((max(needed, 2 * len(self._points), 1024), self._points.shape[1]), np.float32)
            grown[: self._count] = self._points[: self._count]
            self._points = grown
        self._points[self._count : needed] = points
        self._count = needed

    def pairs(self, queries: Points) -> tuple[Rows, Rows]:
        found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        squares = np.sum(queries * queries, axis=1)
        for start in range(0, self._count, BLOCK):
            points = self._points[start : min(start + BLOCK, self._count)]
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


def near(dimension: int, radius: float, *, expected: int) -> Near:
    """A search among about `expected` points: FAISS where it is installed and pays, NumPy otherwise."""
    if expected >= FAISS_PAYS_FROM and importlib.util.find_spec("faiss") is not None:
        return FaissNear(dimension, radius)
    return NumpyNear(dimension, radius)
