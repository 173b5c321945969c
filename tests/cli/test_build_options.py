"""`fdvs build`: dry runs, stages, the paper's profile, settings from every place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.commands import FILM, NO_READING, done, fdvs, stored, story_of
from tests.cli.conftest import World


def test_a_dry_run_writes_nothing_and_says_what_would_be_done(world: World, tmp_path: Path) -> None:
    ended = done("build", world.films, "--dry-run", "-L", tmp_path / "library")
    assert not (tmp_path / "library").exists()
    assert f"{FILM}  pending  0/9 clips" in ended.out
    assert "3 to build, 0 done already, 0 cannot be read; nothing was written" in ended.out


def test_a_dry_run_knows_what_is_done(world: World, own_library: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    shutil.copy(world.films / FILM, tmp_path / "new" / "copy.mp4")
    before = stored(own_library)
    data = done("build", world.films, tmp_path / "new", "--dry-run", "--json", "-L", own_library).json
    states = {row["path"]: row["state"] for row in data["videos"]}
    assert states.pop(str(tmp_path / "new" / "copy.mp4")) == "pending"
    assert set(states.values()) == {"done"}
    assert data["summary"]["skipped"] == 3
    other = done("build", world.films, "--dry-run", "--set", "story.max_children=5", "-L", own_library)
    assert "3 to build, 0 done already" in other.out
    assert stored(own_library) == before


@pytest.mark.parametrize("until", ["probe", "clips", "frames", "captions"])
def test_until_stops_there_and_a_later_build_goes_on(world: World, tmp_path: Path, until: str) -> None:
    library = tmp_path / "library"
    ended = done("build", world.films / "one", "--until", until, *NO_READING, "-L", library)
    assert f"1 stopped after {until}, 0 failed" in ended.out
    assert "Read on" not in ended.out
    (row,) = done("status", "--json", "-L", library).json["videos"]
    assert row["state"] == "pending"
    told = fdvs("story", row["video_id"], "-L", library)
    assert told.code == 1
    assert "has no story yet; `fdvs build` writes it" in told.err
    again = done("build", world.films / "one", *NO_READING, "--json", "-L", library)
    assert again.json["summary"]["done"] == 1
    done("story", row["video_id"], "-L", library)


def test_a_second_build_does_nothing(world: World, own_library: Path) -> None:
    before = stored(own_library)
    summary = done("build", world.films, "--json", "-L", own_library).json["summary"]
    assert (summary["done"], summary["skipped"], summary["failed"]) == (3, 3, 0)
    assert stored(own_library) == before


def test_profile_paper_has_a_chapter_per_clip_and_no_scenes(world: World, tmp_path: Path) -> None:
    done("build", world.films / FILM, "--profile", "paper", *NO_READING, "-L", tmp_path / "library")
    data = story_of(tmp_path / "library", FILM)
    levels = [node["level"] for node in data["nodes"]]
    assert set(levels) == {"clip", "chapter", "video"}
    assert levels.count("clip") == levels.count("chapter") == 10
    assert data["settings"]["profile"] == "paper"
    assert data["settings"]["story"]["levels"] == "paper"
    assert data["settings"]["frames"]["rule"] == "mean_similarity"
    assert data["settings"]["clips"]["max_clip_s"] == 0
    report = done("redundancy", FILM, "--json", "-L", tmp_path / "library").json
    assert {item["rule"] for item in report["removed"] if item["id"].startswith("frame-")} == {"mean_similarity"}
    assert "10 chapters" in done("story", FILM, "-L", tmp_path / "library").out


def max_clip_s(library: Path) -> float:
    value: float = story_of(library, "twin.mp4")["settings"]["clips"]["max_clip_s"]
    return value


def test_a_flag_wins_over_a_variable_over_the_file_over_the_default(world: World, tmp_path: Path) -> None:
    library = tmp_path / "library"
    film = world.films / "one"
    done("build", film, *NO_READING, "-L", library)
    assert max_clip_s(library) == 10.0
    (library / "fdvs.toml").write_text("[clips]\nmax_clip_s = 5.0\n")
    done("build", film, *NO_READING, "-L", library)
    assert max_clip_s(library) == 5.0
    variable = {"FDVS_CLIPS_MAX_CLIP_S": "4"}
    done("build", film, *NO_READING, "-L", library, env=variable)
    assert max_clip_s(library) == 4.0
    done("build", film, *NO_READING, "--set", "clips.max_clip_s=3", "-L", library, env=variable)
    assert max_clip_s(library) == 3.0


def test_a_named_option_wins_over_a_variable_and_set_over_both(world: World, tmp_path: Path) -> None:
    def frames(*flags: str) -> str:
        variable = {"FDVS_CLIPS_FRAMES": "keyframes"}
        done("build", world.films / "one", *NO_READING, *flags, "-L", tmp_path / "library", env=variable)
        value: str = story_of(tmp_path / "library", "twin.mp4")["settings"]["clips"]["frames"]
        return value

    assert frames() == "keyframes"
    assert frames("--frames", "sampled") == "sampled"
    assert frames("--frames", "sampled", "--set", "clips.frames=keyframes") == "keyframes"


def test_a_bad_settings_file_is_named(world: World, own_library: Path) -> None:
    (own_library / "fdvs.toml").write_text("[clips]\nlunch = 1\n")
    ended = fdvs("build", world.films, "-L", own_library)
    assert ended.code == 2
    assert "unknown setting clips.lunch" in ended.err
    (own_library / "fdvs.toml").write_text("clips = [")
    ended = fdvs("build", world.films, "-L", own_library)
    assert ended.code == 2
    assert "fdvs.toml is not valid TOML" in ended.err


def test_auto_says_what_it_chose_and_the_story_stays_honest(world: World, own_library: Path) -> None:
    again = fdvs("build", world.films / FILM, "-L", own_library, "--captioner", "auto", "--json")
    assert again.code == 0
    assert "captioner auto: builtin, because" in again.err
    assert json.loads(again.out)["summary"]["skipped"] == 1  # the same settings as those it was built with
    assert "no vision model" in fdvs("story", FILM, "-L", own_library).out
