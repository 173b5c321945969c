"""Killed at any moment and started again, a build ends as if nothing had happened; work done once is not done twice."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from fdvs.api import Library
from fdvs.batch.report import BuildReport
from fdvs.errors import NotFoundError
from fdvs.records import State
from fdvs.store.library import Store
from tests.batch.commands import (
    MANY_CLIPS,
    NO_READING,
    Running,
    Watched,
    assert_sound,
    exported,
    fdvs,
    is_alive,
    render_film,
    stopped_midway,
    stored_clips,
    wait_until,
)
from tests.batch.test_hostile_inputs import AS_USER, needs_setpriv
from tests.conftest import Once
from tests.media_files import render, x264

NAMES = ("one.mp4", "three.mp4", "two.mp4")
NUM_CLIPS = 285
KILLS = 8
ALWAYS = (NO_READING,)
PLAIN = ("--set", NO_READING)
MANY = (*PLAIN, "--set", MANY_CLIPS)
SUBTITLES = "1\n00:00:01,000 --> 00:00:03,000\nThe quick brown fox\n\n2\n00:00:09,000 --> 00:00:11,000\njumps high.\n"


@pytest.fixture(scope="session")
def films(once: Once) -> Path:
    """Three films of 100, 95 and 90 clips, one of them with subtitles."""

    def make(folder: Path) -> None:
        for number, name in enumerate(NAMES):
            render_film(folder / name, 10 * number)
        (folder / "two.srt").write_text(SUBTITLES)

    return once("resume-films", make)


@pytest.fixture(scope="session")
def uninterrupted(once: Once, films: Path) -> Path:
    """A library of the three films; tests copy it before they change anything."""

    return once("uninterrupted", lambda folder: build_whole(folder, films, *ALWAYS)) / "library"


def build_whole(folder: Path, films: Path, *always: str) -> None:
    report = Watched(folder / "library", films, always=always).build(MANY_CLIPS)
    assert (report.exit_code, report.done) == (0, 3)
    assert stored_clips(folder / "library") == NUM_CLIPS


@pytest.fixture(scope="session")
def two_small(once: Once) -> Path:
    """A folder with the library of two small films, and these films, which have moved since."""

    def make(folder: Path) -> None:
        films = folder / "films"
        films.mkdir()
        for number, name in enumerate(("a.mp4", "b.mp4")):
            render_film(films / name, number, seconds=8, size=(128, 72))
        watched = Watched(folder / "library", films, always=ALWAYS)
        assert watched.build().exit_code == 0
        assert sorted(watched.ends) == ["a.mp4", "b.mp4"]
        assert watched.decoded == watched.captioned == stored_clips(watched.library) > 2
        assert did(watched, watched.build()) == (0, [], 0, 0)
        films.rename(folder / "moved")

    return once("two-small-films", make)


@pytest.fixture
def small(two_small: Path, tmp_path: Path) -> Watched:
    """Two small films, built: copies, with a library that has found them again at their new place."""
    watched = Watched(tmp_path / "library", tmp_path / "films", always=ALWAYS)
    shutil.copytree(two_small / "library", watched.library)
    shutil.copytree(two_small / "moved", watched.inputs[0])
    with Library(watched.library, create=False) as library:
        mended, missing = library.relink(watched.inputs[0])
        assert (len(mended), missing) == (2, [])
    return watched


def did(watched: Watched, report: BuildReport) -> tuple[int, list[str], int, int]:
    """Exit code, videos that a worker was started for, clips decoded, clips captioned."""
    return report.exit_code, sorted(watched.ends), watched.decoded, watched.captioned


def stories(library: Path) -> dict[str, str]:
    """Every exported story, by the name of its video."""
    with Library(library, create=False) as opened:
        return {video.name: opened.story(video.id).render("json") for video in opened.videos()}


# ---------------------------------------------------------------------------------------------------------------------
# Killed


@pytest.mark.slow
def test_a_build_killed_again_and_again_ends_in_the_same_bytes(films: Path, tmp_path: Path) -> None:
    build_whole(tmp_path / "uninterrupted", films)
    elsewhere = tmp_path / "moved here"
    shutil.copytree(films, elsewhere)
    library = tmp_path / "library"
    dice = random.Random(20250711)
    # A build that was over before it could be killed proves nothing: then all kills come again, in a new library.
    while (kills := killed_often(elsewhere, library, dice)) is None:
        shutil.rmtree(library)
    assert len(kills) == KILLS
    assert sum(before > 0 for before in kills) >= 3
    with Running("build", elsewhere, "-L", library, "--set", MANY_CLIPS) as build:
        # And once while the last story is told, or just after it: the end of the block kills.
        wait_until(lambda: stored_clips(library) == NUM_CLIPS, unless=lambda: not build.runs)
    ended = fdvs("build", elsewhere, "-L", library, "--set", MANY_CLIPS, "--json")
    assert (ended.code, json.loads(ended.out)["summary"]["done"]) == (0, 3), ended.err
    assert_sound(library)
    assert stored_clips(library) == NUM_CLIPS
    assert exported(library, tmp_path / "out") == exported(tmp_path / "uninterrupted" / "library", tmp_path / "whole")


def killed_often(films: Path, library: Path, dice: random.Random) -> list[int] | None:
    """A build that was killed `KILLS` times, at once, while it starts, in clips and in stories.

    Returns:
        How many clips were stored when each kill came; None where the build ended before its kill.
    """
    kills: list[int] = []
    for _ in range(KILLS):
        with Running("build", films, "-L", library, "--set", MANY_CLIPS) as build:
            moment = (kills[-1] + dice.randrange(NUM_CLIPS // KILLS // 2)) if len(kills) > 1 else 0
            wait_until(lambda at=moment: stored_clips(library) >= at, unless=lambda: not build.runs)  # type: ignore[misc]
            time.sleep(dice.random() * 0.05)  # anywhere in a clip or a start
            kills.append(stored_clips(library))
            build.signal_group(signal.SIGKILL)
            if build.wait().code != -signal.SIGKILL:
                return None
        if kills[-1]:
            assert_sound(library)
    return kills


def test_workers_end_by_themselves_when_only_their_parent_is_killed(films: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"

    def kill_the_parent(build: Running) -> None:
        workers = build.workers()
        build.process.kill()
        build.process.wait()
        assert wait_until(lambda: not any(map(is_alive, workers)))

    arguments = ("build", films, "-L", library, "--set", MANY_CLIPS, "--jobs", "2")
    stopped_midway(arguments, library, NUM_CLIPS, kill_the_parent)
    assert stored_clips(library) > 0
    assert_sound(library)
    with Library(library, create=False) as opened:
        assert {row.state for row in opened.status()} <= {State.PENDING, State.DONE}


def test_two_builds_of_one_library_at_once_end_like_one(films: Path, uninterrupted: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    arguments = ("build", films, "-L", library, *MANY, "--jobs", "2", "--json")
    with Running(*arguments) as first, Running(*arguments) as second:
        ended = [first.wait(), second.wait()]
    assert [(one.code, "Traceback" in one.err) for one in ended] == [(0, False)] * 2
    for one in ended:
        assert [(row["state"], row["error"]) for row in one.rows.values()] == [("done", None)] * 3
    assert [row["state"] for row in fdvs("status", "-L", library, "--json").rows.values()] == ["done"] * 3
    assert_sound(library)
    assert stored_clips(library) == NUM_CLIPS
    assert stories(library) == stories(uninterrupted)


def test_one_content_under_two_paths_is_decoded_once(films: Path, tmp_path: Path) -> None:
    shutil.copy(films / "one.mp4", tmp_path / "copy.mp4")
    watched = Watched(tmp_path / "library", films / "one.mp4", tmp_path / "copy.mp4", always=ALWAYS)
    report = watched.build(MANY_CLIPS, "run.jobs=2")
    assert did(watched, report) == (0, ["copy.mp4", "one.mp4"], 100, 100)
    assert [(row.clips_done, row.clips_total) for row in report.rows] == [(100, 100)] * 2


# ---------------------------------------------------------------------------------------------------------------------
# Not done twice


def test_a_second_build_starts_no_worker(small: Watched) -> None:
    report = small.build()
    assert small.events == []
    assert (report.skipped, report.done, report.exit_code) == (2, 2, 0)


def test_another_story_setting_neither_decodes_nor_captions(small: Watched) -> None:
    before = stories(small.library)
    report = small.build("story.sentences_per_scene=1")
    assert did(small, report) == (0, ["a.mp4", "b.mp4"], 0, 0)
    after = stories(small.library)
    assert all(json.loads(after[name])["settings"]["story"]["sentences_per_scene"] == 1 for name in after)
    assert did(small, small.build()) == (0, ["a.mp4", "b.mp4"], 0, 0)
    assert stories(small.library) == before


def test_a_touched_file_is_read_and_not_decoded(small: Watched) -> None:
    os.utime(small.inputs[0] / "a.mp4", ns=(1, 1))
    assert did(small, small.build()) == (0, ["a.mp4"], 0, 0)
    assert did(small, small.build()) == (0, [], 0, 0)


def test_rehash_reads_every_file_and_decodes_none(small: Watched) -> None:
    assert did(small, small.build("run.rehash=true")) == (0, ["a.mp4", "b.mp4"], 0, 0)


def test_changed_content_is_built_anew_under_the_same_path(small: Watched) -> None:
    path = small.inputs[0] / "a.mp4"
    with Library(small.library, create=False) as library:
        old = library.story(str(path)).video.id
    render_film(path, 5, seconds=8, size=(128, 72))
    code, names, decoded, _ = did(small, small.build())
    assert (code, names) == (0, ["a.mp4"])
    assert decoded > 0
    with Library(small.library, create=False) as library:
        assert library.story(str(path)).video.id != old


def test_changed_subtitle_settings_and_files_caption_again_and_decode_nothing(small: Watched) -> None:
    clips = {name: len(clip_ids(small.library, name)) for name in ("a.mp4", "b.mp4")}
    every = sum(clips.values())
    assert did(small, small.build("captions.subtitles=off")) == (0, ["a.mp4", "b.mp4"], 0, every)
    assert did(small, small.build()) == (0, ["a.mp4", "b.mp4"], 0, 0)  # those captions are still there
    sidecar = small.inputs[0] / "a.srt"
    sidecar.write_text(SUBTITLES)
    assert did(small, small.build()) == (0, ["a.mp4"], 0, clips["a.mp4"])
    assert "quick brown fox" in stories(small.library)["a.mp4"]
    sidecar.write_text(SUBTITLES.replace("fox", "dog"))
    assert did(small, small.build()) == (0, ["a.mp4"], 0, clips["a.mp4"])
    assert "quick brown dog" in stories(small.library)["a.mp4"]
    sidecar.unlink()
    assert did(small, small.build()) == (0, ["a.mp4"], 0, 0)
    assert "quick brown" not in stories(small.library)["a.mp4"]


def clip_ids(library: Path, video: str) -> list[str]:
    with Library(library, create=False) as opened:
        return [node.id for node in opened.story(video).record.nodes if not node.children]


def test_clip_ids_are_equal_in_another_library_at_another_place_under_another_name(
    small: Watched, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    shutil.copy(small.inputs[0] / "a.mp4", other / "renamed.mkv")
    assert Watched(other / "library", other, always=ALWAYS).build().exit_code == 0
    assert clip_ids(other / "library", "renamed.mkv") == clip_ids(small.library, "a.mp4")
    told = [
        json.loads(stories(path)[name]) for path, name in ((small.library, "a.mp4"), (other / "library", "renamed.mkv"))
    ]
    assert [(story["nodes"], story["captions"]) for story in told[:1]] == [
        (story["nodes"], story["captions"]) for story in told[1:]
    ]


def test_a_renamed_file_is_the_same_video_without_being_decoded(small: Watched) -> None:
    (small.inputs[0] / "a.mp4").rename(small.inputs[0] / "c.mp4")
    assert did(small, small.build()) == (0, ["c.mp4"], 0, 0)
    with Library(small.library, create=False) as library:
        assert library.story("c.mp4").video.id == library.story(str(small.inputs[0] / "a.mp4")).video.id


def test_stages_can_be_built_one_by_one(tmp_path: Path) -> None:
    render_film(tmp_path / "a.mp4", 0, seconds=8, size=(128, 72))
    watched = Watched(tmp_path / "library", tmp_path / "a.mp4", always=ALWAYS)
    assert did(watched, watched.build(until="probe")) == (0, ["a.mp4"], 0, 0)
    assert did(watched, watched.build(until="clips")) == (0, ["a.mp4"], 0, 0)
    report = watched.build(until="frames")
    clips = watched.decoded
    assert did(watched, report) == (0, ["a.mp4"], clips, 0)
    assert clips == report.rows[0].clips_total == stored_clips(watched.library) > 0
    assert [row.state for row in report.rows] == [State.PENDING]
    assert did(watched, watched.build(until="frames")) == (0, ["a.mp4"], 0, 0)
    assert did(watched, watched.build(until="captions")) == (0, ["a.mp4"], 0, clips)
    report = watched.build()
    assert did(watched, report) == (0, ["a.mp4"], 0, 0)
    assert [(row.state, row.clips_done) for row in report.rows] == [(State.DONE, clips)]


@pytest.mark.parametrize("until", ["probe", "clips", "frames", "captions"])
def test_a_stage_of_a_video_that_is_done_leaves_it_done(small: Watched, until: str) -> None:
    before = fdvs("status", "-L", small.library, "--json").rows
    ended = fdvs("build", *small.inputs, "-L", small.library, *PLAIN, "--until", until, "--json")
    assert (ended.code, ended.rows) == (0, before)
    assert did(small, small.build()) == (0, [], 0, 0)


# ---------------------------------------------------------------------------------------------------------------------
# Forgotten, moved


def test_a_forgotten_video_leaves_nothing_and_can_be_built_again(small: Watched, tmp_path: Path) -> None:
    before = stories(small.library)
    sidecar = small.inputs[0] / "a.srt"
    sidecar.write_text("1\n00:00:01,000 --> 00:00:03,000\nxylophone zeppelin\n")
    assert small.build().exit_code == 0
    with Library(small.library, create=False) as library:
        video_id = library.story("a.mp4").video.id
        assert library.search("xylophone zeppelin", k=1)[0].video == "a.mp4"
        clips = clip_ids(small.library, "a.mp4")
        thumbnails = {path.stem for path in (small.library / "thumbs").iterdir()}
        assert thumbnails >= set(clips)
        assert library.forget("a.mp4") == "a.mp4"
        assert not [hit for hit in library.search("xylophone zeppelin", k=50) if hit.video_id == video_id]
        with pytest.raises(NotFoundError):
            library.story("a.mp4")
        assert [row.video for row in library.status()] == ["b.mp4"]
    assert not {path.stem for path in (small.library / "thumbs").iterdir()} & set(clips)
    for path in small.library.rglob("*"):  # neither its words nor its id are in any file
        if path.is_file():
            data = path.read_bytes()
            assert b"xylophone" not in data, path
            assert video_id.encode() not in data, path
    sidecar.unlink()
    report = small.build()
    assert did(small, report) == (0, ["a.mp4"], len(clips), len(clips))
    assert stories(small.library) == before


def test_moved_videos_are_found_again_by_their_content(small: Watched, tmp_path: Path) -> None:
    before = stories(small.library)
    moved = tmp_path / "moved"
    small.inputs[0].rename(moved)
    (moved / "b.mp4").rename(moved / os.fsdecode(b"odd \xff\n.mp4"))
    ended = fdvs("relink", moved, "-L", small.library)
    assert (ended.code, ended.err) == (0, "2 paths mended, 0 still missing\n")
    assert len(ended.out.splitlines()) == 2
    again = Watched(small.library, moved, always=ALWAYS)
    report = again.build()
    assert did(again, report) == (0, [], 0, 0)
    assert report.done == 2
    assert stories(small.library)["a.mp4"] == before["a.mp4"]
    (moved / "a.mp4").unlink()
    ended = fdvs("relink", moved, "-L", small.library)
    assert ended.code == 1
    assert "still missing" in ended.out


def test_a_moved_library_reads_searches_and_goes_on(small: Watched, tmp_path: Path) -> None:
    before = stories(small.library)
    with Library(small.library, create=False) as library:
        hits = library.search("fast movement", k=5)
    assert hits
    moved = tmp_path / "somewhere" / "else"
    moved.parent.mkdir()
    small.library.rename(moved)
    assert stories(moved) == before
    with Library(moved, create=False) as library:
        assert library.search("fast movement", k=5) == hits
    again = Watched(moved, *small.inputs, always=ALWAYS)
    assert did(again, again.build()) == (0, [], 0, 0)


# ---------------------------------------------------------------------------------------------------------------------
# A disk that is full, a folder that cannot be written


def limited(kilobytes: int) -> tuple[str, ...]:
    """What is put in front of a command so that no file it writes can grow beyond a size, as on a full disk."""
    limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes * 1024}, {resource.RLIM_INFINITY}))"
    code = f"import os, resource, sys; {limit}; os.execv(sys.argv[1], sys.argv[1:])"
    return sys.executable, "-c", code


@pytest.mark.parametrize("kilobytes", [1, 40, 200, 400])
def test_a_full_disk_is_said_and_breaks_nothing(
    kilobytes: int, films: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    arguments = ("build", films / "two.mp4", "-L", library, *MANY)
    ended = fdvs(*arguments, before=limited(kilobytes))
    assert ended.code == 1
    assert "Traceback" not in ended.err
    said = ended.err + ended.out
    assert any(word in said for word in ("full", "disk I/O", "too large")), said
    before = stored_clips(library)
    if before:
        assert_sound(library)
    ended = fdvs(*arguments, "--retry-failed", "--json")
    assert ended.code == 0, ended.err
    assert stories(library)["two.mp4"] == stories(uninterrupted)["two.mp4"]


@needs_setpriv
def test_a_library_that_cannot_be_written_can_be_read_and_says_why_it_cannot_grow(
    small: Watched, tmp_path: Path
) -> None:
    new = tmp_path / "new.mp4"
    render(new, x264(num_frames=10))
    everything = [small.library, *small.library.rglob("*")]
    modes = [path.stat().st_mode for path in everything]
    try:
        for path in everything:
            path.chmod(0o555 if path.is_dir() else 0o444)
        told = fdvs("story", "a.mp4", "-L", small.library, before=AS_USER)
        assert (told.code, "a.mp4" in told.out) == (0, True), told.err
        found = fdvs("search", "fast movement", "-L", small.library, "--json", before=AS_USER)
        assert found.code == 0, found.err
        assert json.loads(found.out)["hits"]
        asked = fdvs("ask", "What moves?", "-L", small.library, "--json", before=AS_USER)
        assert asked.code == 0, asked.err
        listed = fdvs("status", "-L", small.library, "--json", before=AS_USER)
        assert [row["state"] for row in listed.rows.values()] == ["done", "done"]
        out = fdvs("export", "--all", "-L", small.library, "-o", tmp_path / "out", before=AS_USER)
        assert out.code == 0, out.err
        for command in (("build", new), ("forget", "a.mp4")):
            refused = fdvs(*command, "-L", small.library, before=AS_USER)
            assert (refused.code, "Traceback" in refused.err) == (1, False)
            assert str(small.library) in refused.err
            assert any(word in refused.err.lower() for word in ("readonly", "reading only", "permission"))
    finally:
        for path, mode in zip(everything, modes, strict=True):
            path.chmod(mode)
    assert Watched(small.library, new, always=ALWAYS).build().exit_code == 0


def test_a_library_in_an_impossible_place_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    render(tmp_path / "a.mp4", x264(num_frames=5))
    ended = fdvs("build", tmp_path / "a.mp4", "-L", tmp_path / "file" / "library")
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "library.sqlite").write_text("not a database, but long enough to look at " * 50)
    ended = fdvs("build", tmp_path / "a.mp4", "-L", tmp_path / "library")
    assert (ended.code, "Traceback" in ended.err) == (1, False)


def test_a_path_that_failed_under_a_running_store_keeps_what_was_known(small: Watched) -> None:
    """A file that cannot be read for once is not forgotten: its story stays, and it is done again without decoding."""
    path = small.inputs[0] / "a.mp4"
    away = path.with_suffix(".away")
    path.rename(away)
    watched = Watched(small.library, path, always=ALWAYS)
    assert watched.build().rows[0].code == "not_found"
    with Store.open(small.library, create=False) as store:
        assert {video.name for video in store.videos()} == {"a.mp4", "b.mp4"}
    away.rename(path)
    assert did(watched, watched.build()) == (0, ["a.mp4"], 0, 0)
