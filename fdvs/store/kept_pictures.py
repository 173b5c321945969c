"""Sampled frames as models get them, kept beside the database: one file of JPEGs for each clip and size.

Derived like an index: what is missing is made again by decoding. They are kept because asking a model again (another
prompt, a retry, a build that was killed, a closer look at a moment) should not cost another decode.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from fdvs.errors import StoreError
from fdvs.records import TimedPicture

PICTURE_FOLDER = "frames"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal pictures, equal files


class KeptPictures:
    """The pictures of clips at one size.

    Args:
        library: folder of the library.
        short_side: of the pictures, in pixels, as it was asked for.
    """

    def __init__(self, library: Path, short_side: int) -> None:
        self._folder = library / PICTURE_FOLDER
        self._short_side = short_side

    def put(self, clip_id: str, pictures: Sequence[TimedPicture]) -> None:
        """Keep a clip's pictures, whole or not at all.

        Raises:
            StoreError: the disk refuses.
        """
        target = self._path(clip_id)
        partial = target.with_name(f".{target.name}.part")  # one worker per video: nobody else writes it
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as file:  # JPEGs do not get smaller
                for picture in pictures:
                    file.writestr(zipfile.ZipInfo(f"{picture.time_ms}.jpg", _EPOCH), picture.jpeg)
            partial.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise StoreError(f"{target}: {error.strerror or error}") from error

    def get(self, clip_id: str, times_ms: Iterable[int]) -> tuple[TimedPicture, ...] | None:
        """The pictures at these times; None where any of them is not kept, or the file is damaged."""
        try:
            with zipfile.ZipFile(self._path(clip_id)) as file:
                return tuple(TimedPicture(time_ms, file.read(f"{time_ms}.jpg")) for time_ms in times_ms)
        except (OSError, KeyError, zipfile.BadZipFile, EOFError):
            return None

    def _path(self, clip_id: str) -> Path:
        return self._folder / f"{clip_id}-{self._short_side}.zip"


def stray_files(library: Path, clip_ids: Collection[str]) -> list[Path]:
    """The files of all clips but these, sorted: of videos that are no longer there, and of clips at which a build was
    killed. What a build has just kept and not yet stored is among them; it decodes once more."""
    known = set(clip_ids)
    return sorted(path for path in _files(library) if _clip_id(path) not in known)


def size_bytes(library: Path) -> int:
    """What all kept pictures take."""
    return sum(path.stat().st_size for path in _files(library))


def _files(library: Path) -> Iterator[Path]:
    return (path for path in (library / PICTURE_FOLDER).glob("*.zip") if not path.name.startswith("."))


def _clip_id(file: Path) -> str:
    return file.stem.rpartition("-")[0]
