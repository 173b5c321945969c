"""Libraries with pictures kept for models: forgotten for good, and read where nothing can be written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from fdvs import Library
from tests.batch.commands import render_film
from tests.chat.fake_server import FakeServer, Seen
from tests.conftest import Once


def model(request: Seen) -> Any:
    return f"A card with pattern {request.number} is shown."


@pytest.fixture(scope="module")
def films(once: Once) -> Path:
    def make(folder: Path) -> None:
        for number in range(2):
            render_film(folder / f"{number}.mp4", number, seconds=6, size=(160, 96))

    return once("two-short-films", make)


def built(folder: Path, films: Path) -> Path:
    with FakeServer(model) as server:
        more = ["captions.screen_text=off", "captions.captioner=openai", f"captions.captioner_url={server.url}"]
        with Library(folder, assignments=more) as library:
            assert library.build([films]).exit_code == 0
    return folder


def kept(library: Path) -> set[str]:
    return {path.name for path in (library / "frames").iterdir()}


def contents(folder: Path) -> dict[Path, bytes]:
    """All files but those that SQLite makes beside a database that root reads: root may write everywhere."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if not path.name.endswith(("-shm", "-wal"))}


def test_a_forgotten_video_leaves_no_picture_and_others_keep_theirs(films: Path, tmp_path: Path) -> None:
    folder = built(tmp_path / "library", films)
    with Library(folder, create=False) as library:
        clips = {
            name: {f"{node.id}-448.zip" for node in library.story(name).record.nodes if not node.children}
            for name in ("0.mp4", "1.mp4")
        }
        assert kept(folder) == clips["0.mp4"] | clips["1.mp4"]
        (folder / "frames" / "clip-0123456789abcdef-448.zip").write_bytes(b"of a build that was killed")
        library.forget("0.mp4")
        assert kept(folder) == clips["1.mp4"]
        library.forget("1.mp4")
    assert kept(folder) == set()


def test_a_library_that_cannot_be_written_is_read_and_stays_as_it_is(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = built(tmp_path / "library", films)
    with Library(folder, create=False) as library:  # the search index is made
        library.search("a card")
    before = contents(folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    access = os.access
    # root may write everything, whatever the mode says
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    try:
        with Library(folder, create=False) as library:
            assert {row.state for row in library.status()} == {"done"}
            assert "described by fake" in library.story("0.mp4").render("tree")
            assert library.search("a card with a pattern")
            assert library.redundancy().frames_sampled > 0
            assert len(library.costs()) == 2
            library.ask("What is shown?")
        after = contents(folder)
        assert after == before
    finally:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
