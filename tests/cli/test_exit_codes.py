"""0 done, 1 nothing could be done, 2 wrong usage, 3 some inputs failed; and every message says what helps."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.commands import FILM, NO_READING, done, fdvs, stored
from tests.cli.conftest import World


@pytest.mark.parametrize(
    ("arguments", "known"),
    [
        (["build", "x.mp4", "--captioner", "nobody"], ["captioner 'nobody'", "auto, builtin"]),
        (["build", "x.mp4", "--writer", "nobody"], ["writer 'nobody'", "auto, builtin"]),
        (["build", "x.mp4", "--text-embedder", "nobody"], ["text encoder 'nobody'", "minilm", "sentence-transformers"]),
        (["build", "x.mp4", "--set", "frames.image_embedder=nobody"], ["picture encoder 'nobody'", "builtin"]),
        (["build", "x.mp4", "--set", "run.decoder=nobody"], ["decoder 'nobody'", "decord", "pyav"]),
        (["build", "x.mp4", "--profile", "nobody"], ["profile 'nobody'", "default, paper"]),
        (["build", "x.mp4", "--engine", "ray"], ["engine 'ray'", "local"]),
        (["build", "x.mp4", "--until", "lunch"], ["'lunch'", "probe, clips, frames, captions, story"]),
        (["build", "x.mp4", "--frames", "all"], ["clips.frames", "sampled, keyframes", "'all'"]),
        (["build", "x.mp4", "--set", "clips.lunch=1"], ["clips.lunch", "clips.min_clip_s, clips.max_clip_s"]),
        (
            ["build", "x.mp4", "--set", "lunch.time=1"],
            ["'lunch'", "clips, frames, captions, story, answers, limits, run"],
        ),
        (["build", "x.mp4", "--set", "clips.max_clip_s"], ["stage.key=value"]),
        (["build", "x.mp4", "--set", "clips.max_clip_s=long"], ["clips.max_clip_s must be a number", "'long'"]),
        (["build", "x.mp4", "--set", "clips.max_clip_s=1"], ["clips.max_clip_s (1.0)", "clips.min_clip_s (2.0)"]),
        (["search", "red", "--level", "word"], ["level 'word'", "any, clip, scene, chapter, part, video"]),
        (["search", " "], ["the query is empty"]),
        (["ask", "What?", "--option", "one"], ["two or more options"]),
        (["ask", "What?", "--reader", "nobody"], ["reader 'nobody'", "builtin"]),
        (["story", FILM, "--format", "pdf"], ["format 'pdf'", "tree, md, json"]),
        (["export", FILM, "--format", "pdf"], ["format 'pdf'", "json, md"]),
        (["export"], ["one VIDEO, or --all"]),
        (["export", FILM, "--all"], ["one VIDEO, or --all"]),
        (["export", "--all"], ["-o FOLDER"]),
        (["redundancy"], ["one VIDEO, or --all"]),
        (["redundancy", FILM, "--all"], ["one VIDEO, or --all"]),
        (["search", "red", "-k", "0"], ["-k"]),
        (["build"], ["INPUT"]),
        (["lunch"], ["lunch"]),
    ],
)
def test_wrong_usage_is_2_and_lists_what_is_known(world: World, arguments: list[str], known: list[str]) -> None:
    before = stored(world.library)
    library = [] if arguments == ["lunch"] else ["-L", str(world.library)]
    ended = fdvs(*arguments, *library)
    assert ended.code == 2
    assert ended.out == ""
    for text in known:
        assert text in ended.err
    assert stored(world.library) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["story", FILM],
        ["search", "red"],
        ["ask", "What?"],
        ["redundancy", "--all"],
        ["export", FILM],
        ["forget", FILM],
        ["relink", "."],
        ["import", "TALK", "--video", FILM],
    ],
)
def test_no_library_is_1_and_names_the_command_that_makes_one(
    world: World, tmp_path: Path, arguments: list[str]
) -> None:
    given = [str(world.talk) if one == "TALK" else one for one in arguments]
    ended = fdvs(*given, "-L", tmp_path / "none")
    assert ended.code == 1
    assert ended.out == ""
    assert f"no library in {tmp_path / 'none'}" in ended.err
    assert "`fdvs build` makes one" in ended.err
    assert not (tmp_path / "none").exists()


def test_an_empty_folder_is_1_and_makes_no_library(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no film")
    for as_json in ([], ["--json"]):
        ended = fdvs("build", tmp_path / "empty", "-L", tmp_path / "library", *as_json)
        assert ended.code == 1
        assert "no videos found; name video files, or folders that hold some" in ended.err
    assert not (tmp_path / "library").exists()


def test_an_input_that_does_not_exist_is_one_failed_row(tmp_path: Path) -> None:
    ended = fdvs("build", tmp_path / "gone.mp4", "-L", tmp_path / "library")
    assert ended.code == 1
    assert "gone.mp4  failed   not_found" in ended.out
    assert f"{tmp_path / 'gone.mp4'} does not exist" in ended.out
    assert "--retry-failed" in ended.err


def test_failures_are_3_beside_successes_and_stay_3_until_mended(own_films: Path, tmp_path: Path) -> None:
    shutil.rmtree(own_films / "two")
    broken = own_films / "one" / "broken.mp4"
    broken.write_bytes(b"")
    inputs = (own_films / "one", *NO_READING, "-L", tmp_path / "library")
    assert fdvs("build", *inputs).code == 3
    again = fdvs("build", *inputs, "--json")
    assert again.code == 3
    assert again.json["summary"]["skipped"] == 1
    assert fdvs("build", broken, *NO_READING, "-L", tmp_path / "library").code == 1
    assert done("status", "-L", tmp_path / "library").out.count("empty_file") == 1
    broken.unlink()
    done("build", *inputs)


def test_an_unknown_video_is_1_and_says_how_videos_are_named(world: World) -> None:
    for arguments in (["story"], ["search", "red", "--video"], ["ask", "What?", "--video"]):
        ended = fdvs(*arguments, "nobody", "-L", world.library)
        assert ended.code == 1
        assert "no video 'nobody'" in ended.err
        assert "`fdvs status` lists them" in ended.err


def test_no_hit_and_an_empty_library_are_0(world: World, own_library: Path) -> None:
    ended = done("search", "accordion", "--min-similarity", "0.99", "-L", world.library)
    assert ended.out == "No moment fits.\n"
    for row in done("status", "--json", "-L", own_library).json["videos"]:
        done("forget", row["video_id"], "-L", own_library)
    assert done("status", "-L", own_library).out == "The library is empty.\n"
    assert done("search", "red", "-L", own_library).out == "The library is empty.\n"
    assert done("search", "red", "--json", "-L", own_library).json["hits"] == []
    assert done("ask", "What is red?", "--json", "-L", own_library).json["abstained"] is True


def test_a_missing_reader_of_screen_text_is_said_before_any_work(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fdvs.batch.build.find_spec", lambda name: None)
    ended = fdvs("build", world.films, "-L", tmp_path / "library")
    assert ended.code == 1
    assert "needs rapidocr: pip install rapidocr, or use --screen-text off" in ended.err
    assert fdvs("build", world.films, "--screen-text", "off", "--dry-run", "-L", tmp_path / "library").code == 0
