"""Captions made elsewhere: as stories of their own, as additions to a built video, and whole stories."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.cli.commands import FILM, NO_READING, TALK, done, fdvs, stored, story_of
from tests.cli.conftest import TALK_LINES, World

BALL = {"video": FILM, "start_s": 5.0, "end_s": 12.0, "text": "A crimson sphere crosses the lawn."}


def write_lines(path: Path, *lines: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_captions_alone_make_a_story_with_gaps_as_outcomes(world: World) -> None:
    data = story_of(world.library, TALK)
    languages = {"speech": ["en"], "screen_text": []}
    assert data["video"] == {"name": TALK, "id": data["video"]["id"], "duration_s": 30.0, "languages": languages}
    told = [(one["start_s"], one["outcome"], one["reason"], one["text"], one["kind"]) for one in data["captions"]]
    assert told == [
        (0.0, "ok", "", "A woman in a red coat opens a wooden door.", "visual"),
        (4.0, "ok", "", "She explains how bees make honey.", "speech"),
        (9.0, "failed", "no caption", "", "visual"),
        (15.0, "ok", "", "A beekeeper lifts a frame out of a white hive.", "visual"),
        (21.5, "ok", "", "A beekeeper lifts a frame out of a white hive.", "visual"),
    ]
    assert "no vision model" not in done("story", TALK, "-L", world.library).out


def test_a_compressed_file_is_the_same_story(world: World, tmp_path: Path) -> None:
    packed = tmp_path / "talk.jsonl.gz"
    packed.write_bytes(gzip.compress(world.talk.read_bytes()))
    done("import", packed, "-L", tmp_path / "library")
    assert story_of(tmp_path / "library", TALK) == story_of(world.library, TALK)


@pytest.mark.parametrize(
    ("name", "head", "point", "kind"),
    [
        ("bees.en.srt", "", ",", "speech"),
        ("bees.vtt", "WEBVTT\n\n", ".", "speech"),
        ("bees.descriptions.en.vtt", "WEBVTT\n\n", ".", "visual"),
    ],
)
def test_subtitle_files_are_stories(tmp_path: Path, name: str, head: str, point: str, kind: str) -> None:
    cues = [("00:00:01", "00:00:03", "The bees leave the hive."), ("00:00:04", "00:00:06", "They find lavender.")]
    rows = [
        f"{number}\n{start}{point}000 --> {end}{point}500\n{text}\n"
        for number, (start, end, text) in enumerate(cues, 1)
    ]
    (tmp_path / name).write_text(head + "\n".join(rows))
    done("import", tmp_path / name, "-L", tmp_path / "library")
    data = story_of(tmp_path / "library", "bees")
    told = [(one["start_s"], one["end_s"], one["kind"], one["text"]) for one in data["captions"] if one["text"]]
    assert told == [(1.0, 3.5, kind, cues[0][2]), (4.0, 6.5, kind, cues[1][2])]


def test_an_exported_story_is_the_same_in_another_library(world: World, tmp_path: Path) -> None:
    for video in (FILM, TALK):
        bundle = tmp_path / f"{video}.json"
        done("export", video, "-o", bundle, "-L", world.library)
        rows = done("import", bundle, "--json", "-L", tmp_path / "library").json["videos"]
        assert [row["video"] for row in rows] == [video]
        assert done("export", video, "-L", tmp_path / "library").out == bundle.read_text()
    for row in done("status", "--json", "-L", tmp_path / "library").json["videos"]:
        assert (row["state"], row["path"]) == ("done", None)
        assert row["clips_done"] == row["clips_total"] > 0
    # Of one level: which level ranks first hangs on what else a library holds.
    query = ("search", "a ball rolling over the grass", "-k", "1", "--level", "clip", "--json", "-L")
    here, there = (done(*query, library).json["hits"][0] for library in (world.library, tmp_path / "library"))
    assert (here["node_id"], here["start_s"]) == (there["node_id"], there["start_s"])
    assert here["similarity"] == pytest.approx(there["similarity"], abs=1e-4)


def test_a_story_of_a_film_that_was_built_here_is_refused(world: World, own_library: Path, tmp_path: Path) -> None:
    done("build", world.films / FILM, "--profile", "paper", *NO_READING, "-L", tmp_path / "other")
    done("export", FILM, "-o", tmp_path / "story.json", "-L", tmp_path / "other")
    ended = fdvs("import", tmp_path / "story.json", "-L", own_library)
    assert ended.code == 1
    assert "was built here from the video itself; `fdvs forget` it first" in ended.out


def test_captions_are_added_to_a_built_video(world: World, own_library: Path, tmp_path: Path) -> None:
    before = story_of(own_library, FILM)
    added = write_lines(tmp_path / "vlm.jsonl", BALL)
    done("import", added, "--video", FILM, "-L", own_library)
    after = story_of(own_library, FILM)
    new = [one for one in after["captions"] if one not in before["captions"]]
    assert [(one["start_s"], one["end_s"], one["text"]) for one in new] == [(5.0, 12.0, BALL["text"])]
    assert [one for one in after["captions"] if one not in new] == before["captions"]
    best = done("search", "crimson sphere", "--json", "-L", own_library).json["hits"][0]
    assert (best["video"], best["start_s"]) == (FILM, 5.0)
    first = done("story", FILM, "-L", own_library).out
    assert "no vision model for 8 of 9 clips" in " ".join(first.split())
    assert str(BALL["text"]) in " ".join(first.split())


def test_a_video_whose_every_clip_has_an_added_caption_does_not_say_that_it_has_none(
    own_library: Path, tmp_path: Path
) -> None:
    clips = [node for node in story_of(own_library, FILM)["nodes"] if node["level"] == "clip"]
    lines = [{**BALL, "start_s": clip["start_s"], "end_s": clip["end_s"]} for clip in clips]
    done("import", write_lines(tmp_path / "vlm.jsonl", *lines), "--video", FILM, "-L", own_library)
    assert "no vision model" not in done("story", FILM, "-L", own_library).out


def test_added_captions_outlive_rebuilds_and_are_added_once(world: World, own_library: Path, tmp_path: Path) -> None:
    added = write_lines(tmp_path / "vlm.jsonl", BALL)
    done("import", added, "--video", FILM, "-L", own_library)
    once = story_of(own_library, FILM)
    done("import", added, "--video", FILM, "-L", own_library)
    assert story_of(own_library, FILM) == once
    kept = stored(own_library)
    summary = done("build", world.films, "--json", "-L", own_library).json["summary"]
    assert summary["skipped"] == 3  # a build with the same settings does nothing
    assert stored(own_library) == kept
    done("build", world.films, "--set", "story.sentences_per_scene=1", "-L", own_library)
    again = story_of(own_library, FILM)
    assert again["settings"]["story"]["sentences_per_scene"] == 1
    assert again["captions"] == once["captions"]
    done("build", world.films, "-L", own_library)
    assert story_of(own_library, FILM) == once


def test_a_caption_after_the_end_is_refused_and_changes_nothing(own_library: Path, tmp_path: Path) -> None:
    before = stored(own_library)
    late = write_lines(tmp_path / "late.jsonl", BALL, {**BALL, "start_s": 66.0, "end_s": 67.0})
    ended = fdvs("import", late, "--video", FILM, "-L", own_library)
    assert ended.code == 1
    assert f"a caption starts at 66.0 s, but {FILM} ends at 66.0 s; is it the right video?" in ended.out
    assert stored(own_library) == before


def test_bad_files_are_rows_and_the_good_ones_are_imported(world: World, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text(json.dumps(TALK_LINES[0]) + "\n{not json\n")
    ended = fdvs("import", broken, tmp_path / "gone.srt", world.talk, "--json", "-L", tmp_path / "library")
    assert ended.code == 3
    rows = ended.json["videos"]
    assert [(row["video"], row["state"], (row["error"] or {}).get("code")) for row in rows] == [
        ("broken.jsonl", "failed", "unreadable"),
        ("gone.srt", "failed", "not_found"),
        (TALK, "done", None),
    ]
    assert "broken.jsonl, line 2: not JSON" in rows[0]["error"]["message"]
    assert rows[1]["error"]["message"] == f"{tmp_path / 'gone.srt'} does not exist"
    assert fdvs("import", tmp_path / "gone.srt", "-L", tmp_path / "library").code == 1


def test_importing_again_changes_nothing(world: World, own_library: Path) -> None:
    before = stored(own_library)
    done("import", world.talk, "-L", own_library)
    assert stored(own_library) == before


def test_captions_for_an_unknown_video_are_1(world: World) -> None:
    ended = fdvs("import", world.talk, "--video", "nobody", "-L", world.library)
    assert ended.code == 1
    assert "no video 'nobody'" in ended.err
