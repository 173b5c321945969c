"""Bringing a library to the newest schema: each step is applied together with its record in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from fdvs.errors import SchemaTooNewError, StoreError
from fdvs.languages.terms import terms
from fdvs.store.schema import MIGRATIONS, Migration

__all__ = ["MIGRATIONS", "Migration", "check_version", "migrate", "schema_version"]

_RECORDS = "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL)"


def schema_version(db: sqlite3.Connection) -> int:
    """Number of the last applied migration; 0 for an empty database.

    Raises:
        StoreError: the database holds tables but no record of migrations, so it is not a library.
    """
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "migrations" in tables:
        return int(db.execute("SELECT coalesce(max(number), 0) FROM migrations").fetchone()[0])
    if tables:
        raise StoreError("this SQLite file was not written by fdvs")
    return 0


def search_terms(text: str) -> str:
    """What search counts of a text: its terms, separated by blanks."""
    return " ".join(terms(text))


def check_version(db: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """The schema version, or SchemaTooNewError where it lies beyond the last of `migrations`."""
    version = schema_version(db)
    newest = migrations[-1].number
    if version > newest:
        raise SchemaTooNewError(
            f"the library has schema {version}, this fdvs knows schemas up to {newest}: install a newer fdvs"
        )
    return version


def migrate(db: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> list[str]:
    """Bring a database to the newest of `migrations` (ordered by number) and return the names of those applied.

    Safe when several processes do it at once: each step looks again under the write lock.

    Raises:
        SchemaTooNewError: the database is newer than `migrations`.
        sqlite3.Error: a statement failed; the step it belongs to left nothing behind.
    """
    applied: list[str] = []
    db.create_function("search_terms", 1, search_terms, deterministic=True)
    while check_version(db, migrations) < migrations[-1].number:
        db.execute("BEGIN IMMEDIATE")
        try:
            version = check_version(db, migrations)
            step = next((m for m in migrations if m.number > version), None)
            if step is not None:
                _apply(db, step)
                applied.append(step.name)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    return applied


def _apply(db: sqlite3.Connection, step: Migration) -> None:
    db.execute(_RECORDS)
    for statement in step.statements:
        db.execute(statement)
    db.execute("INSERT INTO migrations VALUES (?, ?)", (step.number, step.name))
