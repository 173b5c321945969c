from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.store import postings
from fdvs.store.library import Store
from fdvs.store.postings import LEVELS, PostingIndex, Stemmer
from tests.store import samples

TEXTS = [
    "A dog runs over the green grass. The dog barks.",
    "A cat sleeps on the grass.",
    "Two dogs and a cat are running.",
    "",
    "Ein Straßenhund läuft, größer als die Katze.",
    "狗在草地上跑",
]


@pytest.fixture
def store() -> Store:
    store = Store.in_memory()
    samples.fill(store, samples.video(seed="a"), TEXTS)
    samples.fill(store, samples.video(seed="b"), TEXTS[1:3])
    return store


def by_fts5(store: Store, stems: list[str]) -> dict[int, float]:
    """{node key: BM25}, as SQLite ranks: the plain meaning of `PostingIndex.scores`."""
    query = " OR ".join('"' + stem.replace('"', '""') + '"' for stem in stems)
    rows = store._db.execute("SELECT rowid, -bm25(node_text) FROM node_text WHERE node_text MATCH ?", (query,))
    return dict(rows.fetchall())


@pytest.mark.parametrize("query", ["dog", "green dog grass", "the a and", "cat on a grass", "katze", "dog dog cat"])
def test_scores_are_those_of_fts5(store: Store, query: str) -> None:
    words = PostingIndex.open(store)
    stems = Stemmer()([query])[0]
    scores = words.scores(stems)
    found = {int(words.keys[i]): float(scores[i]) for i in np.flatnonzero(scores)}
    assert found == pytest.approx(by_fts5(store, stems), rel=1e-4, abs=1e-9)


def test_stems_are_those_the_library_is_indexed_by() -> None:
    assert Stemmer()(["Running DOGS, re-run!", "", "\x00\ud83d …", "größer Straße 42"]) == [
        ["run", "dog", "re", "run"],
        [],
        [],
        ["großer", "straß", "42"],
    ]


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_can_be_looked_up(text: str) -> None:
    stems = _STEMMER([text])[0]
    assert _WORDS.scores(stems).shape == (_WORDS.count,)


_STEMMER = Stemmer()
_STORE = Store.in_memory()
samples.fill(_STORE, samples.video(), TEXTS)
_WORDS = PostingIndex.open(_STORE)


def test_a_word_that_tells_less_weighs_less(store: Store) -> None:
    words = PostingIndex.open(store)
    (runs, green, unseen) = Stemmer()(["runs green zebra"])[0]
    assert words.weight(runs) < words.weight(green) < words.weight(unseen)
    assert words.idf(unseen) == 0.0


def test_nodes_without_text_are_not_there(store: Store) -> None:
    words = PostingIndex.open(store)
    rows = store.node_rows(words.keys.tolist())
    assert len(rows) == words.count == 7 + 4  # every node but the clip without text
    assert [row.id for row in rows] == sorted(row.id for row in rows)
    assert [str(row.level) for row in rows] == [LEVELS[level] for level in words.levels]
    assert [row.video_id for row in rows] == [words.video_ids[video] for video in words.videos]


def test_saved_words_are_used_while_they_are_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(tmp_path, create=True) as store:
        samples.fill(store, samples.video(), TEXTS)
        built = PostingIndex.open(store)
        with monkeypatch.context() as patch:
            patch.setattr(postings, "_build", None)
            loaded = PostingIndex.open(store)
        assert loaded.scores(["dog", "cat"]).tolist() == built.scores(["dog", "cat"]).tolist()
        assert loaded.video_ids == built.video_ids
        samples.fill(store, samples.video(seed="b"), ["A zebra."])
        assert PostingIndex.open(store).idf("zebra") > 0
        (path,) = (tmp_path / "index").glob("words-*")
        path.write_bytes(b"damaged")
        assert PostingIndex.open(store).idf("zebra") > 0


def test_an_empty_library_has_no_words() -> None:
    words = PostingIndex.open(Store.in_memory())
    assert words.count == 0
    assert words.scores(["dog"]).tolist() == []
