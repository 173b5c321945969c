"""Nearest nodes to a query: an index derived from the vectors in the library.

Three kinds, reported by name, with the same results up to the rounding of `faiss-ivf-sq8`:

- `numpy-exact`: a matrix product; for few vectors, where importing FAISS takes longer than searching, and where FAISS
  is not installed;
- `faiss-flat`: exact;
- `faiss-ivf-sq8`: above `IVF_ABOVE` vectors, cells of 8-bit vectors; a candidate list, rescored by the caller.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from fdvs.errors import IndexMismatchError, ShapeError
from fdvs.store.derived import Derived, derived
from fdvs.store.engines import Engine, FaissEngine, Floats, Mask, NumpyEngine, Positions
from fdvs.store.library import Store

FLAT_ABOVE = 10_000  # below, NumPy answers in under 2 ms, and importing FAISS takes 50 ms
IVF_ABOVE = 200_000
_ROUND = 6  # decimals of a similarity that count; equal after rounding is a tie, which the node id breaks


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Mean and spread of the inner products of a query with all vectors, without touching them."""

    mean: Floats  # [D]
    moment: Floats  # [D, D], mean of v vᵀ

    def of(self, query: Floats) -> tuple[float, float]:
        """(mean, standard deviation) of query · v over all v."""
        mean = float(query @ self.mean)
        return mean, max(float(query @ self.moment @ query) - mean * mean, 0.0) ** 0.5


class VectorIndex:
    """Vectors of one text encoder, searchable.

    Attributes:
        kind: `numpy-exact`, `faiss-flat` or `faiss-ivf-sq8`.
        model, dimension: of the vectors.
        keys: [N] node keys, by node id.
        statistics: of all N vectors.
    """

    def __init__(self, kind: str, model: str, keys: Positions, engine: Engine, statistics: Statistics) -> None:
        self.kind = kind
        self.model = model
        self.keys = keys
        self.statistics = statistics
        self.dimension = statistics.mean.size
        self._engine = engine

    @classmethod
    def open(cls, store: Store, model: str, dimension: int, *, kind: str = "auto") -> Self:
        """The index over the library's vectors, from its file where that is up to date, else built and saved.

        Args:
            model, dimension: of the encoder that will encode the queries.
            kind: `auto` chooses by size; a kind's name insists on it.

        Raises:
            IndexMismatchError: the library has vectors of another model or dimension.
            ImportError: a FAISS kind was insisted on and FAISS is not installed.
        """
        with store.reading():
            count = check_model(store, model, dimension)
            chosen = choose_kind(count) if kind == "auto" else kind
            place = _place(store, model, dimension, count, chosen)
            loaded = None if place is None else _load(place, chosen)
            if loaded is None:
                keys, matrix = read_vectors(store, model, dimension, count)
        if loaded is not None:
            return cls(chosen, model, *loaded)
        return cls(chosen, model, *_build(place, chosen, keys, matrix))

    @property
    def count(self) -> int:
        return int(self.keys.size)

    def search(self, query: Floats, k: int, allowed: Mask | None = None) -> tuple[Positions, Floats]:
        """(keys, similarities) of the k nearest vectors, best first; equal ones (to 1e-6) by node id.

        Args:
            query: unit float32 [D].
            allowed: bool [N], True where a vector may be found; None for all.

        Raises:
            ShapeError: the query has another shape.
        """
        if query.shape != (self.dimension,):
            raise ShapeError(f"a query is one vector [{self.dimension}], got {query.shape}")
        available = self.count if allowed is None else int(allowed.sum())
        k = min(k, available)
        if k <= 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        asked = min(available, k + 16)
        while True:
            scores, positions = self._engine.search(query, asked, allowed)
            scores = np.round(scores, _ROUND)
            order = np.lexsort((positions, -scores))
            scores, positions = scores[order], positions[order]
            tied = scores.size > k and scores[k - 1] == scores[-1]
            if not tied or asked >= available:
                return self.keys[positions[:k]], scores[:k]
            asked = min(available, asked * 4)  # a tie runs past what was asked for: its lowest ids may be missing


def check_model(store: Store, model: str, dimension: int) -> int:
    """Number of vectors in the library, all of which must be of this encoder."""
    models = store.vector_models()
    others = {key: count for key, count in models.items() if key != (model, dimension)}
    if others:
        found = ", ".join(f"{count} by {name} [{size}]" for (name, size), count in sorted(others.items()))
        raise IndexMismatchError(
            f"the query is encoded by {model} [{dimension}], but the library has vectors {found}; "
            f"search with that encoder, or build those videos again with story.text_embedder={model}"
        )
    if not models:
        return 0
    return models[model, dimension]


def choose_kind(count: int) -> str:
    """The kind that suits so many vectors on this machine."""
    if count <= FLAT_ABOVE or importlib.util.find_spec("faiss") is None:
        return "numpy-exact"
    return "faiss-flat" if count <= IVF_ABOVE else "faiss-ivf-sq8"


def read_vectors(store: Store, model: str, dimension: int, count: int) -> tuple[Positions, Floats]:
    """(keys [N], vectors [N, D]) of the library, by node id."""
    keys = np.empty(count, np.int64)
    matrix = np.empty((count, dimension), "<f4")
    for row, (key, blob) in enumerate(store.all_vectors(model)):
        keys[row] = key
        matrix[row] = np.frombuffer(blob, "<f4")
    return keys, matrix.astype(np.float32, copy=False)


def _place(store: Store, model: str, dimension: int, count: int, kind: str) -> Derived | None:
    return derived(
        store.folder,
        "vectors",
        library=store.library_id,
        generation=store.generation,
        model=model,
        dimension=dimension,
        count=count,
        kind=kind,
    )


def _load(place: Derived, kind: str) -> tuple[Positions, Engine, Statistics] | None:
    found = place.load()
    if found is None:
        return None
    data, vectors = found[1]
    with np.load(data, allow_pickle=False) as arrays:
        keys, statistics = arrays["keys"], Statistics(arrays["mean"], arrays["moment"])
    if kind == "numpy-exact":
        return keys, NumpyEngine(np.load(vectors, allow_pickle=False)), statistics
    return keys, FaissEngine.read(vectors), statistics


def _build(place: Derived | None, kind: str, keys: Positions, matrix: Floats) -> tuple[Positions, Engine, Statistics]:
    statistics = measure(matrix)
    engine = NumpyEngine(matrix) if kind == "numpy-exact" else FaissEngine.over(matrix, kind)
    if place is not None and keys.size:

        def write_data(path: Path) -> None:
            with path.open("wb") as file:
                np.savez(file, keys=keys, mean=statistics.mean, moment=statistics.moment)

        place.save({"npz": write_data, engine.ending: engine.write})
    return keys, engine, statistics


def measure(matrix: Floats) -> Statistics:
    """Mean and second moment of the rows, summed in float64 block by block."""
    count, dimension = matrix.shape
    mean, moment = np.zeros(dimension), np.zeros((dimension, dimension))
    for start in range(0, count, 8192):
        block = matrix[start : start + 8192]
        mean += block.sum(axis=0, dtype=np.float64)
        moment += block.T @ block
    divisor = max(count, 1)
    return Statistics((mean / divisor).astype(np.float32), (moment / divisor).astype(np.float32))
