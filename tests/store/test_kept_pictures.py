"""Pictures that models get, kept beside the library."""

from __future__ import annotations

from pathlib import Path

import pytest

from fdvs.errors import StoreError
from fdvs.records import TimedPicture
from fdvs.store.kept_pictures import PICTURE_FOLDER, KeptPictures, size_bytes, stray_files

TWO = (TimedPicture(0, b"first"), TimedPicture(1500, b"second"))


def test_what_was_kept_comes_back_in_the_order_asked_for(tmp_path: Path) -> None:
    kept = KeptPictures(tmp_path, 448)
    kept.put("clip-a", TWO)
    assert kept.get("clip-a", [0, 1500]) == TWO
    assert kept.get("clip-a", [1500]) == TWO[1:]


def test_what_is_missing_has_to_be_decoded_again(tmp_path: Path) -> None:
    kept = KeptPictures(tmp_path, 448)
    assert kept.get("clip-a", [0]) is None
    kept.put("clip-a", TWO)
    assert kept.get("clip-a", [0, 700]) is None
    assert KeptPictures(tmp_path, 224).get("clip-a", [0]) is None  # another size


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip"])
def test_a_damaged_file_is_as_good_as_none(damage: bytes, tmp_path: Path) -> None:
    kept = KeptPictures(tmp_path, 448)
    kept.put("clip-a", TWO)
    (file,) = (tmp_path / PICTURE_FOLDER).iterdir()
    file.write_bytes(damage)
    assert kept.get("clip-a", [0]) is None


def test_equal_pictures_are_equal_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        KeptPictures(tmp_path / folder, 448).put("clip-a", TWO)
    first, second = (stray_files(tmp_path / folder, ())[0] for folder in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_the_files_of_clips_that_nobody_knows_are_found_at_all_sizes_and_no_other_clip(tmp_path: Path) -> None:
    for side in (224, 448):
        KeptPictures(tmp_path, side).put("clip-a", TWO)
    KeptPictures(tmp_path, 448).put("clip-ab", TWO)
    (tmp_path / PICTURE_FOLDER / ".clip-c-448.zip.part").write_bytes(b"being written")
    assert [file.name for file in stray_files(tmp_path, ["clip-ab"])] == ["clip-a-224.zip", "clip-a-448.zip"]
    assert stray_files(tmp_path / "no library", ()) == []


def test_what_kept_pictures_take_is_known(tmp_path: Path) -> None:
    assert size_bytes(tmp_path) == 0
    KeptPictures(tmp_path, 448).put("clip-a", TWO)
    (file,) = (tmp_path / PICTURE_FOLDER).iterdir()
    assert size_bytes(tmp_path) == file.stat().st_size > 11


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / PICTURE_FOLDER).write_text("in the way")
    with pytest.raises(StoreError, match=PICTURE_FOLDER):
        KeptPictures(tmp_path, 448).put("clip-a", TWO)
