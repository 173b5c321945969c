from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.languages.terms import terms
from fdvs.store import postings
from fdvs.store.library import Store
from fdvs.store.postings import LEVELS, PostingIndex
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


def stems(words: PostingIndex, text: str) -> list[str]:
    return [words.stem(term) for term in terms(text)]


def by_fts5(store: Store, words: PostingIndex, query: list[str]) -> dict[int, float]:
    """{node key: BM25}, as SQLite ranks stems: the plain meaning of `PostingIndex.scores`."""
    with sqlite3.connect(":memory:") as db:
        db.execute("CREATE VIRTUAL TABLE plain USING fts5(title, text, tokenize = 'ascii')")
        for row in store.node_rows(words.keys.tolist()):
            text = (row.key, *(" ".join(stems(words, part)) for part in (row.title, row.text)))
            db.execute("INSERT INTO plain (rowid, title, text) VALUES (?, ?, ?)", text)
        match = " OR ".join(f'"{stem}"' for stem in query)
        return dict(db.execute("SELECT rowid, -bm25(plain) FROM plain WHERE plain MATCH ?", (match,)).fetchall())


@pytest.mark.parametrize(
    "query", ["dog", "green dog grass", "the a and", "cat on a grass", "katze", "dog dogs cat", "狗"]
)
def test_scores_are_those_of_fts5_over_stems(store: Store, query: str) -> None:
    words = PostingIndex.open(store)
    asked = stems(words, query)
    scores = words.scores(asked)
    found = {int(words.keys[i]): float(scores[i]) for i in np.flatnonzero(scores)}
    assert found
    assert found == pytest.approx(by_fts5(store, words, asked), rel=1e-4, abs=1e-9)


def test_forms_of_a_word_have_one_stem(store: Store) -> None:
    words = PostingIndex.open(store)
    assert words.stem("running") == words.stem("RUNS".lower()) == words.stem("run")
    assert words.stem("dogs") == words.stem("dog") != words.stem("cat")
    assert words.stem("zebras") == "zebras"  # nothing is known of it


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_can_be_looked_up(text: str) -> None:
    assert _WORDS.scores(stems(_WORDS, text)).shape == (_WORDS.count,)


_STORE = Store.in_memory()
samples.fill(_STORE, samples.video(), TEXTS)
_WORDS = PostingIndex.open(_STORE)


def test_a_word_that_tells_less_weighs_less(store: Store) -> None:
    words = PostingIndex.open(store)
    (runs, green, unseen) = stems(words, "runs green zebra")
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
