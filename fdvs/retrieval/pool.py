"""Everything that can be found in a library at one moment, ready to be scored against a query."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from fdvs.encoders.text import encode_query, trained_on
from fdvs.errors import UsageError
from fdvs.languages.detect import is_latin
from fdvs.languages.function_words import language_of_query, telling
from fdvs.languages.names import UNDETERMINED
from fdvs.languages.terms import terms
from fdvs.records import Level
from fdvs.store.library import Store
from fdvs.store.postings import LEVELS, PostingIndex
from fdvs.store.search_rows import NodeRow
from fdvs.store.vectors import VectorIndex
from fdvs.stories.words import same_text_key

if TYPE_CHECKING:
    from fdvs.encoders.text import TextEncoder

LEXICAL_WEIGHT = 0.25
# Where the encoder does not know the language, its cosines say which texts look alike, little more.
OUTSIDE_MEANING_WEIGHT, OUTSIDE_LEXICAL_WEIGHT = 0.25, 1.0
# A word that one node in 100,000 has makes that node's z some 300: more than any meaning could outweigh. The spread
# of BM25 is therefore never taken as less than a twelfth of the best score, so that words add at most 3.
MAX_LEXICAL_Z = 12.0
# Spreads in a story of a few nodes are chance; these are typical of large libraries.
LEAST_DENSE_SPREAD = 0.05
LEAST_LEXICAL_SPREAD = 0.1
# Who types a title means what bears it, also where its words ("What", "Get it") tell nothing by themselves.
TITLE_BONUS = 6.0
_MAX_QUERY_CHARS = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A node with its scores: `similarity` is the cosine with the query, `fused` what ranks."""

    row: NodeRow
    similarity: float
    fused: float

    @property
    def order(self) -> tuple[float, str, int, str]:
        """Sorting key: best first, ties by video, time and node."""
        return (-self.fused, self.row.video_id, self.row.span.start_ms, self.row.id)


