"""Films of many hours through the command line: three hours of shots, ten hours of a camera that watches a wall."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fdvs.settings import StorySettings
from tests.batch.commands import FDVS, Running, environment, exported, fdvs, stored_clips, wait_until
from tests.batch.long_films import FEATURE, STATIC_CAMERA, LongFilm

pytestmark = pytest.mark.slow

TEN_MINUTES, ONE_HOUR, THREE_HOURS, TEN_HOURS = 600, 3600, 3 * 3600, 10 * 3600
# What may be added to the memory of a ten-minute film by all that is kept of thousands of clips.
MEMORY_FACTOR = 1.4
MEMORY_GATE_MIB = 200
WITHOUT_SCREEN_TEXT = ("--screen-text", "off")  # these films show none, and looking for it takes a reader's memory
PEAK_OF_CHILDREN = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@dataclass(frozen=True)
class Built:
    """A library of one long film, and the peak resident size of the largest process of the build."""

    library: Path
    film: Path
    peak_mib: float
    story: dict[str, Any]

    def of_level(self, level: str) -> list[dict[str, Any]]:
        return [node for node in self.story["nodes"] if node["level"] == level]


def build(folder: Path, made: LongFilm, seconds: int) -> Built:
    film, library = folder / f"film-{seconds}.mp4", folder / f"library-{seconds}"
    made.write(film, seconds)
    # Measured by a small process in between: what the kernel counts for a new process begins with the size of the one
    # that started it, and this one may have loaded much.
    ended = subprocess.run(
        [sys.executable, "-c", PEAK_OF_CHILDREN, *FDVS, "build", str(film), "-L", str(library), *WITHOUT_SCREEN_TEXT],
        env=environment(),
        capture_output=True,
        check=True,
        text=True,
    )
    peak_mib = int(ended.stdout.splitlines()[-1]) / 1024
    story = fdvs("story", film.name, "-L", library, "--json")
    return Built(library, film, peak_mib, json.loads(story.out))


@pytest.fixture(scope="module")
def feature(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("feature"), FEATURE, THREE_HOURS)


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("camera"), STATIC_CAMERA, TEN_HOURS)


def check_tree(built: Built, seconds: int) -> None:
    """Clips tile the film, parents are the union of their children, and nobody has more than may be read at once."""
    clips = built.of_level("clip")
    assert clips[0]["start_s"] == 0
    assert clips[-1]["end_s"] == built.story["video"]["duration_s"] == seconds
    assert all(before["end_s"] == after["start_s"] for before, after in pairwise(clips))
    nodes = {node["id"]: node for node in built.story["nodes"]}
    assert built.of_level("part"), "so many chapters need parts above them"
    for node in nodes.values():
        children = [nodes[child] for child in node["children"]]
        assert len(children) <= StorySettings().max_children
        if children:
            assert (node["start_s"], node["end_s"]) == (children[0]["start_s"], children[-1]["end_s"])
            assert all(before["end_s"] == after["start_s"] for before, after in pairwise(children))


def check_memory(built: Built, made: LongFilm, folder: Path) -> None:
    short = build(folder, made, TEN_MINUTES)
    assert built.peak_mib <= MEMORY_FACTOR * short.peak_mib
    assert built.peak_mib <= MEMORY_GATE_MIB


def check_reading(built: Built, question: str) -> None:
    """Story and answers come, and cite what is there."""
    told = fdvs("story", built.film.name, "-L", built.library)
    assert told.code == 0
    assert "Part 1" in told.out
    asked = fdvs("ask", question, "-L", built.library, "--json")
    assert asked.code == 0
    nodes = {node["id"]: node for node in built.story["nodes"]}
    citations = json.loads(asked.out)["citations"]
    assert citations
    for citation in citations:
        assert citation["start_s"] == nodes[citation["node_id"]]["start_s"]


def test_three_hours_of_shots_make_a_whole_tree_with_parts(feature: Built) -> None:
    check_tree(feature, THREE_HOURS)
    assert len(feature.of_level("clip")) == THREE_HOURS // 4


def test_three_hours_take_little_more_memory_than_ten_minutes(feature: Built, tmp_path: Path) -> None:
    check_memory(feature, FEATURE, tmp_path)


def test_three_hours_can_be_read_and_asked(feature: Built) -> None:
    check_reading(feature, "When does the camera pan left over something green?")


def test_ten_hours_of_a_static_camera_make_a_whole_tree_with_parts(camera: Built) -> None:
    check_tree(camera, TEN_HOURS)


def test_ten_hours_take_little_more_memory_than_ten_minutes(camera: Built, tmp_path: Path) -> None:
    check_memory(camera, STATIC_CAMERA, tmp_path)


def test_ten_hours_can_be_read_and_asked(camera: Built) -> None:
    check_reading(camera, "What does the still picture show?")


def test_a_killed_build_of_an_hour_goes_on_to_the_same_story(tmp_path: Path) -> None:
    whole, library = build(tmp_path, FEATURE, ONE_HOUR), tmp_path / "library"
    assert len(whole.of_level("clip")) == ONE_HOUR // 4
    with Running("build", whole.film, "-L", library, *WITHOUT_SCREEN_TEXT) as killed:
        assert wait_until(lambda: stored_clips(library) >= 300, unless=lambda: not killed.runs)
    kept = stored_clips(library)
    assert 300 <= kept < ONE_HOUR // 4

    assert fdvs("build", whole.film, "-L", library, *WITHOUT_SCREEN_TEXT).code == 0

    assert exported(library, tmp_path / "resumed") == exported(whole.library, tmp_path / "uninterrupted")
