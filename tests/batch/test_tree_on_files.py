"""Story trees of real and of odd films: what must hold of every one of them, in both profiles."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fdvs.api import Library
from fdvs.settings import load_settings
from fdvs.stories.schema import story_schema
from tests.conftest import Once, SharedLibrary
from tests.media_files import RECIPES
from tests.shared_library import SHARED_VIDEOS, shared_films

PROFILES = ("default", "paper")
LEVELS = {"default": ["video", "chapter", "scene", "clip"], "paper": ["video", "chapter", "clip"]}
ODD = ("single_frame_mp4", "all_intra_mp4", "one_key_frame_mp4", "vfr_mp4", "late_start_ts", "edit_list_mp4", "gif")


@dataclass(frozen=True)
class Tree:
    """An exported story, with its nodes by id."""

    story: dict[str, Any]

    @property
    def nodes(self) -> dict[str, dict[str, Any]]:
        return {node["id"]: node for node in self.story["nodes"]}

    def of_level(self, level: str) -> list[dict[str, Any]]:
        return [node for node in self.story["nodes"] if node["level"] == level]


def exported(library: Path, video: str, folder: Path) -> Tree:
    with Library(library, create=False) as opened:
        return Tree(json.loads(opened.export(video, output=folder / "story.json").read_text(encoding="utf-8")))


def check(tree: Tree, profile: str) -> None:
    """Everything that the contract promises of a story."""
    story, nodes = tree.story, tree.nodes
    jsonschema.Draft202012Validator(story_schema()).validate(story)
    assert story["settings"]["profile"] == profile
    assert len(nodes) == len(story["nodes"])
    duration_s = story["video"]["duration_s"]
    clips = tree.of_level("clip")
    assert [clip["start_s"] for clip in clips] == [0, *(clip["end_s"] for clip in clips[:-1])]
    assert clips[-1]["end_s"] == duration_s
    check_levels(tree, profile)
    check_parents(tree)
    known = {*nodes, *(caption["id"] for caption in story["captions"])}
    for node in story["nodes"]:
        assert 0 <= node["start_s"] < node["end_s"] <= duration_s
        assert node["text"] == " ".join(sentence["text"] for sentence in node["sentences"])
        for sentence in node["sentences"]:
            assert sentence["sources"]
            assert known >= set(sentence["sources"])
    read = [sentence["text"] for node in tree.of_level(LEVELS[profile][-2]) for sentence in node["sentences"]]
    assert len(read) == len(set(read)), "what is read right above the clips tells nothing twice"
    titles = [node["title"] for node in tree.of_level("chapter")]
    assert len(titles) == len(set(titles))
    for caption in story["captions"]:
        assert caption["clip_id"] in nodes
        assert 0 <= caption["start_s"] < caption["end_s"] <= duration_s


def check_levels(tree: Tree, profile: str) -> None:
    found = list(dict.fromkeys(node["level"] for node in tree.story["nodes"] if node["level"] != "part"))
    assert found == LEVELS[profile]
    assert len(tree.of_level("video")) == 1
    if profile == "paper":
        assert [len(chapter["children"]) for chapter in tree.of_level("chapter")] == [1] * len(tree.of_level("clip"))


def check_parents(tree: Tree) -> None:
    """Pre-order, links that agree, spans that are the union of the children's, at most 24 children."""
    nodes = tree.nodes
    order: list[str] = []
    todo = [tree.story["nodes"][0]["id"]]
    while todo:
        node = nodes[todo.pop()]
        order.append(node["id"])
        todo += reversed(node["children"])
        children = [nodes[child] for child in node["children"]]
        assert all(child["parent"] == node["id"] for child in children)
        assert len(children) <= 24
        assert bool(children) == (node["level"] != "clip")
        if children:
            starts = [child["start_s"] for child in children]
            assert starts == sorted(starts)
            assert (node["start_s"], node["end_s"]) == (starts[0], max(child["end_s"] for child in children))
    assert order == [node["id"] for node in tree.story["nodes"]]


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", [path.relative_to(SHARED_VIDEOS).as_posix() for path in shared_films()])
def test_every_shared_film_has_a_sound_tree(
    shared_library: SharedLibrary, name: str, profile: str, tmp_path: Path
) -> None:
    tree = exported(shared_library(profile), str(SHARED_VIDEOS / name), tmp_path)
    assert tree.story["video"]["name"] == Path(name).name
    check(tree, profile)


@pytest.mark.shared
@pytest.mark.slow
def test_a_film_of_ten_minutes_with_a_clip_per_key_picture_gets_parts(
    shared_library: SharedLibrary, tmp_path: Path
) -> None:
    tree = exported(shared_library("paper"), "bbb_full_448x252.mkv", tmp_path)
    assert len(tree.of_level("clip")) == 299
    assert len(tree.of_level("part")) >= 299 // 24


@pytest.mark.shared
@pytest.mark.slow
def test_a_video_ends_with_its_own_stream_and_not_with_its_container(
    shared_library: SharedLibrary, tmp_path: Path
) -> None:
    tree = exported(shared_library("default"), "nasa_two_streams_subs.mp4", tmp_path)
    assert tree.story["video"]["duration_s"] == 13.0


@pytest.fixture(scope="session")
def odd_films(once: Once) -> dict[str, Path]:
    """Libraries of the odd films, by profile."""

    def make(folder: Path) -> None:
        films = folder / "films"
        films.mkdir(exist_ok=True)
        paths = [RECIPES[name](films).path for name in ODD]
        for profile in PROFILES:
            settings = load_settings(profile=profile, environ={})
            with Library(folder / profile, settings=settings) as library:
                assert library.build(paths).exit_code == 0

    folder = once("odd-films", make)
    return {profile: folder / profile for profile in PROFILES}


@pytest.mark.parametrize("profile", PROFILES)
def test_odd_films_have_sound_trees(odd_films: dict[str, Path], profile: str, tmp_path: Path) -> None:
    with Library(odd_films[profile], create=False) as library:
        videos = library.videos()
    assert len(videos) == len(ODD)
    for video in videos:
        check(exported(odd_films[profile], video.id, tmp_path), profile)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_single_picture_is_one_clip_of_the_pictures_length(
    odd_films: dict[str, Path], profile: str, tmp_path: Path
) -> None:
    tree = exported(odd_films[profile], "single_frame.mp4", tmp_path)
    assert [(clip["start_s"], clip["end_s"]) for clip in tree.of_level("clip")] == [(0.0, 0.033)]


def test_films_of_key_pictures_only_and_of_one_key_picture_give_clips_of_sensible_length(
    odd_films: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("all_intra.mp4", "one_key_frame.mp4"):
        clips = exported(odd_films["default"], name, tmp_path).of_level("clip")
        assert [(clip["start_s"], clip["end_s"]) for clip in clips] == [(0.0, 2.0)], name


def test_equal_films_have_equal_clip_ids_in_both_runs_of_a_profile_and_others_in_the_other_profile(
    odd_films: dict[str, Path], tmp_path: Path
) -> None:
    ids = {
        profile: {clip["id"] for clip in exported(odd_films[profile], "all_intra.mp4", tmp_path).of_level("clip")}
        for profile in PROFILES
    }
    assert not ids["default"] & ids["paper"]
    assert len(ids["paper"]) == 60
