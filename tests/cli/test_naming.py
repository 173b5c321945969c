"""A video is named by file name, path or the start of its id; what fits two videos is refused with both."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.commands import FILM, TWIN, done, fdvs
from tests.cli.conftest import World


def test_by_file_name_path_and_id(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {row["path"]: row["video_id"] for row in done("status", "--json", "-L", world.library).json["videos"]}
    twin = world.films / "two" / TWIN
    video_id = rows[str(twin)]
    monkeypatch.chdir(world.films / "one")
    names = (twin, Path(os.path.relpath(twin)), video_id, video_id[:8], video_id[:4])
    for name in names:
        shown = done("story", name, "--json", "-L", world.library).json
        assert shown["video"]["id"] == video_id, name
    assert fdvs("story", video_id[:3], "-L", world.library).code == 1


def test_one_name_of_two_films_is_refused_with_both_candidates(world: World) -> None:
    rows = done("status", "--json", "-L", world.library).json["videos"]
    twins = [row for row in rows if row["video"] == TWIN]
    assert len({row["video_id"] for row in twins}) == 2
    for arguments in (["story", TWIN], ["ask", "What moves?", "--video", TWIN], ["forget", TWIN], ["export", TWIN]):
        ended = fdvs(*arguments, "-L", world.library)
        assert ended.code == 1
        assert ended.out == ""
        assert f"'{TWIN}' fits 2 videos" in ended.err
        for row in twins:
            assert row["path"] in ended.err
            assert row["video_id"][:8] in ended.err


def test_the_library_is_found_by_flag_variable_and_default(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fdvs-library").symlink_to(world.library)
    monkeypatch.chdir(tmp_path)
    by_default = done("status").out
    assert FILM in by_default
    monkeypatch.chdir(world.films)
    assert fdvs("status").code == 1
    assert done("status", env={"FDVS_LIBRARY": str(world.library)}).out == by_default
    assert fdvs("status", "-L", tmp_path / "none", env={"FDVS_LIBRARY": str(world.library)}).code == 1
    assert done("status", "--library", world.library, env={"FDVS_LIBRARY": str(tmp_path / "none")}).out == by_default


def test_searches_can_be_kept_to_one_video(world: World) -> None:
    everywhere = done("search", "a bright picture", "-k", "20", "--json", "-L", world.library).json["hits"]
    assert len({hit["video_id"] for hit in everywhere}) > 1
    here = done("search", "a bright picture", "--video", FILM, "-k", "20", "--json", "-L", world.library).json["hits"]
    assert here
    assert {hit["video"] for hit in here} == {FILM}
