"""Which words occur in which nodes: BM25 over the library's search text, fast at any size.

FTS5 ranks a query of common words over 100,000 nodes in about 80 ms, because it reads every occurrence again. This is
the same formula over arrays that are derived from FTS5's counts of terms and saved beside the vector index. It counts
families of words (`fdvs.languages.families`) rather than words: inflected forms and spellings of one word are one, by
the rules of the languages the library's videos speak.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fdvs.languages.families import Families
from fdvs.languages.names import UNDETERMINED
from fdvs.records import Level
from fdvs.store.derived import derived
from fdvs.store.library import Store

K1, B = 1.2, 0.75  # FTS5's own
_LEAST_IDF = 1e-6  # FTS5's value for a word that most nodes have
# A compound with the word in it counts as half an occurrence: `Höchstgeschwindigkeit` is found by `Geschwindigkeit`,
# after the nodes that have the word itself. The vocabulary is small enough to be looked through for such words, which
# spares an index of letter triples several times its size.
PART_SHARE = 0.5
WRITTEN = "en"  # what measured facts are told in, in every story
LEVELS = tuple(Level)

Arrays = dict[str, NDArray[Any]]


class PostingIndex:
    """All nodes with text, and the words in them.

    A stem, here, is the name of a family of words: its first word, or the word itself where the library lacks it.

    Attributes:
        keys: [N] node keys, by node id.
        levels: [N] index into `LEVELS`.
        videos: [N] index into `video_ids`.
        languages: {video id: languages of its speech and screen text}.
        spoken: all languages of the library's texts, English included, sorted.
    """

    def __init__(self, arrays: Arrays, video_ids: list[str], languages: Mapping[str, Sequence[str]]) -> None:
        self.keys: NDArray[np.int64] = arrays["keys"]
        self.levels: NDArray[np.uint8] = arrays["levels"]
        self.videos: NDArray[np.int32] = arrays["videos"]
        self.video_ids = video_ids
        self.languages = languages
        found = {language for spoken in languages.values() for language in spoken}
        self.spoken = tuple(sorted(found - {UNDETERMINED} | {WRITTEN}))
        self._starts, self._docs, self._counts = arrays["starts"], arrays["docs"], arrays["counts"]
        spellings = arrays["spellings"].tobytes().decode().split("\n") if arrays["spellings"].size else []
        self._families = Families(dict(zip(spellings, arrays["family"].tolist(), strict=True)), self.spoken)
        self._names: dict[int, str] = {}
        for spelling, family in self._families.keys.items():
            self._names.setdefault(family, spelling)
        self._occurrences: dict[str, tuple[NDArray[np.int32], NDArray[np.float32]]] = {}
        self._lengths: NDArray[np.int32] = arrays["lengths"]
        lengths = self._lengths.astype(np.float32)
        mean = float(lengths.mean()) if lengths.size else 1.0
        self._norms = K1 * (1 - B + B * lengths / max(mean, 1e-9))

    @classmethod
    def open(cls, store: Store) -> Self:
        """The words of the library, from their file where it is up to date, else built and saved."""
        with store.reading():
            place = derived(store.folder, "words", library=store.library_id, generation=store.generation)
            found = None if place is None else place.load()
            if found is None:
                arrays, video_ids, languages = _build(store)
        if found is not None:
            header, (path,) = found
            with np.load(path, allow_pickle=False) as stored:
                return cls(dict(stored), header["videos"], header["languages"])

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]

        if place is not None and arrays["keys"].size:
            place.save({"npz": write}, videos=video_ids, languages=languages)
        return cls(arrays, video_ids, languages)

    @property
    def count(self) -> int:
        return int(self.keys.size)

    def stem(self, word: str) -> str:
        """The name of a word's family, equal for all its forms; the word itself where the library has none of them."""
        family = self._families.family(word)
        return word if family is None else self._names[family]

    def forms(self, stem: str) -> frozenset[str]:
        """The stem itself, and those of compounds that it is a part of."""
        return frozenset({stem, *(self._names[family] for family in self._families.compounds(stem))})

    def idf(self, stem: str) -> float:
        """How much a stem tells: log of how much rarer than usual it is; 0 for a stem that nothing has."""
        num_docs = self._found(stem)[0].size
        if not num_docs:
            return 0.0
        return max(float(np.log((self.count - num_docs + 0.5) / (num_docs + 0.5))), _LEAST_IDF)

    def weight(self, stem: str) -> float:
        """How much a stem tells one video from another: ln((V + 1) / (v + 0.5)) where v of V videos have it, and
        ln(2 (V + 1)) where none has. Unlike `idf`, words that a library's only video is all about keep a weight."""
        num_videos = len(self.video_ids)
        docs, _ = self._found(stem)
        return float(np.log((num_videos + 1) / (np.unique(self.videos[docs]).size + 0.5)))

    def spread(self, stem: str, nodes: NDArray[np.bool_]) -> tuple[int, int]:
        """(number of videos, number of occurrences) of a stem among some of the nodes, given as [N] bool."""
        docs, counts = self._found(stem)
        among = nodes[docs]
        return int(np.unique(self.videos[docs[among]]).size), round(float(counts[among].sum()))

    def length(self, nodes: NDArray[np.bool_]) -> int:
        """How many stems some of the nodes have together, repeats counted."""
        return int(self._lengths[nodes].sum(dtype=np.int64))

    def scores(self, stems: Sequence[str]) -> NDArray[np.float32]:
        """BM25 of every node for these stems, [N]; 0 where none of them occurs. Compounds aside, the same as FTS5's
        over stems, sign turned."""
        total = np.zeros(self.count, np.float32)
        for stem, times in sorted(Counter(stems).items()):
            docs, counts = self._found(stem)
            total[docs] += times * self.idf(stem) * counts * (K1 + 1) / (counts + self._norms[docs])
        return total

    def _found(self, stem: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """(positions of the nodes that have it, how often each does), compounds included."""
        known = self._occurrences.get(stem)
        if known is None:
            known = self._occurrences[stem] = self._look_up(stem)
        return known

    def _look_up(self, stem: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        family = self._families.family(stem)
        found = [] if family is None else [(*self._postings(family), 1.0)]
        compounds = self._families.compounds(stem) - {family}
        found += [(*self._postings(compound), PART_SHARE) for compound in sorted(compounds)]
        if not found:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        docs, where = np.unique(np.concatenate([docs for docs, _, _ in found]), return_inverse=True)
        weighted = np.concatenate([counts * share for _, counts, share in found])
        return docs, np.bincount(where, weights=weighted).astype(np.float32)

    def _postings(self, family: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        where = slice(self._starts[family], self._starts[family + 1])
        return self._docs[where], self._counts[where]


def _build(store: Store) -> tuple[Arrays, list[str], dict[str, tuple[str, ...]]]:
    nodes = store.indexed_nodes()
    words = store.word_counts()
    occurrences = np.asarray([count for _, count in words], np.int64)
    keys = np.asarray([node.key for node in nodes], np.int64)
    video_ids = sorted({node.video_id for node in nodes})
    number = {video_id: i for i, video_id in enumerate(video_ids)}
    videos = np.asarray([number[node.video_id] for node in nodes], np.int32)
    stored = store.told_languages()
    languages = {video_id: stored[video_id][0].all if video_id in stored else () for video_id in video_ids}

    docs = _positions(keys, store.word_nodes(int(occurrences.sum())))
    terms = np.repeat(np.arange(len(words)), occurrences)
    spoken = _words_by_language(terms, videos[docs], video_ids, languages)
    families, family_of = Families.of([term for term, _ in words], spoken)
    num_families = max(family_of, default=-1) + 1
    members = np.asarray(family_of, np.int64)[terms] if words else terms
    pairs, counts = np.unique(members * max(keys.size, 1) + docs, return_counts=True)
    per_family = np.bincount(pairs // max(keys.size, 1), minlength=num_families)
    return (
        {
            "keys": keys,
            "levels": np.asarray([LEVELS.index(node.level) for node in nodes], np.uint8),
            "videos": videos,
            "spellings": np.frombuffer("\n".join(families.keys).encode(), np.uint8),
            "family": np.asarray(list(families.keys.values()), np.int64),
            "starts": np.concatenate([[0], np.cumsum(per_family)]).astype(np.int64),
            "docs": (pairs % max(keys.size, 1)).astype(np.int32),
            "counts": counts.astype(np.int32),
            "lengths": np.bincount(docs, minlength=keys.size).astype(np.int32),
        },
        video_ids,
        languages,
    )


def _words_by_language(
    terms: NDArray[np.int64],
    videos: NDArray[np.int32],
    video_ids: Sequence[str],
    languages: Mapping[str, Sequence[str]],
) -> dict[str, list[int]]:
    """{language: words that occur in its videos}: the English `corner` is no inflected form of a German `corn`.

    Args:
        terms, videos: the word and the video of each occurrence.
    """
    found = {WRITTEN: np.unique(terms).tolist()}
    for language in {one for spoken in languages.values() for one in spoken} - {WRITTEN, UNDETERMINED}:
        speaking = np.asarray([language in languages[video_id] for video_id in video_ids], np.bool_)
        found[language] = np.unique(terms[speaking[videos]]).tolist()
    return found


def _positions(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of `wanted` stands in `keys` (all of them do)."""
    order = np.argsort(keys)
    return order[np.searchsorted(keys[order], wanted)] if wanted.size else wanted
