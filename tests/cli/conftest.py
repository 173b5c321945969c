"""A small library, built once: the demo film, two films of one name, and captions without a film."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fdvs.api import Library
from fdvs.demo.film import DemoFilm
from fdvs.settings import Settings
from tests.batch.commands import render_film
from tests.cli.commands import TALK, TWIN
from tests.conftest import Once

TALK_LINES = (
    {
        "video": TALK,
        "start_s": 0.0,
        "end_s": 4.0,
        "text": "A woman in a red coat opens a wooden door.",
        "duration_s": 30,
    },
    {"video": TALK, "start_s": 4.0, "end_s": 9.0, "text": "She explains how bees make honey.", "kind": "speech"},
    {"video": TALK, "start_s": 15.0, "end_s": 21.5, "text": "A beekeeper lifts a frame out of a white hive."},
    {"video": TALK, "start_s": 21.5, "end_s": 30.0, "text": "A beekeeper lifts a frame out of a white hive."},
)


@dataclass(frozen=True, slots=True)
class World:
    """Where things lie. Tests that change something take `own_library`."""

    films: Path  # folder with the demo film and two folders, `one` and `two`, with a film each
    talk: Path
    library: Path


@pytest.fixture(scope="session")
def world(once: Once, demo: DemoFilm) -> World:
    def make(folder: Path) -> None:
        shutil.copytree(demo.path.parent, folder / "films")
        for number, name in enumerate(("one", "two")):
            (folder / "films" / name).mkdir()
            render_film(folder / "films" / name / TWIN, number, seconds=6, size=(160, 96))
        talk = folder / "talk.jsonl"
        talk.write_text("".join(json.dumps(line) + "\n" for line in TALK_LINES))
        with Library(folder / "library", settings=Settings()) as library:
            assert library.build([folder / "films"]).exit_code == 0
            assert library.import_captions([talk]).exit_code == 0

    folder = once("cli-world", make)
    return World(folder / "films", folder / "talk.jsonl", folder / "library")


@pytest.fixture
def own_library(world: World, tmp_path: Path) -> Path:
    """A copy of the library, to be changed."""
    return Path(shutil.copytree(world.library, tmp_path / "own"))


@pytest.fixture
def own_films(world: World, tmp_path: Path) -> Path:
    """A copy of the films with their dates."""
    return Path(shutil.copytree(world.films, tmp_path / "films"))


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], None]:
    """No settings of the user's own, and a current folder without a library."""
    for name in [name for name in os.environ if name.startswith("FDVS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
    return lambda: None
