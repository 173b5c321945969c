"""The stories in docs/examples are what the code tells today, and cover what may be passed on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shared_library import SHARED_VIDEOS
from tools.example_stories import FILMS, TARGET, written

SHORT = ("nasa_two_streams_subs.mp4", "nasa_hevc_10bit.mp4", "fades_between_shots.mp4", "tears_of_steel_clip_vp9.webm")
needs_shared = pytest.mark.skipif(not SHARED_VIDEOS.is_dir(), reason="no ../shared/data")


def test_every_film_has_its_story_and_its_credit() -> None:
    index = (TARGET / "README.md").read_text(encoding="utf-8")
    assert sorted(path.stem for path in TARGET.glob("*.md")) == sorted(["README", *(Path(f.name).stem for f in FILMS)])
    for film in FILMS:
        assert f"[{film.name}]({Path(film.name).stem}.md)" in index
        assert film.credit in index


@pytest.mark.shared
@needs_shared
def test_the_stories_of_short_films_are_told_as_committed() -> None:
    files = written(SHARED_VIDEOS, [film for film in FILMS if film.name in SHORT])
    del files["README.md"]
    assert len(files) == len(SHORT)
    for name, text in files.items():
        assert (TARGET / name).read_text(encoding="utf-8") == text, f"{name} is out of date"
