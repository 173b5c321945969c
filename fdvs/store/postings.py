"""Which words occur in which nodes: BM25 over the library's search text, fast at any size.

FTS5 ranks a query of common words over 100,000 nodes in about 80 ms, because it reads every occurrence again. This is
the same formula over arrays that are derived from FTS5's own vocabulary (so stems and counts are FTS5's) and saved
beside the vector index.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fdvs.records import Level
from fdvs.store.derived import derived
from fdvs.store.library import Store

K1, B = 1.2, 0.75  # FTS5's own
_LEAST_IDF = 1e-6  # FTS5's value for a word that most nodes have
LEVELS = tuple(Level)

Arrays = dict[str, NDArray[Any]]


class Stemmer:
    """Splits text into the stems that the library's search text is indexed by (unicode61, Porter)."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._db.execute("CREATE VIRTUAL TABLE texts USING fts5(text, tokenize = 'porter unicode61')")
        self._db.execute("CREATE VIRTUAL TABLE words USING fts5vocab('texts', 'instance')")

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """The stems of each text, in order. Whatever is no letter or digit in any script only separates."""
        self._db.execute("DELETE FROM texts")
        rows = ((i, text.replace("\x00", " ").encode("utf-8", "replace").decode()) for i, text in enumerate(texts))
        self._db.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", rows)
        stems: list[list[str]] = [[] for _ in texts]
        for doc, term in self._db.execute("SELECT doc, term FROM words ORDER BY doc, offset"):
            stems[doc].append(term)
        return stems


class PostingIndex:
    """All nodes with text, and the words in them.

    Attributes:
        keys: [N] node keys, by node id.
        levels: [N] index into `LEVELS`.
        videos: [N] index into `video_ids`.
    """

    def __init__(self, arrays: Arrays, video_ids: list[str]) -> None:
        self.keys: NDArray[np.int64] = arrays["keys"]
        self.levels: NDArray[np.uint8] = arrays["levels"]
        self.videos: NDArray[np.int32] = arrays["videos"]
        self.video_ids = video_ids
        self._starts, self._docs, self._counts = arrays["starts"], arrays["docs"], arrays["counts"]
        self._terms = {term: i for i, term in enumerate(arrays["terms"].tobytes().decode().split("\n"))}
        lengths = arrays["lengths"].astype(np.float32)
        mean = float(lengths.mean()) if lengths.size else 1.0
        self._norms = K1 * (1 - B + B * lengths / max(mean, 1e-9))

    @classmethod
    def open(cls, store: Store) -> Self:
        """The words of the library, from their file where it is up to date, else built and saved."""
        with store.reading():
            place = derived(store.folder, "words", library=store.library_id, generation=store.generation)
            found = None if place is None else place.load()
            if found is None:
                arrays, video_ids = _build(store)
        if found is not None:
            header, (path,) = found
            with np.load(path, allow_pickle=False) as stored:
                return cls(dict(stored), header["videos"])

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]

        if place is not None and arrays["keys"].size:
            place.save({"npz": write}, videos=video_ids)
        return cls(arrays, video_ids)

    @property
    def count(self) -> int:
        return int(self.keys.size)

    def idf(self, stem: str) -> float:
        """How much a stem tells: log of how much rarer than usual it is; 0 for a stem that nothing has."""
        term = self._terms.get(stem)
        if term is None:
            return 0.0
        num_docs = int(self._starts[term + 1] - self._starts[term])
        return max(float(np.log((self.count - num_docs + 0.5) / (num_docs + 0.5))), _LEAST_IDF)

    def weight(self, stem: str) -> float:
        """How much a stem tells one video from another: ln((V + 1) / (v + 0.5)) where v of V videos have it, and
        ln(2 (V + 1)) where none has. Unlike `idf`, words that a library's only video is all about keep a weight."""
        num_videos = len(self.video_ids)
        term = self._terms.get(stem)
        if term is None:
            return float(np.log(2 * (num_videos + 1)))
        docs = self._docs[self._starts[term] : self._starts[term + 1]]
        return float(np.log((num_videos + 1) / (np.unique(self.videos[docs]).size + 0.5)))

    def scores(self, stems: Sequence[str]) -> NDArray[np.float32]:
        """BM25 of every node for these stems, [N]; 0 where none of them occurs. The same as FTS5's, sign turned."""
        total = np.zeros(self.count, np.float32)
        for stem, times in sorted(Counter(stems).items()):
            term = self._terms.get(stem)
            if term is None:
                continue
            where = slice(self._starts[term], self._starts[term + 1])
            docs, counts = self._docs[where], self._counts[where].astype(np.float32)
            total[docs] += times * self.idf(stem) * counts * (K1 + 1) / (counts + self._norms[docs])
        return total


def _build(store: Store) -> tuple[Arrays, list[str]]:
    nodes = store.indexed_nodes()
    words = store.word_counts()
    occurrences = np.asarray([count for _, count in words], np.int64)
    keys = np.asarray([node.key for node in nodes], np.int64)
    video_ids = sorted({node.video_id for node in nodes})
    number = {video_id: i for i, video_id in enumerate(video_ids)}

    docs = _positions(keys, store.word_nodes(int(occurrences.sum())))
    terms = np.repeat(np.arange(len(words)), occurrences)
    pairs, counts = np.unique(terms * max(keys.size, 1) + docs, return_counts=True)
    per_term = np.bincount(pairs // max(keys.size, 1), minlength=len(words)) if words else np.empty(0, np.int64)
    return {
        "keys": keys,
        "levels": np.asarray([LEVELS.index(node.level) for node in nodes], np.uint8),
        "videos": np.asarray([number[node.video_id] for node in nodes], np.int32),
        "terms": np.frombuffer("\n".join(term for term, _ in words).encode(), np.uint8),
        "starts": np.concatenate([[0], np.cumsum(per_term)]).astype(np.int64),
        "docs": (pairs % max(keys.size, 1)).astype(np.int32),
        "counts": counts.astype(np.int32),
        "lengths": np.bincount(docs, minlength=keys.size).astype(np.int32),
    }, video_ids


def _positions(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of `wanted` stands in `keys` (all of them do)."""
    order = np.argsort(keys)
    return order[np.searchsorted(keys[order], wanted)] if wanted.size else wanted