class Pool:
    """The nodes of a library with their vectors and words; `Pool.of` keeps one per store until the library changes."""

    def __init__(self, vectors: VectorIndex, words: PostingIndex) -> None:
        self.vectors = vectors
        self.words = words
        order = np.argsort(words.keys)
        self._sorted_keys = words.keys[order]
        self._sorted_at = order
        self.vector_at = self.positions(vectors.keys)

    @classmethod
    def of(cls, store: Store, encoder: TextEncoder) -> Self:
        """The library as it is now (IndexMismatchError where it was built with another encoder)."""
        token = (store.generation, encoder.name, encoder.dimension)
        known = _POOLS.get(store)
        if known is None or known[0] != token:
            with store.reading():
                token = (store.generation, encoder.name, encoder.dimension)
                vectors = VectorIndex.open(store, encoder.name, encoder.dimension)
                known = (token, cls(vectors, PostingIndex.open(store)))
            _POOLS[store] = known
        pool = known[1]
        assert isinstance(pool, cls)
        return pool

    def stems(self, texts: Sequence[str]) -> list[list[str]]:
        """The stems of all words of each text."""
        return [[self.words.stem(term) for term in terms(text)] for text in texts]

    def telling(self, text: str, *, query: bool = False) -> list[str]:
        """The stems of the words of a text that tell something, each once, in order; of a query only those that it
        is looked up by."""
        found = terms(text, query=query)
        told = telling(found, language_of_query(found, self.words.spoken))
        return list(dict.fromkeys(self.words.stem(term) for term in told))

    def positions(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where each key stands among the words' nodes; -1 where it does not."""
        if not self._sorted_keys.size:
            return np.full(keys.size, -1, np.int64)
        where = np.minimum(np.searchsorted(self._sorted_keys, keys), self._sorted_keys.size - 1)
        return np.where(self._sorted_keys[where] == keys, self._sorted_at[where], -1)

    def allowed(self, level: Level | None, video_id: str | None) -> NDArray[np.bool_]:
        """[N] nodes of that level and video; None allows all."""
        mask = np.ones(self.words.count, np.bool_)
        if level is not None:
            mask &= self.words.levels == LEVELS.index(level)
        if video_id is not None:
            known = video_id in self.words.video_ids
            mask &= self.words.videos == (self.words.video_ids.index(video_id) if known else -1)
        return mask


_POOLS: weakref.WeakKeyDictionary[Store, tuple[tuple[int, str, int], Pool]] = weakref.WeakKeyDictionary()


def check_query(query: str) -> str:
    """The query without what no encoder wants (NUL, broken characters, surrounding space), cut to a sane length.

    Raises:
        UsageError: nothing is left.
    """
    clean = query.replace("\x00", " ").encode("utf-8", "replace").decode().strip()
    if not clean:
        raise UsageError("the query is empty")
    return clean[:_MAX_QUERY_CHARS]


def _highest(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Positions of the `count` highest scores above 0; of equal ones the lowest positions."""
    above = np.flatnonzero(scores > 0)
    if above.size <= count:
        return above
    values = scores[above]
    least = np.partition(values, values.size - count)[values.size - count]
    clear = above[values > least]
    return np.concatenate([clear, above[values == least][: count - clear.size]])


class Query:
    """One query against one pool: the scores of any node, and the nodes worth scoring.

    Attributes:
        stems: of its telling words; empty where it has none.
    """

    def __init__(self, store: Store, encoder: TextEncoder, text: str) -> None:
        self.store = store
        self.pool = Pool.of(store, encoder)
        self.text = check_query(text)
        self._key = same_text_key(self.text)
        self.vector = np.asarray(encode_query(encoder, [self.text])[0], np.float32)
        found = terms(self.text, query=True)
        language = language_of_query(found, self.pool.words.spoken)
        self.stems = self.pool.telling(self.text, query=True)
        self._outside = _outside(self.pool.words, self.text, language, trained_on(encoder.name))
        # In a small library "what" and "is" are rare words; they must not decide.
        self._lexical = self.pool.words.scores(self.stems or [self.pool.words.stem(term) for term in found])
        mean, spread = self.pool.vectors.statistics.of(self.vector)
        self._dense_mean, self._dense_spread = mean, max(spread, LEAST_DENSE_SPREAD)
        best = float(self._lexical.max(initial=0.0))
        self._lexical_mean = float(self._lexical.mean()) if self._lexical.size else 0.0
        spread = float(self._lexical.std()) if self._lexical.size else 0.0
        self._lexical_spread = max(spread, best / MAX_LEXICAL_Z, LEAST_LEXICAL_SPREAD)

    def candidates(self, count: int, allowed: NDArray[np.bool_]) -> tuple[list[int], float]:
        """Keys of the `count` nearest nodes and of the `count` that share the most telling words, without repeats; and
        the similarity of the furthest of the nearest."""
        if not self.pool.words.count:
            return [], -1.0
        at = self.pool.vector_at
        mask = (at >= 0) & allowed[at]
        near, similarities = self.pool.vectors.search(self.vector, count, None if mask.all() else mask)
        worded = _highest(np.where(allowed, self._lexical, 0), count)
        furthest = float(similarities[-1]) if similarities.size else -1.0
        return list(dict.fromkeys([*near.tolist(), *self.pool.words.keys[worded].tolist()])), furthest

    def score(self, rows: Sequence[NodeRow]) -> list[Scored]:
        """The rows with exact cosines from the library's own vectors; rows without a vector are left out."""
        vectors = self.store.vectors_of([row.key for row in rows])
        positions = self.pool.positions(np.asarray([row.key for row in rows], np.int64))
        found = []
        for row, position in zip(rows, positions.tolist(), strict=True):
            if row.key in vectors and position >= 0:
                similarity = round(float(vectors[row.key] @ self.vector), 6)
                dense = (similarity - self._dense_mean) / self._dense_spread
                lexical = (float(self._lexical[position]) - self._lexical_mean) / self._lexical_spread
                outside = self.is_outside(row.video_id)
                meaning_weight = OUTSIDE_MEANING_WEIGHT if outside else 1.0
                lexical_weight = OUTSIDE_LEXICAL_WEIGHT if outside else LEXICAL_WEIGHT
                named = TITLE_BONUS if same_text_key(row.title) == self._key else 0.0
                fused = meaning_weight * dense + lexical_weight * lexical + named
                found.append(Scored(row, similarity, round(fused, 6)))
        return found

    def is_outside(self, video_id: str) -> bool:
        """Whether the encoder cannot be expected to compare this query with the texts of that video by meaning."""
        return video_id in self._outside


def _outside(words: PostingIndex, text: str, language: str | None, known: frozenset[str] | None) -> frozenset[str]:
    """The videos that an encoder trained on the languages `known` cannot compare with a query by meaning: all where it
    does not know the query's language; where that cannot be told, those that speak or show a language it does not know
    (a word alone, such as `Tiger`, is then looked for in them as a word)."""
    if known is None or language in known:
        return frozenset()
    if language is not None or not is_latin(text):
        return frozenset(words.video_ids)
    spoken = {video_id: set(found) - {UNDETERMINED} for video_id, found in words.languages.items()}
    return frozenset(video_id for video_id, found in spoken.items() if found - known)
