"""Videos leave the library for good, and moved ones are found again."""

from __future__ import annotations

from pathlib import Path

from tests.cli.commands import FILM, NO_READING, TALK, done, fdvs, story_of
from tests.cli.conftest import World


def test_a_forgotten_video_is_gone_and_can_be_built_again(world: World, own_library: Path) -> None:
    before = story_of(own_library, FILM)
    film = (world.films / FILM).read_bytes()
    ended = done("forget", FILM, "-L", own_library)
    assert (ended.out, ended.err) == ("", f"forgot {FILM}\n")
    assert fdvs("story", FILM, "-L", own_library).code == 1
    assert FILM not in done("status", "-L", own_library).out
    hits = done("search", "a ball rolling over the grass", "--json", "-L", own_library).json["hits"]
    assert FILM not in {hit["video"] for hit in hits}
    thumbs = {path.stem for path in (own_library / "thumbs").iterdir()}
    assert not thumbs & {node["id"] for node in before["nodes"]}
    assert b"lighthouse" not in (own_library / "library.sqlite").read_bytes()
    assert (world.films / FILM).read_bytes() == film
    summary = done("build", world.films, "--json", "-L", own_library).json["summary"]
    assert (summary["done"], summary["skipped"]) == (3, 2)
    assert story_of(own_library, FILM) == before


def test_an_import_is_forgotten_too(own_library: Path) -> None:
    done("forget", TALK, "-L", own_library)
    assert fdvs("forget", TALK, "-L", own_library).code == 1


def test_a_mistyped_input_can_be_forgotten(own_library: Path, tmp_path: Path) -> None:
    for name in (tmp_path / "flim.mp4", tmp_path / "other" / "flim.mp4"):
        assert fdvs("build", name, "-L", own_library).code == 1
    ended = fdvs("forget", "flim.mp4", "-L", own_library)
    assert ended.code == 1
    assert str(tmp_path / "other" / "flim.mp4") in ended.err
    done("forget", tmp_path / "other" / "flim.mp4", "-L", own_library)
    done("forget", "flim.mp4", "-L", own_library)
    assert "flim" not in done("status", "-L", own_library).out


def test_moved_videos_are_found_by_content(own_films: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    done("build", own_films, *NO_READING, "-L", library)
    story = story_of(library, FILM)
    new_home = tmp_path / "new home"
    own_films.rename(new_home)
    (new_home / "two" / "twin.mp4").unlink()
    (new_home / FILM).rename(new_home / "renamed.mp4")
    ended = done("relink", new_home, "-L", library)
    assert ended.out.splitlines() == [
        f"{own_films / FILM} -> {new_home / 'renamed.mp4'}",
        f"{own_films / 'one' / 'twin.mp4'} -> {new_home / 'one' / 'twin.mp4'}",
        f"still missing: {own_films / 'two' / 'twin.mp4'}",
    ]
    assert ended.err == "2 paths mended, 1 still missing\n"
    paths = {row["path"] for row in done("status", "--json", "-L", library).json["videos"]}
    assert {str(new_home / "renamed.mp4"), str(new_home / "one" / "twin.mp4")} <= paths
    assert str(own_films / FILM) not in paths
    assert story_of(library, "renamed.mp4")["nodes"] == story["nodes"]
    again = done("build", new_home / "one", *NO_READING, "--json", "-L", library).json["summary"]
    assert again["skipped"] == 1


def test_nothing_found_is_1_and_nothing_missing_is_0(own_films: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    done("build", own_films / "one", *NO_READING, "-L", library)
    assert done("relink", own_films, "-L", library).err == "0 paths mended, 0 still missing\n"
    (own_films / "one").rename(own_films / "three")
    (tmp_path / "empty").mkdir()
    assert fdvs("relink", tmp_path / "empty", "-L", library).code == 1
    ended = fdvs("relink", tmp_path / "nowhere", "-L", library)
    assert ended.code == 1
    assert "is not a folder" in ended.err
