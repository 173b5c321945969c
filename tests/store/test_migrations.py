from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from fdvs.errors import SchemaTooNewError, StoreError
from fdvs.store.library import Store
from fdvs.store.migrations import MIGRATIONS, Migration, migrate, schema_version

NEXT = MIGRATIONS[-1].number + 1
ADD_NOTE = Migration(
    NEXT,
    "m_next_note",
    ("ALTER TABLE videos ADD COLUMN note TEXT", "UPDATE videos SET note = 'old ' || name"),
)
BROKEN = Migration(NEXT, "m_next_broken", (*ADD_NOTE.statements, "UPDATE no_such_table SET x = 1"))


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=30)


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    assert [m.number for m in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))
    assert all(m.name.startswith(f"m{m.number:03d}_") for m in MIGRATIONS)


def test_a_filled_older_library_is_migrated_with_its_rows(tmp_path: Path) -> None:
    db = connect(tmp_path / "x.sqlite")
    assert migrate(db, MIGRATIONS[:1]) == ["m001_initial"]
    db.execute("INSERT INTO videos VALUES ('v1', 'a.mp4', 5, 6, NULL)")
    assert migrate(db, [*MIGRATIONS, ADD_NOTE]) == [m.name for m in (*MIGRATIONS[1:], ADD_NOTE)]
    assert db.execute("SELECT name, note FROM videos").fetchall() == [("a.mp4", "old a.mp4")]
    assert schema_version(db) == NEXT
    assert migrate(db, [*MIGRATIONS, ADD_NOTE]) == []


def test_an_aborted_migration_leaves_nothing_of_itself(tmp_path: Path) -> None:
    db = connect(tmp_path / "x.sqlite")
    migrate(db)
    db.execute("INSERT INTO videos VALUES ('v1', 'a.mp4', 5, 6, NULL)")
    with pytest.raises(sqlite3.OperationalError, match="no_such_table"):
        migrate(db, [*MIGRATIONS, BROKEN])
    assert not db.in_transaction
    assert schema_version(db) == MIGRATIONS[-1].number
    assert "note" not in [row[1] for row in db.execute("PRAGMA table_info(videos)")]
    assert migrate(db, [*MIGRATIONS, ADD_NOTE]) == ["m_next_note"]


def test_processes_that_migrate_at_once_apply_each_step_once(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    applied: list[str] = []
    start = threading.Barrier(6)

    def work() -> None:
        db = connect(path)
        start.wait()
        applied.extend(migrate(db, [*MIGRATIONS, ADD_NOTE]))
        db.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == sorted([*(m.name for m in MIGRATIONS), ADD_NOTE.name])


def test_a_newer_library_is_refused_and_left_alone(tmp_path: Path) -> None:
    Store.open(tmp_path, create=True).close()
    db = connect(tmp_path / "library.sqlite")
    db.execute("INSERT INTO migrations VALUES (?, 'from_the_future')", (NEXT,))
    db.close()
    for readonly in (False, True):
        with pytest.raises(SchemaTooNewError, match="newer fdvs"):
            Store.open(tmp_path, create=True, readonly=readonly)


def test_a_foreign_sqlite_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    db = connect(tmp_path / "library.sqlite")
    db.execute("CREATE TABLE recipes (name TEXT)")
    db.close()
    before = (tmp_path / "library.sqlite").read_bytes()
    with pytest.raises(StoreError, match="not written by fdvs"):
        Store.open(tmp_path, create=True)
    assert (tmp_path / "library.sqlite").read_bytes() == before


def test_search_text_of_an_older_library_is_cut_anew(tmp_path: Path) -> None:
    db = connect(tmp_path / "x.sqlite")
    before = [step for step in MIGRATIONS if step.number < next(m.number for m in MIGRATIONS if "languages" in m.name)]
    migrate(db, before)
    db.execute("INSERT INTO node_text (rowid, title, text) VALUES (7, 'Ein Titel', '我们学习。 Die Straße!')")
    migrate(db)
    assert db.execute("SELECT rowid FROM node_text WHERE node_text MATCH '学习'").fetchall() == [(7,)]
    assert db.execute("SELECT title, text FROM node_text").fetchall() == [
        ("ein titel", "我 们 学 习 我们 们学 学习 die strasse")
    ]
