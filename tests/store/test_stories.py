from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fdvs.errors import InputError, NotFoundError, StoreError
from fdvs.records import DuplicateGroup, DuplicateMember, Level, Outcome, Span, StoryNode, Video
from fdvs.store.clips import ClipRow
from fdvs.store.library import Store
from tests.store import samples

TABLES = ("videos", "paths", "plans", "marks", "clips", "captioned", "captions", "stories", "nodes", "vectors",
          "node_text", "duplicates")  # fmt: skip


def count(store: Store, table: str) -> int:
    return int(store._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def matches(store: Store, words: str) -> int:
    return len(store._db.execute("SELECT rowid FROM node_text WHERE node_text MATCH ?", (words,)).fetchall())


def test_a_clip_comes_back_as_it_was_stored() -> None:
    store, video = Store.in_memory(), samples.video()
    store.put_video(video)
    row = samples.clip_row(video, 1)
    store.put_clip("h", row, captions_hash="c")
    (back,) = store.stored_clips(video.id, "h", "c")
    assert (back.ordinal, back.clip, back.selection, back.captions) == (1, row.clip, row.selection, row.captions)
    assert back.facts == {"motion": 0.125}
    assert back.picture is not None
    assert back.picture.dtype == np.float32
    assert back.picture.tolist() == [1.0, 1.5, -2.25]
    assert back.picture_model == "descriptor"


def test_vectors_are_little_endian_floats_with_model_and_dimension_beside_them() -> None:
    store, video = Store.in_memory(), samples.video()
    store.put_video(video)
    store.put_clip("h", samples.clip_row(video, 2))
    stored = store._db.execute("SELECT picture, picture_model, picture_dimension FROM clips").fetchone()
    assert stored == (bytes.fromhex("000000400000c03f000010c0"), "descriptor", 3)


def test_a_new_captions_setting_adds_captions_and_leaves_clips_alone() -> None:
    store, video = Store.in_memory(), samples.video()
    store.put_video(video)
    row = samples.clip_row(video, 0)
    store.put_clip("h", row, captions_hash="c1")
    assert store.stored_clips(video.id, "h", "c2")[0].captions is None, "not captioned under c2 yet"
    failed = samples.caption(row.clip, "", Outcome.FAILED, "the server was busy")
    store.put_captions(video.id, "h", row.clip.id, "c2", [failed])
    assert store.stored_clips(video.id, "h", "c1")[0].captions == row.captions
    (back,) = store.stored_clips(video.id, "h", "c2")
    assert back.captions == (failed,)
    assert back.captions[0].reason == "the server was busy"
    store.put_captions(video.id, "h", row.clip.id, "c3", [])
    assert store.stored_clips(video.id, "h", "c3")[0].captions == (), "captioned, and nothing came of it"
    assert count(store, "clips") == 1


def test_storing_a_clip_again_keeps_its_other_captions() -> None:
    store, video = Store.in_memory(), samples.video()
    store.put_video(video)
    row = samples.clip_row(video, 0)
    store.put_clip("h", row, captions_hash="c1")
    store.put_clip("h", replace(row, facts={"motion": 9}, captions=None))
    (back,) = store.stored_clips(video.id, "h", "c1")
    assert back.captions == row.captions
    assert back.facts == {"motion": 9}


def test_captions_of_an_unknown_clip_are_refused() -> None:
    store, video = Store.in_memory(), samples.video()
    store.put_video(video)
    with pytest.raises(NotFoundError, match="no clip"):
        store.put_captions(video.id, "h", "clip-none", "c", [])
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        store.put_clip("h", samples.clip_row(samples.video(seed="not stored"), 0))


def test_broken_text_is_stored_and_the_clip_is_not_lost() -> None:
    store, video = Store.in_memory(), samples.video()
    store.put_video(video)
    store.put_clip("h", samples.clip_row(video, 0, "half a \ud83d pair, and \x00 inside"), captions_hash="c")
    (back,) = store.stored_clips(video.id, "h", "c")
    assert back.captions is not None
    assert back.captions[0].text == "half a \ufffd pair, and \x00 inside"
    samples.fill(store, samples.video(seed="b"), ["half a \ud83d pair, and \x00 inside"])
    assert matches(store, "pair") == 3


def test_thumbnails_lie_beside_the_library_and_cannot_leave_their_folder(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        video = samples.video()
        store.put_video(video)
        row = samples.clip_row(video, 0)
        store.put_clip("h", row, thumbnail=b"jpeg")
        assert (tmp_path / "thumbs" / f"{row.clip.id}.jpg").read_bytes() == b"jpeg"
        evil = ClipRow(1, replace(row.clip, id="../../evil"))
        with pytest.raises(InputError, match="letters"):
            store.put_clip("h", evil, thumbnail=b"jpeg")
        assert [p.name for p in (tmp_path / "thumbs").iterdir()] == [f"{row.clip.id}.jpg"]


def test_a_story_comes_back_as_it_was_stored() -> None:
    store, video = Store.in_memory(), samples.video()
    texts = ["A dog runs. It barks.", "", "A cat sleeps."]
    samples.fill(store, video, texts)
    story = store.story(video.id)
    assert story.video == video
    assert story.settings == {"profile": "default"}
    assert story.nodes == samples.tree(video, texts)
    assert [caption.text for caption in story.captions] == texts
    assert store.stage_done(video.id, "story", "story-1")
    assert store.has_story(video.id)


def test_a_new_story_replaces_the_old_one_everywhere() -> None:
    store, video = Store.in_memory(), samples.video()
    samples.fill(store, video, ["A dog runs.", "A cat sleeps."])
    before = {table: count(store, table) for table in TABLES}
    assert matches(store, "dog") == 3  # clip, scene, video
    nodes = samples.tree(video, ["A horse eats.", "A cow sings."])
    old_keys = {row[0] for row in store._db.execute("SELECT key FROM nodes")}
    vectors = samples.vectors(nodes)
    store.put_story(
        video.id, "story-2", {}, nodes, vectors=vectors, model="fake", clips_hash="clips-1", captions_hash="captions-1"
    )
    assert {table: count(store, table) for table in TABLES} == before
    assert (matches(store, "dog"), matches(store, "horse")) == (0, 3)
    assert (store.stage_done(video.id, "story", "story-1"), store.stage_done(video.id, "story", "story-2")) == (
        False,
        True,
    )
    assert old_keys.isdisjoint(row[0] for row in store._db.execute("SELECT key FROM nodes"))


def test_a_story_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        video = samples.video()
        samples.fill(store, video, ["A dog runs."])
        generation, before = store.generation, store.story(video.id)
        nodes = samples.tree(video, ["A cat."])
        bad = {**samples.vectors(nodes), nodes[-1].id: np.asarray([np.nan, 0, 0, 0], np.float32)}
        with pytest.raises(InputError, match="finite"):
            store.put_story(video.id, "s2", {}, nodes, vectors=bad, model="m", clips_hash="c", captions_hash="c")
        assert store.story(video.id) == before
        assert store.stage_done(video.id, "story", "story-1")
        assert (store.generation, matches(store, "dog"), matches(store, "cat")) == (generation, 3, 0)


def broken_trees() -> dict[str, tuple[StoryNode, ...]]:
    root, scene, clip = samples.tree(samples.video(), ["A dog."])
    return {
        "used twice": (root, scene, clip, clip),
        "does not come before": (scene, root, clip),
        "parent None": (root, replace(scene, parent=None), clip),
        "other children": (replace(root, children=(scene.id, "ghost")), scene, clip),
        "names other": (root, replace(scene, children=()), clip),
    }


@pytest.mark.parametrize("message", list(broken_trees()))
def test_nodes_that_are_no_tree_are_refused(message: str) -> None:
    store, video = Store.in_memory(), samples.video()
    store.put_video(video)
    nodes = broken_trees()[message]
    with pytest.raises(InputError, match=message):
        store.put_story(video.id, "s", {}, nodes, vectors={}, model="m", clips_hash="c", captions_hash="c")
    assert not store.has_story(video.id)


def test_vectors_must_belong_to_nodes_and_agree_in_dimension() -> None:
    store, video = Store.in_memory(), samples.video()
    samples.fill(store, video, ["A dog."])
    with pytest.raises(InputError, match="no node"):
        store.put_vectors(video.id, {"ghost": np.ones(3, np.float32)}, "m")
    ids = [node.id for node in store.nodes(video.id)]
    with pytest.raises(InputError, match="one dimension"):
        store.put_vectors(video.id, {ids[0]: np.ones(3, np.float32), ids[1]: np.ones(4, np.float32)}, "m")
    assert store.vector_models() == {("fake", 4): 3}
    generation = store.generation
    store.put_vectors(video.id, {ids[0]: np.ones(3, np.float32)}, "m")
    assert store.vector_models() == {("m", 3): 1}
    assert store.generation > generation


def group(store_video: Video, other: Video, similarity: float = 0.97) -> DuplicateGroup:
    member = DuplicateMember("clip-2", other.id, Span(5, 7), similarity, "greedy")
    return DuplicateGroup("visual", "clip-1", store_video.id, Span(0, 2), (member,))


def test_duplicates_within_and_across_videos_are_kept_apart() -> None:
    store, a, b = Store.in_memory(), samples.video(seed="a"), samples.video(seed="b")
    for video in (a, b):
        samples.fill(store, video, ["A dog."])
    nodes = samples.tree(a, ["A dog."])
    groups = [group(a, a)]
    store.put_story(
        a.id, "s", {}, nodes, vectors={}, model="m", clips_hash="clips-1", captions_hash="captions-1", duplicates=groups
    )
    store.put_links([group(a, b), group(b, a)])
    assert store.story(a.id).duplicates == (group(a, a),)
    assert store.story(b.id).duplicates == ()
    assert store.links() == (group(a, b), group(b, a))
    store.put_links([group(a, b, 0.5)])
    assert store.links() == (group(a, b, 0.5),)


def test_forget_removes_a_video_everywhere(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        kept, gone = samples.video("kept.mp4", "k"), samples.video("gone.mp4", "g")
        samples.fill(store, kept, ["A dog runs."])
        before = {table: count(store, table) for table in TABLES}
        samples.fill(store, gone, ["The xylophone plays.", "Nothing."])
        row = samples.clip_row(gone, 0)
        store.put_clip("clips-1", row, thumbnail=b"jpeg")
        store.record_path("/gone.mp4", None, gone.id)
        store.plan_video(gone.id, "clips-1", "captions-1", clips_total=2)
        store.put_links([group(kept, gone), group(gone, kept)])
        (tmp_path / "index").mkdir()
        (tmp_path / "index" / "vectors.json").write_text("{}")
        generation = store.generation
        files = store.forget(gone.id)
        assert files == (tmp_path / "thumbs" / f"{row.clip.id}.jpg", tmp_path / "index" / "vectors.json")
        assert {table: count(store, table) for table in TABLES} == before
        assert store.links() == ()
        assert (matches(store, "xylophone"), matches(store, "dog")) == (0, 3)
        assert store.generation > generation
        with pytest.raises(NotFoundError):
            store.forget(gone.id)
    whole = (tmp_path / "library.sqlite").read_bytes()
    assert b"xylophone" not in whole
    assert b"dog runs" in whole


def test_a_whole_record_is_stored_from_what_was_exported() -> None:
    store, video = Store.in_memory(), samples.video()
    samples.fill(store, video, ["A dog runs.", "", "A cat."])
    record = store.story(video.id)
    copy = Store.in_memory()
    copy.put_record(record, "s")
    assert copy.story(video.id) == record
    stray = replace(record, captions=(replace(record.captions[0], clip_id="clip-stray"),))
    with pytest.raises(InputError, match="no clip of the story"):
        copy.put_record(stray, "s")


def test_the_generation_changes_with_stories_and_not_with_clips() -> None:
    store, video = Store.in_memory(), samples.video()
    samples.fill(store, video, ["A dog runs."])
    generation = store.generation
    store.put_clip("other", samples.clip_row(video, 0), captions_hash="c")
    store.record_path("/x", None, video.id)
    assert store.generation == generation


def test_search_reads_nodes_by_key_and_time() -> None:
    store, video = Store.in_memory(), samples.video()
    samples.fill(store, video, ["A dog runs.", "A cat.", "a  DOG runs", ""])
    indexed = store.indexed_nodes()
    rows = store.node_rows([node.key for node in indexed])
    assert [row.id for row in rows] == sorted(row.id for row in rows)
    assert "" not in [row.text for row in rows]
    by_text = {row.text: row for row in rows if row.level is Level.CLIP}
    assert store.node_rows([10**6]) == []
    dog = by_text["A dog runs."]
    assert [row.span.start_ms for row in store.same_text(dog, Level.CLIP)] == [0, 4000]
    assert [row.text for row in store.nodes_at(video.id, 2500, 4001, Level.CLIP)] == ["A cat.", "a  DOG runs"]
    assert store.ancestors(dog) == (f"scene-{video.id[:8]}", f"video-{video.id[:8]}")
    assert store.has_node(video.id, dog.id, dog.span)
    assert not store.has_node(video.id, dog.id, Span(0, 1999))
    found = store.vectors_of([dog.key, 10**6])
    assert found[dog.key].tolist() == samples.vectors(store.nodes(video.id))[dog.id].tolist()


def test_a_deleted_node_takes_its_words_along_even_by_hand() -> None:
    store = Store.in_memory()
    samples.fill(store, samples.video(), ["A dog runs."])
    with store.writing() as db:
        db.execute("DELETE FROM nodes")
    assert matches(store, "dog") == 0
    with pytest.raises(StoreError), store.writing() as db:
        db.execute("not sql")
    assert isinstance(store._db, sqlite3.Connection)
