"""Derived files under `LIBRARY/index/`: a cache that may be deleted at any time and is never trusted unchecked.

Each has a JSON header that is written last and names its data files with their sizes and checksums. File names carry
the library's generation, so that two processes that build at once never write two contents under one name.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdvs.store.database import INDEX_FOLDER

FORMAT = 1
_BLOCK = 1 << 22
_TEMPORARY = ".tmp-"
_ABANDONED_S = 3600.0

Writer = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Derived:
    """One derived thing: `name` tells it from others, `facts` must all agree for stored files to be used."""

    folder: Path
    name: str
    facts: Mapping[str, Any]

    @property
    def header(self) -> Path:
        return self.folder / f"{self.name}.json"

    def load(self) -> tuple[dict[str, Any], list[Path]] | None:
        """(header, data files) where all of it is there, whole and of these facts; None where it must be rebuilt."""
        try:
            header = json.loads(self.header.read_text(encoding="utf-8"))
            wanted = {"format": FORMAT, **self.facts}
            if any(header.get(key) != value for key, value in wanted.items()):
                return None
            files = [self.folder / Path(item["name"]).name for item in header["files"]]
            whole = all(checksum(path) == item["crc32"] for path, item in zip(files, header["files"], strict=True))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return (header, files) if whole else None

    def save(self, writers: Mapping[str, Writer], **more: object) -> bool:
        """Write data files (`writers`: ending → function that writes to a path), then the header, then drop older ones.

        Returns:
            False where the folder cannot be written: the library works without derived files, only slower.
        """
        stem = f"{self.name}-{self.facts['generation']}"
        try:
            self.folder.mkdir(exist_ok=True)
            files = [self._write(f"{stem}.{ending}", writer) for ending, writer in writers.items()]
            header = {"format": FORMAT, **self.facts, **more, "files": files}
            text = json.dumps(header, indent=1)
            self._write(self.header.name, lambda path: _write_text(path, text))
            self._drop_older({item["name"] for item in files})
        except OSError:
            return False
        return True

    def _write(self, name: str, writer: Writer) -> dict[str, Any]:
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=_TEMPORARY)
        os.close(handle)
        path = Path(temporary)
        try:
            writer(path)
            crc32 = checksum(path)
            path.chmod(0o644)
            path.replace(self.folder / name)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return {"name": name, "crc32": crc32}

    def _drop_older(self, current: set[str]) -> None:
        for path in self.folder.glob(f"{self.name}-*"):
            if path.name not in current:
                path.unlink(missing_ok=True)
        for path in self.folder.glob(f"{_TEMPORARY}*"):  # of a process that was killed
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED_S:
                    path.unlink()


def derived(folder: Path | None, name: str, **facts: object) -> Derived | None:
    """The derived thing `name` of the library in `folder`; None for a library in memory."""
    return None if folder is None else Derived(folder / INDEX_FOLDER, name, facts)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def checksum(path: Path) -> int:
    """CRC-32 of a file: against damage, not against malice."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return crc
