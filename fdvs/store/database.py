"""One SQLite connection to a library: opening, transactions, and errors a user can read."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from fdvs.errors import NotFoundError, StoreError
from fdvs.store.migrations import MIGRATIONS, check_version, migrate

DATABASE_NAME = "library.sqlite"
INDEX_FOLDER = "index"
THUMBNAIL_FOLDER = "thumbs"
BUSY_TIMEOUT_MS = 60_000


def _is_locked(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextmanager
def readable_errors(where: str) -> Iterator[None]:
    """Turn SQLite's errors into a StoreError that names the library; a lock that was not released is retryable."""
    try:
        yield
    except sqlite3.Error as error:
        wrapped = StoreError(f"{where}: {error}")
        wrapped.retryable = _is_locked(error)
        raise wrapped from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # as_uri quotes %, ? and #, which mean something in a URI
    uri = f"{path.absolute().as_uri()}?{mode}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)
    db.execute("PRAGMA foreign_keys = ON")
    return db


def _use_wal(db: sqlite3.Connection, folder: Path) -> None:
    """Switch to write-ahead logging. SQLite does not wait for locks here, so this does."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if not _is_locked(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    if str(mode).lower() != "wal":
        raise StoreError(
            f"{folder}: this file system cannot share a database between processes (no write-ahead log); "
            "put the library on a local disk"
        )


def _open_for_reading(path: Path) -> sqlite3.Connection:
    """Read-only connection; a folder that cannot be written needs SQLite's `immutable` where no log is left over."""
    db = _connect(path, "mode=ro")
    try:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        db.close()
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size > 0:
            raise StoreError(
                f"{path.parent}: the library was not closed (there is a {log.name}) and its folder cannot be written; "
                "open it once where it can be written, or copy the folder"
            ) from error
        return _connect(path, "mode=ro&immutable=1")
    return db


def open_database(folder: Path, *, create: bool, readonly: bool) -> sqlite3.Connection:
    """Open `folder/library.sqlite` at the newest schema.

    Raises:
        NotFoundError: there is no library and `create` is False.
        SchemaTooNewError: a newer fdvs wrote it.
        StoreError: it cannot be read, written or shared; the message says why.
    """
    path = folder / DATABASE_NAME
    try:
        exists = path.is_file()
        if not exists and create and not readonly:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror or error}") from error
    if not exists and (not create or readonly):
        raise NotFoundError(f"no library in {folder} (no {DATABASE_NAME}); `fdvs build` makes one")
    with readable_errors(str(folder)):
        db = _open_for_reading(path) if readonly else _connect(path, "mode=rwc")
        try:
            if readonly:
                _check_current(db, folder)
            else:
                _prepare_for_writing(db, folder)
        except BaseException:
            db.close()
            raise
    return db


def _check_current(db: sqlite3.Connection, folder: Path) -> None:
    if check_version(db) < MIGRATIONS[-1].number:
        raise StoreError(f"{folder}: the library has an older schema; open it once for writing to bring it up to date")


def _prepare_for_writing(db: sqlite3.Connection, folder: Path) -> None:
    check_version(db)  # before anything is written to a file that may not be ours
    _use_wal(db, folder)
    db.execute("PRAGMA synchronous = NORMAL")
    migrate(db)


class Database:
    """Base of the store's parts: one connection, used by one thread."""

    def __init__(self, db: sqlite3.Connection, folder: Path | None, *, readonly: bool) -> None:
        self._db = db
        self.folder = folder
        self.readonly = readonly
        self._writing = False
        self._closed = False

    @classmethod
    def open(cls, folder: Path, *, create: bool, readonly: bool = False) -> Self:
        """Open the library in `folder`; see `open_database` for the errors."""
        return cls(open_database(folder, create=create, readonly=readonly), folder, readonly=readonly)

    @classmethod
    def in_memory(cls) -> Self:
        """An empty library that lives as long as this object."""
        db = sqlite3.connect(":memory:", isolation_level=None)
        db.execute("PRAGMA foreign_keys = ON")
        migrate(db)
        return cls(db, None, readonly=False)

    @property
    def where(self) -> str:
        return "library in memory" if self.folder is None else str(self.folder)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: all of the block or nothing. Inside another one it joins that one."""
        if self.readonly:
            raise StoreError(f"{self.where}: the library was opened for reading only")
        assert self._writing or not self._db.in_transaction, "a read transaction cannot become a write transaction"
        with readable_errors(self.where), self._transaction("BEGIN IMMEDIATE"):
            outer, self._writing = self._writing, True
            try:
                yield self._db
            finally:
                self._writing = outer

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One view of the library: writers that commit meanwhile are not seen inside the block."""
        with readable_errors(self.where), self._transaction("BEGIN"):
            yield self._db

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        if self._db.in_transaction:
            yield
            return
        self._db.execute(begin)
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._rollback()
            raise

    def _rollback(self) -> None:
        if self._db.in_transaction:  # SQLite itself rolls back after some errors, such as a full disk
            self._db.execute("ROLLBACK")

    @property
    def library_id(self) -> str:
        """Random id given when the library was made."""
        return self._meta("library_id")

    @property
    def generation(self) -> int:
        """Counts the transactions that changed nodes or vectors: an index of another generation is stale."""
        return int(self._meta("generation"))

    def _meta(self, key: str) -> str:
        with self.reading() as db:
            return str(db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])

    @staticmethod
    def _bump_generation(db: sqlite3.Connection) -> None:
        db.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'generation'")

    def checkpoint(self) -> None:
        """Write the log's pages into the database, as far as readers allow; the rest waits for the next checkpoint."""
        if not self.readonly and self.folder is not None:
            with suppress(sqlite3.OperationalError):  # locked by another process: nothing is lost, the log stays
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Write the log into the database and close. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self.checkpoint()
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
