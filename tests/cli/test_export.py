"""Stories as files: the same bytes every time, nothing of the machine or the hour, safe Markdown."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fdvs.api import Library
from tests.cli.commands import FILM, STORY_SCHEMA, TALK, TWIN, done, fdvs
from tests.cli.conftest import World


def test_all_stories_are_written_once_each_and_twins_get_their_id(world: World, tmp_path: Path) -> None:
    ended = done("export", "--all", "-o", tmp_path / "out", "-L", world.library)
    assert ended.out == ""
    assert "wrote 4 stories" in ended.err
    with Library(world.library, create=False) as library:
        ids = sorted(video.id for video in library.videos() if video.name == TWIN)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"a_day_at_the_lake.json", f"{TALK}.json", *(f"twin-{video_id[:8]}.json" for video_id in ids)}
    for path in (tmp_path / "out").iterdir():
        STORY_SCHEMA.validate(json.loads(path.read_text()))


def test_two_exports_are_equal_bytes_without_time_of_day_and_paths(world: World, tmp_path: Path) -> None:
    for form in ("json", "md"):
        for folder in ("first", "second"):
            done("export", "--all", "--format", form, "-o", tmp_path / folder, "-L", world.library)
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("first", "second"))
    assert len(first) == 8
    assert first == second
    for text in (data.decode() for data in first.values()):
        assert str(world.films.parent) not in text
        assert "/tmp" not in text
        assert not re.search(r"\b20\d\d-\d\d-\d\d|\d\d:\d\d:\d\dZ", text)


def test_a_library_made_elsewhere_gives_the_same_file(world: World, own_films: Path, tmp_path: Path) -> None:
    done("build", own_films, "-L", tmp_path / "elsewhere")
    there = done("export", FILM, "-L", tmp_path / "elsewhere").out
    assert there == done("export", FILM, "-L", world.library).out


def test_one_story_goes_to_stdout_or_to_a_file(world: World, tmp_path: Path) -> None:
    for form in ("json", "md"):
        shown = done("export", FILM, "--format", form, "-L", world.library).out
        target = tmp_path / "deep" / f"story.{form}"
        assert done("export", FILM, "--format", form, "-o", target, "-L", world.library).out == ""
        assert target.read_text() == shown == done("story", FILM, "--format", form, "-L", world.library).out


def test_untrusted_text_is_plain_in_markdown_and_harmless_in_file_names(tmp_path: Path) -> None:
    text = "<script>alert(1)</script> [here](https://evil.example) `code` | a cell"
    evil = tmp_path / "evil.jsonl"
    evil.write_text(json.dumps({"video": "../<b>: a film?", "start_s": 0, "end_s": 3, "text": text}) + "\n")
    library = tmp_path / "library"
    done("import", evil, "-L", library)
    done("export", "--all", "--format", "md", "-o", tmp_path / "out", "-L", library)
    (written,) = (tmp_path / "out").iterdir()
    assert written.name == "_b_ a film_.md"
    shown = written.read_text()
    assert r"\<script\>alert(1)\</script\>" in shown
    assert not re.search(r"(?<!\\)[<>\[\]`|]", shown)
    assert "https://" not in shown


def test_nothing_to_export_is_1(own_library: Path, tmp_path: Path) -> None:
    for row in done("status", "--json", "-L", own_library).json["videos"]:
        done("forget", row["video_id"], "-L", own_library)
    ended = fdvs("export", "--all", "-o", tmp_path / "out", "-L", own_library)
    assert ended.code == 1
    assert "no stories yet" in ended.err
