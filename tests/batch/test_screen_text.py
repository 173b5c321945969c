"""What is written in a film, from the file to the story; switched on later, interrupted, and told again."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from fdvs.api import Library
from fdvs.demo.film import DemoFilm
from fdvs.records import CaptionKind, Level
from tests.batch.commands import Running, Watched, exported, fdvs, stopped_midway, stored_clips, wait_until
from tests.conftest import Once


@pytest.fixture(scope="session")
def film(demo: DemoFilm) -> Path:
    return demo.path


@pytest.fixture(scope="session")
def built(once: Once, film: Path) -> Path:
    def make(folder: Path) -> None:
        assert Watched(folder / "library", film).build().exit_code == 0

    return once("screen-text-built", make) / "library"


def written(library: Path) -> list[tuple[int, str]]:
    """(time, text) of all captions of on-screen text."""
    with Library(library, create=False) as opened:
        (video,) = opened.videos()
        captions = opened.story(video.id).record.captions
    return [(one.span.start_ms, one.text) for one in captions if one.kind is CaptionKind.SCREEN_TEXT]


def test_what_is_written_is_in_story_and_search_with_its_time(built: Path) -> None:
    told = written(built)
    assert any(text == "The End" for _, text in told)
    with Library(built, create=False) as opened:
        (video,) = opened.videos()
        story = opened.story(video.id)
        top = next(node for node in story.walk() if node.level == Level.VIDEO)
        assert "The End" in story.render("tree") or "The End" in top.text
        hit = opened.search("The End", k=1)[0]
    assert any(hit.span.start_ms <= at <= hit.span.end_ms for at, text in told if text == "The End")


def test_switched_on_later_gives_the_same_as_from_the_start(film: Path, built: Path, tmp_path: Path) -> None:
    watched = Watched(tmp_path / "library", film)
    assert watched.build("captions.screen_text=off").exit_code == 0
    assert written(watched.library) == []
    assert watched.decoded == stored_clips(watched.library)
    assert watched.build().exit_code == 0
    assert watched.decoded == stored_clips(watched.library)  # the pictures are needed once more
    assert exported(watched.library, tmp_path / "later") == exported(built, tmp_path / "built")
    assert watched.build("story.sentences_per_video=5").exit_code == 0
    assert watched.decoded == 0  # and never again


def test_killed_and_started_again_it_ends_in_the_same_bytes(film: Path, built: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    command = ("build", film, "-L", library)
    stopped_midway(command, library, stored_clips(built), lambda running: running.signal_group(signal.SIGKILL))
    with Running(*command) as again:  # and killed once more at the end of this block, in the middle of what was left
        wait_until(lambda: stored_clips(library) > stored_clips(built) // 2, unless=lambda: not again.runs)
    assert fdvs(*command).code == 0
    assert exported(library, tmp_path / "again") == exported(built, tmp_path / "built")


def test_captions_that_are_added_leave_the_text_on_the_screen_in_the_story(
    film: Path, built: Path, tmp_path: Path
) -> None:
    watched = Watched(Path(shutil.copytree(built, tmp_path / "library")), film)
    before = written(watched.library)
    lines = tmp_path / "added.jsonl"
    lines.write_text(json.dumps({"video": film.name, "start_s": 5, "end_s": 9, "text": "A crimson sphere."}))
    with Library(watched.library) as opened:
        (video,) = opened.videos()
        opened.import_captions([lines], video=video.id)
        told_once = opened.story(video.id).render("json")
    assert written(watched.library) == before != []
    assert watched.build().exit_code == 0
    with Library(watched.library, create=False) as opened:
        assert opened.story(video.id).render("json") == told_once
