from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.errors import IndexMismatchError, InputError, NotFoundError
from fdvs.records import Hit, Level
from fdvs.retrieval.pool import Query
from fdvs.retrieval.search import rank_score, search, verified
from fdvs.store.library import Store
from tests.retrieval.stories import KITCHEN, FakeEncoder, library, put, story

ENCODER = FakeEncoder()
STORE, KITCHEN_ID, STREET_ID = library()


def texts(hits: list[Hit]) -> list[str]:
    return [hit.text for hit in hits]


def test_the_moment_comes_first_with_its_time() -> None:
    hit = search(STORE, ENCODER, "the cat drinks milk")[0]
    assert (hit.video, hit.level, hit.text) == ("kitchen.mp4", Level.CLIP, "The cat drinks the milk.")
    assert (hit.span.start_s, hit.span.end_s) == (8.0, 10.0)
    assert hit.title == "The cat drinks the milk"


def test_similarity_is_the_plain_cosine_of_query_and_node() -> None:
    query = "a dog and the rain"
    for hit in search(STORE, ENCODER, query, k=50, level="clip"):
        a, b = ENCODER.encode([query, hit.text])
        assert hit.similarity == pytest.approx(float(a @ b), abs=2e-6)


def test_min_similarity_compares_the_cosine() -> None:
    hits = search(STORE, ENCODER, "the woman and the milk", k=50)
    border = hits[3].similarity
    kept = search(STORE, ENCODER, "the woman and the milk", k=50, min_similarity=border)
    assert kept
    assert min(hit.similarity for hit in kept) >= border
    assert {hit.node_id for hit in hits if hit.similarity >= border} <= {hit.node_id for hit in kept}
    assert search(STORE, ENCODER, "the woman and the milk", min_similarity=1.1) == []


