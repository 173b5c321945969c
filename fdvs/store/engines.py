"""What a vector index searches with: NumPy or FAISS. FAISS is only imported where it is used."""

from __future__ import annotations

import importlib
import math
import os
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Engine(Protocol):
    """Positions and scores of the rows with the highest inner products."""

    @property
    def ending(self) -> str: ...

    def search(self, query: Floats, k: int, allowed: Mask | None) -> tuple[Floats, Positions]:
        """(scores, positions), both at most [k]; best first. Equal scores in any order."""

    def write(self, path: Path) -> None:
        """Save to a file of the ending `ending`."""


class NumpyEngine:
    """The plain meaning of the search: one matrix product."""

    ending = "npy"

    def __init__(self, matrix: Floats) -> None:
        self._matrix = matrix

    def search(self, query: Floats, k: int, allowed: Mask | None) -> tuple[Floats, Positions]:
        scores = self._matrix @ query
        if allowed is not None:
            scores[~allowed] = -np.inf
        best = np.argpartition(-scores, k - 1)[:k] if k < scores.size else np.arange(scores.size)
        return scores[best], best.astype(np.int64)

    def write(self, path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, self._matrix)


class FaissEngine:
    """Search in a FAISS index."""

    ending = "faiss"

    def __init__(self, index: Any) -> None:
        faiss: Any = importlib.import_module("faiss")
        self._faiss = faiss
        self._index = index

    @classmethod
    def over(cls, matrix: Floats, kind: str) -> Self:
        faiss: Any = importlib.import_module("faiss")
        faiss.omp_set_num_threads(num_threads())
        count, dimension = matrix.shape
        if kind == "faiss-flat":
            index: Any = faiss.IndexFlatIP(dimension)
        else:
            cells = num_cells(count)
            index = faiss.index_factory(dimension, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
            sample = np.linspace(0, count - 1, min(count, cells * 64)).astype(np.int64)  # the same on every machine
            index.train(matrix[sample])
        index.add(matrix)
        return cls(index)

    @classmethod
    def read(cls, path: Path) -> Self:
        faiss: Any = importlib.import_module("faiss")
        return cls(faiss.read_index(str(path)))

    def write(self, path: Path) -> None:
        self._faiss.write_index(self._index, str(path))

    def search(self, query: Floats, k: int, allowed: Mask | None) -> tuple[Floats, Positions]:
        self._faiss.omp_set_num_threads(1)  # one query is too small for more, and a build may need the other cores
        scores, positions = self._index.search(query[None, :], k, params=self._parameters(allowed))
        found = positions[0] >= 0  # a cell index may find fewer than asked for
        return scores[0][found], positions[0][found]

    def _parameters(self, allowed: Mask | None) -> Any:
        chosen = {}
        if allowed is not None:
            chosen["sel"] = self._faiss.IDSelectorBatch(np.flatnonzero(allowed).astype(np.int64))
        if isinstance(self._index, self._faiss.IndexIVF):
            probes = max(8, self._index.nlist // 8) if allowed is None else self._index.nlist
            return self._faiss.SearchParametersIVF(nprobe=probes, **chosen)
        return self._faiss.SearchParameters(**chosen) if chosen else None


def num_cells(count: int) -> int:
    """Cells of an inverted file over so many vectors: about the square root, at least 39 vectors each."""
    return max(1, min(math.isqrt(count), count // 39))


def num_threads() -> int:
    """Threads to build an index with: the machine's, at most 4."""
    if hasattr(os, "sched_getaffinity"):
        return min(4, len(os.sched_getaffinity(0)))
    return min(4, os.cpu_count() or 1)
