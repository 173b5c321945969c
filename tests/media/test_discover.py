"""Which paths a build is about."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fdvs.media.discover import MAX_ENTRIES_PER_FOLDER, Found, discover, printable_name


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(rows: list[Found], root: Path) -> list[str]:
    return [str(row.path.relative_to(root)) for row in rows if row.code is None]


def test_folders_are_walked_and_only_media_is_taken(tmp_path: Path) -> None:
    for name in ["b.mp4", "a.MKV", "deep/er/c.webm", "notes.txt", "thumb.jpg", "no_extension", "._b.mp4"]:
        touch(tmp_path / name)
    assert names(discover([tmp_path]), tmp_path) == ["a.MKV", "b.mp4", "deep/er/c.webm"]


def test_a_folder_named_like_a_video_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path / "x.mp4" / "inside.mp4")
    touch(tmp_path / "x.mp4" / "y.mkv" / "deeper.mov")
    assert names(discover([tmp_path / "x.mp4"]), tmp_path) == ["x.mp4/inside.mp4", "x.mp4/y.mkv/deeper.mov"]
    assert names(discover([tmp_path]), tmp_path) == ["x.mp4/inside.mp4", "x.mp4/y.mkv/deeper.mov"]


def test_a_named_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    odd = touch(tmp_path / "no_extension")
    text = touch(tmp_path / "notes.txt")
    assert discover([text, odd]) == [Found(odd), Found(text)]


def test_a_missing_path_is_one_not_found_row(tmp_path: Path) -> None:
    there = touch(tmp_path / "a.mp4")
    rows = discover([tmp_path / "gone.mp4", there, tmp_path / "gone.mp4"])
    assert [(row.path.name, row.code) for row in rows] == [("a.mp4", None), ("gone.mp4", "not_found")]
    assert "does not exist" in rows[1].message


def test_a_link_to_nothing_is_a_not_found_row_when_named_and_inside_a_folder(tmp_path: Path) -> None:
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "gone.mp4")
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "gone.txt")
    for rows in (discover([tmp_path / "dangling.mp4"]), discover([tmp_path])):
        assert [(row.path.name, row.code) for row in rows] == [("dangling.mp4", "not_found")]
        assert "link" in rows[0].message


def test_the_same_path_twice_is_one_row_and_order_does_not_depend_on_the_arguments(tmp_path: Path) -> None:
    a, b = touch(tmp_path / "s" / "a.mp4"), touch(tmp_path / "s" / "b.mp4")
    expected = [Found(a), Found(b)]
    assert discover([b, a, tmp_path / "s", tmp_path]) == expected
    assert discover([tmp_path, tmp_path / "s" / ".." / "s" / "b.mp4"]) == expected


def test_one_file_over_two_paths_is_two_rows(tmp_path: Path) -> None:
    real = touch(tmp_path / "real.mp4")
    (tmp_path / "soft.mp4").symlink_to(real)
    (tmp_path / "hard.mp4").hardlink_to(real)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "again.mp4").symlink_to(real)
    assert names(discover([tmp_path]), tmp_path) == ["folder/again.mp4", "hard.mp4", "real.mp4", "soft.mp4"]


def test_a_linked_folder_lists_its_files_under_both_paths(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "x.mp4")
    (tmp_path / "b").symlink_to(tmp_path / "a", target_is_directory=True)
    assert names(discover([tmp_path]), tmp_path) == ["a/x.mp4", "b/x.mp4"]


def test_link_loops_end(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "b" / "x.mp4")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    rows = discover([tmp_path])
    assert names(rows, tmp_path) == ["a/b/x.mp4"]
    assert [(row.path.name, row.code) for row in rows if row.code] == [("loop.mp4", "unreadable")]


def test_exponentially_many_link_paths_end_with_a_limit_row(tmp_path: Path) -> None:
    depth = 24  # 2 ** 24 paths lead to the last folder
    for level in range(depth):
        (tmp_path / f"d{level:02}").mkdir()
    touch(tmp_path / f"d{depth - 1:02}" / "x.mp4")
    for level in range(depth - 1):
        for side in "ab":
            (tmp_path / f"d{level:02}" / side).symlink_to(tmp_path / f"d{level + 1:02}", target_is_directory=True)
    rows = discover([tmp_path / "d00"])
    assert 1 <= sum(row.code is None for row in rows) <= MAX_ENTRIES_PER_FOLDER
    assert any(row.code == "limit" for row in rows)


def test_very_deep_folders_are_walked(tmp_path: Path) -> None:
    here = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1200):  # deeper than Python recurses
            Path("d").mkdir()
            os.chdir("d")
        Path("deep.mp4").write_bytes(b"x")
        os.chdir(here)
        assert [row.path.name for row in discover([tmp_path])] == ["deep.mp4"]
    finally:
        os.chdir(here)
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # shutil.rmtree recurses


def test_an_unreadable_folder_is_one_row_and_the_rest_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "locked" / "x.mp4")
    touch(tmp_path / "open" / "y.mp4")
    real_scandir = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return real_scandir(path)

    monkeypatch.setattr("fdvs.media.discover.os.scandir", scandir)
    rows = discover([tmp_path])
    assert [(row.path.name, row.code) for row in rows] == [("locked", "unreadable"), ("y.mp4", None)]
    assert "Permission denied" in rows[0].message


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to drop to another user")
def test_an_unreadable_folder_is_reported_to_a_real_other_user() -> None:
    with tempfile.TemporaryDirectory() as folder:  # outside of pytest's own folder, which others may not enter
        root = Path(folder)
        root.chmod(0o755)
        touch(root / "locked" / "x.mp4")
        (root / "locked").chmod(0o700)
        assert discovered_by_nobody(root) == "[('locked', 'unreadable')]"


def discovered_by_nobody(root: Path) -> str:
    script = (
        "import os, sys; from pathlib import Path; from fdvs.media.discover import discover; os.setgid(65534);"
        "os.setuid(65534); print([(r.path.name, r.code) for r in discover([Path(sys.argv[1])])])"
    )
    done = subprocess.run([sys.executable, "-c", script, str(root)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_pipes_are_refused_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for rows in (discover([tmp_path]), discover([tmp_path / "pipe.mp4"])):
        assert [(row.code, "regular file" in row.message) for row in rows] == [("unreadable", True)]


def test_hostile_names_survive(tmp_path: Path) -> None:
    raw = [b"new\nline.mp4", b"rtl\xe2\x80\xae4pm.mp4", b"bytes\xff\xfe.mp4", b"-rf.mp4", b"$(x) `y` 'z\".mp4"]
    for name in raw:
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    rows = discover([tmp_path])
    assert sorted(os.fsencode(row.path.name) for row in rows) == sorted(raw)
    for row in rows:
        assert row.path.read_bytes() == b"x"
        printable_name(row.path).encode()  # can be stored and printed
        assert printable_name(row.path).isprintable()


def test_printable_name_leaves_ordinary_names_alone() -> None:
    assert printable_name("видео 日本 é – ok.mp4") == "видео 日本 é – ok.mp4"
    assert printable_name(os.fsdecode(b"a\nb\xff")) == "a\\nb\\udcff"


def test_a_name_with_a_null_byte_is_a_row_not_a_crash() -> None:
    assert [row.code for row in discover([Path("a\0b.mp4")])] == ["unreadable"]


def test_typescript_sources_are_not_videos_but_transport_streams_are(tmp_path: Path) -> None:
    touch(tmp_path / "index.ts", "export const größe: number = 1;\n".encode() * 100)
    stream = touch(tmp_path / "video.ts", (b"\x47\x40\x00\x10" + bytes(184)) * 3)
    empty = touch(tmp_path / "empty.ts", b"")
    assert discover([tmp_path]) == [Found(empty), Found(stream)]
    named = tmp_path / "index.ts"
    assert discover([named]) == [Found(named)]


def test_nothing_gives_nothing(tmp_path: Path) -> None:
    assert discover([]) == []
    assert discover([tmp_path]) == []
