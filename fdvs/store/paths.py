"""Input paths: which file is which video, how far it is, and what went wrong. One row per path."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from fdvs.errors import InputError
from fdvs.records import ERROR_CODES, State
from fdvs.store.database import Database
from fdvs.store.rows import path_column, path_value, text_column


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells, without reading a file, that it is the one seen before."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Self:
        """Fingerprint of the file at `path` (OSError where there is none)."""
        stat = os.stat(path)  # noqa: PTH116  # Path() would refuse nothing but costs more
        return cls(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)

    def __str__(self) -> str:  # text in the library: inodes can exceed SQLite's 63 bits
        return f"{self.device}:{self.inode}:{self.size_bytes}:{self.mtime_ns}"

    @classmethod
    def parse(cls, text: str) -> Self:
        device, inode, size_bytes, mtime_ns = (int(part) for part in text.split(":"))
        return cls(device, inode, size_bytes, mtime_ns)


@dataclass(frozen=True, slots=True)
class PathError:
    """Why a path failed; `code` is one of the status codes of the contract."""

    code: str
    message: str

    def __post_init__(self) -> None:
        if self.code not in ERROR_CODES:
            raise InputError(f"unknown status code {self.code!r}; known: {', '.join(sorted(ERROR_CODES))}")


@dataclass(frozen=True, slots=True)
class PathRow:
    """State of one input path. `path` is absolute."""

    path: str
    fingerprint: Fingerprint | None
    video_id: str | None
    state: State
    error: PathError | None = None
    warnings: tuple[str, ...] = field(default=())


_COLUMNS = "path, fingerprint, video_id, state, error_code, error_message, warnings_json"


def _path_row(row: Sequence[Any]) -> PathRow:
    path, fingerprint, video_id, state, code, message, warnings = row
    return PathRow(
        path=path_value(path),
        fingerprint=None if fingerprint is None else Fingerprint.parse(fingerprint),
        video_id=video_id,
        state=State(state),
        error=None if code is None else PathError(code, message),
        warnings=tuple(json.loads(warnings)),
    )


class PathRows(Database):
    """Operations on input paths. Every path given is stored absolute (links are not followed)."""

    def record_path(
        self,
        path: str | os.PathLike[str],
        fingerprint: Fingerprint | None = None,
        video_id: str | None = None,
        *,
        state: State = State.PENDING,
        error: PathError | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        """Store all that is known of a path, in place of what was known before.

        `fingerprint` is None for a path that cannot be read; `video_id` None until its bytes were hashed.
        """
        with self.writing() as db:
            db.execute(
                f"INSERT OR REPLACE INTO paths ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  # a constant
                (
                    _absolute(path),
                    None if fingerprint is None else str(fingerprint),
                    video_id,
                    str(state),
                    *_error_columns(error),
                    json.dumps(list(warnings)),
                ),
            )

    def find_path(self, path: str | os.PathLike[str]) -> PathRow | None:
        """What is recorded of a path, or None."""
        with self.reading() as db:
            return _one(db, "path = ?", _absolute(path))

    def find_fingerprint(self, fingerprint: Fingerprint) -> PathRow | None:
        """A path with this fingerprint whose video is known: a renamed file need not be hashed again."""
        with self.reading() as db:
            return _one(db, "fingerprint = ? AND video_id IS NOT NULL", str(fingerprint))

    def paths_of(self, video_id: str) -> tuple[str, ...]:
        """All paths of a video, sorted."""
        with self.reading() as db:
            rows = db.execute("SELECT path FROM paths WHERE video_id = ?", (video_id,))
            return tuple(sorted(path_value(row[0]) for row in rows))

    def path_rows(self) -> list[PathRow]:
        """All recorded paths, sorted by path."""
        with self.reading() as db:
            rows = [_path_row(row) for row in db.execute(f"SELECT {_COLUMNS} FROM paths")]  # noqa: S608
        return sorted(rows, key=lambda row: row.path)

    def forget_path(self, path: str | os.PathLike[str]) -> None:
        """Drop one path (say, of a file that is gone); its video stays."""
        with self.writing() as db:
            db.execute("DELETE FROM paths WHERE path = ?", (_absolute(path),))

    def relink(self, found: Mapping[str, str | os.PathLike[str]]) -> list[str]:
        """Mend moved files: `found` maps the sha256 of a file's bytes to where it lies now.

        A known video's paths that no longer exist are replaced by the found one; paths that still exist stay.
        Returns the ids of the videos whose paths changed, sorted.
        """
        changed = []
        with self.writing() as db:
            for video_id, path in sorted(found.items()):
                if db.execute("SELECT 1 FROM videos WHERE id = ?", (video_id,)).fetchone() is None:
                    continue
                new = _absolute(path)
                known = [row[0] for row in db.execute("SELECT path FROM paths WHERE video_id = ?", (video_id,))]
                gone = [old for old in known if old != new and not Path(path_value(old)).exists()]
                if new in known and not gone:
                    continue
                _move_path(db, video_id, gone, new)
                changed.append(video_id)
        return changed


def _move_path(db: sqlite3.Connection, video_id: str, gone: Sequence[str | bytes], new: str | bytes) -> None:
    """Replace the rows `gone` by one for `new`, which keeps the state and warnings of one of them."""
    state = db.execute(
        "SELECT state, error_code, error_message, warnings_json FROM paths WHERE video_id = ? ORDER BY path",
        (video_id,),
    ).fetchone()
    if state is None:
        done = db.execute("SELECT 1 FROM stories WHERE video_id = ?", (video_id,)).fetchone()
        state = (str(State.DONE if done else State.PENDING), None, None, "[]")
    db.executemany("DELETE FROM paths WHERE path = ?", [(old,) for old in gone])
    db.execute(
        f"INSERT OR REPLACE INTO paths ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  # a constant
        (new, str(Fingerprint.of(path_value(new))), video_id, *state),
    )


def _absolute(path: str | os.PathLike[str]) -> str | bytes:
    return path_column(os.path.abspath(path))  # noqa: PTH100  # normalises `..`, which Path.absolute() does not


def _one(db: sqlite3.Connection, where: str, value: str | bytes) -> PathRow | None:
    row = db.execute(f"SELECT {_COLUMNS} FROM paths WHERE {where} ORDER BY path LIMIT 1", (value,)).fetchone()  # noqa: S608
    return None if row is None else _path_row(row)


def _error_columns(error: PathError | None) -> tuple[str | None, str | None]:
    return (None, None) if error is None else (error.code, text_column(error.message))
