from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fdvs.errors import AmbiguousError, InputError, NotFoundError
from fdvs.records import Probe, State, Video
from fdvs.store.library import Store
from fdvs.store.paths import Fingerprint, PathError
from tests.store import samples

HUGE = Fingerprint(device=2**64 - 1, inode=2**64 - 2, size_bytes=3, mtime_ns=-5)


def test_one_video_under_two_paths_has_two_rows(tmp_path: Path) -> None:
    store = Store.in_memory()
    store.put_video(Video("v", "a.mp4", 10))
    for name in ("b.mp4", "a.mp4"):
        store.record_path(tmp_path / name, HUGE, "v", state=State.DONE, warnings=["odd"])
    assert store.paths_of("v") == (str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4"))
    assert [video.id for video in store.videos()] == ["v"]
    assert store.video("v").paths == store.paths_of("v")
    row = store.find_path(tmp_path / "x" / ".." / "b.mp4")
    assert row is not None
    assert (row.fingerprint, row.video_id, row.state, row.warnings) == (HUGE, "v", State.DONE, ("odd",))


def test_paths_are_stored_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store.in_memory()
    store.record_path("a.mp4")
    assert store.path_rows()[0].path == str(tmp_path / "a.mp4")
    assert store.find_path(tmp_path / "a.mp4") == store.find_path("./a.mp4")


def test_recording_a_path_again_replaces_all_that_was_known() -> None:
    store = Store.in_memory()
    store.record_path("/x", None, state=State.FAILED, error=PathError("empty_file", "it is empty"))
    store.record_path("/x", HUGE)
    row = store.find_path("/x")
    assert row is not None
    assert (row.state, row.error, row.fingerprint) == (State.PENDING, None, HUGE)


def test_an_unknown_status_code_is_refused() -> None:
    with pytest.raises(InputError, match="known: crashed"):
        PathError("boom", "")


def test_a_file_name_that_is_not_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    store = Store.open(tmp_path, create=True)
    store.put_video(Video("v" * 8, name, 1))
    store.record_path(tmp_path / name, HUGE, "v" * 8)
    store.close()
    with Store.open(tmp_path, create=False, readonly=True) as again:
        assert again.resolve_video(name).name == name
        assert again.paths_of("v" * 8) == (str(tmp_path / name),)
        assert again.find_path(tmp_path / name) is not None
        assert again.find_path(tmp_path / "café.mp4") is None
        assert json.dumps(again.status_rows())


def test_a_renamed_file_is_recognised_by_its_fingerprint(tmp_path: Path) -> None:
    old, new = tmp_path / "old.mp4", tmp_path / "new.mp4"
    old.write_bytes(b"bytes")
    store = Store.in_memory()
    store.put_video(Video("v", "old.mp4", 1))
    store.record_path(old, Fingerprint.of(old))
    assert store.find_fingerprint(Fingerprint.of(old)) is None, "its bytes were not hashed yet"
    store.record_path(old, Fingerprint.of(old), "v")
    old.rename(new)
    found = store.find_fingerprint(Fingerprint.of(new))
    assert found is not None
    assert found.video_id == "v"
    new.write_bytes(b"other bytes")
    assert store.find_fingerprint(Fingerprint.of(new)) is None


def test_relink_replaces_lost_paths_and_keeps_those_that_exist(tmp_path: Path) -> None:
    here, moved = tmp_path / "here.mp4", tmp_path / "moved.mp4"
    here.write_bytes(b"1")
    moved.write_bytes(b"1")
    store = Store.in_memory()
    for video_id in ("v", "w"):
        store.put_video(Video(video_id, "a.mp4", 1))
    store.record_path(here, Fingerprint.of(here), "v", state=State.DONE)
    store.record_path(tmp_path / "gone.mp4", HUGE, "v", state=State.DONE, warnings=["kept"])
    assert store.relink({"v": moved, "not in the library": here}) == ["v"]
    assert store.paths_of("v") == (str(here), str(moved))
    row = store.find_path(moved)
    assert row is not None
    assert (row.state, row.fingerprint) == (State.DONE, Fingerprint.of(moved))
    assert store.relink({"v": moved}) == []
    assert store.relink({"w": here}) == ["w"], "a path whose bytes changed belongs to the other video now"
    assert store.paths_of("v") == (str(moved),)


def test_a_video_comes_back_as_it_was_stored() -> None:
    probe = Probe(
        container="mov", codec="h264", pixel_format="yuv420p", width=4, height=3, rotation_deg=90, bit_depth=8,
        transfer="bt709", stream_index=0, stream_choice="first", time_base="1/30000", start_time_s=1.48,
        duration_ms=13000, num_frames=325, num_keyframes=2, mean_fps=29.97, streams=("a", "b"), warnings=("c",),
    )  # fmt: skip
    store = Store.in_memory()
    store.put_video(Video("v", "a.mp4", 13000, 99, probe))
    assert store.video("v") == Video("v", "a.mp4", 13000, 99, probe)
    store.put_video(Video("v", "renamed.mp4", 13000, 99))
    assert store.video("v") == Video("v", "renamed.mp4", 13000, 99, probe), "what is known is not unlearned"


@pytest.fixture
def two_talks() -> Store:
    store = Store.in_memory()
    for video_id, path in (("abcd1111", "/one/talk.mp4"), ("abcd2222", "/two/talk.mp4"), ("beef", "/two/face")):
        store.put_video(Video(video_id, Path(path).name, 1))
        store.record_path(path, None, video_id)
    store.record_path("/three/other-name.mp4", None, "beef")
    return store


@pytest.mark.parametrize(
    ("name", "video_id"),
    [
        ("abcd1111", "abcd1111"),
        ("abcd2", "abcd2222"),
        ("/two/talk.mp4", "abcd2222"),
        ("/two/../one/talk.mp4", "abcd1111"),
        ("face", "beef"),
        ("other-name.mp4", "beef"),
        ("beef", "beef"),
    ],
)
def test_a_video_is_named_by_id_path_file_name_or_prefix(two_talks: Store, name: str, video_id: str) -> None:
    assert two_talks.resolve_video(name).id == video_id


@pytest.mark.parametrize("name", ["talk.mp4", "abcd"])
def test_an_ambiguous_name_lists_the_candidates(two_talks: Store, name: str) -> None:
    with pytest.raises(AmbiguousError, match="fits 2 videos") as caught:
        two_talks.resolve_video(name)
    assert "/one/talk.mp4" in str(caught.value)
    assert "abcd2222" in str(caught.value)


@pytest.mark.parametrize("name", ["", "abc", "nothing.mp4", "%", "ab_d1", "\ud83d????", "'; DROP TABLE videos; --"])
def test_a_name_that_fits_nothing_is_not_found(two_talks: Store, name: str) -> None:
    with pytest.raises(NotFoundError, match="no video"):
        two_talks.resolve_video(name)


def test_status_counts_the_clips_of_the_current_plan() -> None:
    store = Store.in_memory()
    video = samples.video(num_clips=3)
    store.put_video(video)
    store.record_path("/a.mp4", HUGE, video.id, state=State.RUNNING)
    store.record_path("/bad.mp4", state=State.FAILED, error=PathError("not_media", "no video"), warnings=["w"])
    store.plan_video(video.id, "clips-2", "captions-2", clips_total=3)
    store.put_clip("clips-2", samples.clip_row(video, 0), captions_hash="captions-2")
    store.put_clip("clips-2", samples.clip_row(video, 1), captions_hash="captions-1")
    store.put_clip("clips-1", samples.clip_row(video, 2), captions_hash="captions-2")
    good, bad = store.status_rows()
    assert good == {
        "video": "a.mp4", "path": "/a.mp4", "video_id": video.id, "state": "running", "clips_done": 1,
        "clips_total": 3, "warnings": [], "error": None,
    }  # fmt: skip
    assert bad == {
        "video": "bad.mp4", "path": "/bad.mp4", "video_id": None, "state": "failed", "clips_done": 0,
        "clips_total": None, "warnings": ["w"], "error": {"code": "not_media", "message": "no video"},
    }  # fmt: skip


def test_status_lists_videos_without_a_path() -> None:
    store = Store.in_memory()
    samples.fill(store, samples.video("captions.jsonl"), ["A dog."])
    store.put_video(Video("w", "bare", 1))
    assert [(row["video"], row["path"], row["state"]) for row in store.status_rows()] == [
        ("bare", None, "pending"),
        ("captions.jsonl", None, "done"),
    ]


def test_a_stage_is_done_only_for_the_settings_it_was_done_with() -> None:
    store = Store.in_memory()
    store.put_video(Video("v", "a", 1))
    store.mark_stage("v", "clips", "one")
    store.mark_stage("v", "clips", "one")
    assert store.stage_done("v", "clips", "one")
    assert not store.stage_done("v", "clips", "two")
    assert not store.stage_done("v", "captions", "one")