def test_rank_scores_lie_between_0_and_1_and_follow_the_ranking() -> None:
    hits = search(STORE, ENCODER, "a red car", k=50)
    scores = [hit.rank_score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert (rank_score(-1e6), rank_score(4.0), rank_score(1e6)) == (0.0, 0.5, 1.0)


def test_rare_words_help_where_meaning_ties() -> None:
    store = Store.in_memory()
    put(store, "x.mp4", story([["one two three xylophone", "one two three four", "five six"]]))
    assert search(store, ENCODER, "xylophone", level="clip")[0].text == "one two three xylophone"


def test_words_that_tell_nothing_do_not_bring_a_node_up() -> None:
    store = Store.in_memory()
    lines = ["Lava flows.", "Rain falls.", "Ash rises.", "A volcano erupts.", "That is what it is."]
    video_id = put(store, "x.mp4", story([lines]))
    for text, worded in (("what is that volcano", "A volcano erupts."), ("what is it", "That is what it is.")):
        query = Query(store, ENCODER, text)
        keys, _ = query.candidates(1, query.pool.allowed(Level.CLIP, video_id))
        assert store.node_rows(keys)[-1].text == worded, "the nearest comes first, then the best by its words"


def test_who_types_a_title_finds_what_bears_it() -> None:
    store = Store.in_memory()
    nodes = story([["Lava flows.", "Ash rises."], ["What lies below is what was above.", "What rain falls."]])
    put(
        store,
        "x.mp4",
        [replace(n, title="What") if n.level is Level.SCENE and not n.span.start_ms else n for n in nodes],
    )
    assert search(store, ENCODER, "lava flows")[0].title != "What"
    for query in ("What", "what?"):
        assert search(store, ENCODER, query)[0].title == "What"


@pytest.mark.parametrize("level", ["clip", "scene", "video"])
def test_a_level_can_be_asked_for(level: str) -> None:
    hits = search(STORE, ENCODER, "a woman feeds a cat", k=50, level=level)
    assert {hit.level for hit in hits} == {Level(level)}
    wanted = {"clip": 12, "scene": 5, "video": 2}  # one of the 13 clips repeats another
    assert len(hits) == wanted[level]


def test_search_in_one_video_finds_nothing_else() -> None:
    hits = search(STORE, ENCODER, "the cat drinks milk", k=50, video_id=STREET_ID)
    assert {hit.video_id for hit in hits} == {STREET_ID}
    with pytest.raises(NotFoundError):
        search(STORE, ENCODER, "cat", video_id="no such video")


def test_repeats_in_one_video_are_one_hit_at_the_earliest_time() -> None:
    hits = search(STORE, ENCODER, "a red car stops at the corner", k=50, level="clip")
    assert hits[0].span.start_s == 0.0
    assert [(span.start_s, span.end_s) for span in hits[0].also] == [(8.0, 10.0)]
    assert sum("red car" in hit.text for hit in hits) == 1


def test_all_repeats_are_listed_however_many_there_are() -> None:
    store = Store.in_memory()
    slide = ["The slide shows the title."] * 700
    put(store, "talk.mp4", story([[*slide[:350], "A man waves.", *slide[350:], "The end."]]))
    hits = search(store, ENCODER, "the slide shows the title", k=3, level="clip")
    assert len(hits[0].also) == 699
    assert sorted(texts(hits)) == ["A man waves.", "The end.", "The slide shows the title."]


def test_the_same_text_in_two_videos_is_two_hits() -> None:
    store = Store.in_memory()
    for name in ("a.mp4", "b.mp4"):
        put(store, name, story([["A dog barks.", "A cat sleeps."]], name))
    hits = search(store, ENCODER, "a dog barks", k=2, level="clip")
    assert [hit.text for hit in hits] == ["A dog barks."] * 2
    assert [hit.video_id for hit in hits] == sorted(hit.video_id for hit in hits)


def test_of_nodes_that_say_the_same_the_most_specific_is_shown() -> None:
    store = Store.in_memory()
    put(store, "x.mp4", story([["A dog barks."], ["A cat sleeps."]], summary=["A dog barks."]))
    hits = search(store, ENCODER, "a dog barks", k=10)
    assert hits[0].level is Level.CLIP
    assert hits[0].also == ()
    assert [hit.text for hit in hits].count("A dog barks.") == 1


def test_results_are_moments_and_not_the_ancestors_of_one_moment() -> None:
    for query in ("the cat drinks the milk", "woman", "A woman feeds her cat in a kitchen", "milk in a kitchen"):
        hits = search(STORE, ENCODER, query, k=50, video_id=KITCHEN_ID)
        nodes = {node.id: node for node in STORE.nodes(KITCHEN_ID)}
        shown = {hit.node_id for hit in hits}
        for hit in hits:
            above = []
            parent = nodes[hit.node_id].parent
            while parent is not None:
                above.append(parent)
                parent = nodes[parent].parent
            assert len(shown.intersection(above)) <= 1, "at most one wider result beside a moment"


def test_a_wider_node_stays_where_it_matches_clearly_better() -> None:
    hits = search(STORE, ENCODER, "A woman feeds her cat in a kitchen", k=5)
    assert hits[0].level is Level.VIDEO
    assert Level.CLIP in {hit.level for hit in hits}


def test_k_limits_and_order_is_the_same_every_time() -> None:
    first = search(STORE, ENCODER, "milk", k=4)
    assert len(first) == 4
    assert search(STORE, ENCODER, "milk", k=4) == first
    again, *_ = library()
    assert search(again, ENCODER, "milk", k=4) == first
    assert [h.node_id for h in search(STORE, ENCODER, "milk", k=2)] == [h.node_id for h in first[:2]]


@pytest.mark.parametrize("query", ["", "   ", "\x00", "\n\t"])
def test_an_empty_query_is_an_input_error(query: str) -> None:
    with pytest.raises(InputError, match="empty"):
        search(STORE, ENCODER, query)


ODD = [
    '"', "'", "*", "cat*", "NEAR(cat milk)", "cat AND", "OR", "NOT", "title:cat", "^cat", "-cat", "(((", "cat\x00milk",
    "😀", "\ud83d", "'; DROP TABLE nodes; --", "…", "ＣＡＴ", "a" * 100_000, "cat " * 20_000, "%s%n{}", "{0.__class__}",
]  # fmt: skip


@pytest.mark.parametrize("query", ODD, ids=range(len(ODD)))
def test_odd_queries_are_only_words(query: str) -> None:
    hits = search(STORE, ENCODER, query, k=3)
    assert len(hits) == 3
    assert all(math.isfinite(hit.similarity) for hit in hits)


@settings(max_examples=150, deadline=None)
@given(st.text(min_size=1))
def test_no_query_breaks_the_search(query: str) -> None:
    try:
        hits = search(STORE, ENCODER, query, k=2)
    except InputError:
        assert not query.replace("\x00", " ").strip()
    else:
        assert len(hits) == 2


@pytest.mark.parametrize(("k", "level"), [(0, "any"), (-1, "any"), (3, "chapterr"), (3, "")])
def test_wrong_arguments_are_input_errors(k: int, level: str) -> None:
    with pytest.raises(InputError):
        search(STORE, ENCODER, "cat", k=k, level=level)


def test_another_encoder_is_a_mismatch() -> None:
    class Other(FakeEncoder):
        name = "other"

    with pytest.raises(IndexMismatchError, match="fake"):
        search(STORE, Other(), "cat")


def test_an_empty_library_has_no_hits() -> None:
    assert search(Store.in_memory(), ENCODER, "cat") == []


def test_clips_without_text_are_never_found() -> None:
    store = Store.in_memory()
    put(store, "x.mp4", story([["A dog.", "", ""], ["", "A cat."]]))
    assert "" not in texts(search(store, ENCODER, "nothing at all", k=50))


def test_what_is_built_or_forgotten_meanwhile_counts_at_once(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as writer, Store.open(tmp_path, create=False, readonly=True) as reader:
        put(writer, "a.mp4", story(KITCHEN))
        assert search(reader, ENCODER, "zebra", k=1)[0].text != "A zebra runs."
        zebra = put(writer, "b.mp4", story([["A zebra runs."]]))
        assert search(reader, ENCODER, "zebra", k=1)[0].text == "A zebra runs."
        writer.forget(zebra)
        assert {hit.video for hit in search(reader, ENCODER, "zebra", k=50)} == {"a.mp4"}


def test_a_library_that_cannot_be_written_is_searched(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        put(store, "a.mp4", story(KITCHEN))
    (tmp_path / "index").write_text("in the way of derived files")
    with Store.open(tmp_path, create=False, readonly=True) as reader:
        assert search(reader, ENCODER, "the kettle boils")[0].text == "The kettle boils over."


def test_numpy_and_faiss_rank_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for limit in (10_000, 0):
        monkeypatch.setattr("fdvs.store.vectors.FLAT_ABOVE", limit)
        store, *_ = library()
        found[limit] = [search(store, ENCODER, query, k=20) for query in ("milk", "a red car", "she turns")]
    assert found[0] == found[10_000]


def test_only_hits_that_the_library_holds_are_verified() -> None:
    hit = search(STORE, ENCODER, "milk")[0]
    forged = Hit(**{**{f: getattr(hit, f) for f in hit.__slots__}, "span": type(hit.span)(1, 2)})
    assert verified(STORE, [hit, forged]) == [hit]


def test_words_of_the_query_never_reach_sql(monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    store, *_ = library()
    store._db.set_trace_callback(statements.append)
    search(store, ENCODER, "milkshake'); DELETE FROM nodes; --")
    store._db.set_trace_callback(None)
    assert statements
    assert not any("milkshake" in statement for statement in statements)
