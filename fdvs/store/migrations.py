"""The schema of a library, as numbered migrations: each is applied together with its record in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from fdvs.errors import SchemaTooNewError, StoreError


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema. `statements` run in order; none of them may begin or end a transaction."""

    number: int
    name: str
    statements: tuple[str, ...]


M001_INITIAL = Migration(
    1,
    "m001_initial",
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
        "INSERT INTO meta VALUES ('library_id', lower(hex(randomblob(16)))), ('generation', '0')",
        """
        CREATE TABLE videos (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            duration_ms INTEGER NOT NULL,
            size_bytes INTEGER NOT NULL,
            probe_json TEXT
        )
        """,
        # A path is TEXT, or a BLOB of its bytes where they are not UTF-8. A path that failed has no video.
        """
        CREATE TABLE paths (
            path TEXT PRIMARY KEY,
            fingerprint TEXT,
            video_id TEXT REFERENCES videos(id) ON DELETE CASCADE,
            state TEXT NOT NULL CHECK (state IN ('done', 'failed', 'running', 'pending')),
            error_code TEXT,
            error_message TEXT,
            warnings_json TEXT NOT NULL DEFAULT '[]',
            CHECK ((error_code IS NULL) = (error_message IS NULL))
        )
        """,
        "CREATE INDEX paths_by_video ON paths(video_id)",
        "CREATE INDEX paths_by_fingerprint ON paths(fingerprint)",
        # What is being built now for a video: `clips_total` clips under these settings.
        """
        CREATE TABLE plans (
            video_id TEXT PRIMARY KEY REFERENCES videos(id) ON DELETE CASCADE,
            clips_hash TEXT NOT NULL,
            captions_hash TEXT NOT NULL,
            clips_total INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE marks (
            video_id TEXT NOT NULL REFERENCES videos(id) ON DELETE CASCADE,
            stage TEXT NOT NULL,
            settings_hash TEXT NOT NULL,
            PRIMARY KEY (video_id, stage, settings_hash)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE clips (
            key INTEGER PRIMARY KEY,
            video_id TEXT NOT NULL REFERENCES videos(id) ON DELETE CASCADE,
            clips_hash TEXT NOT NULL,
            ordinal INTEGER NOT NULL,
            id TEXT NOT NULL,
            start_ms INTEGER NOT NULL,
            end_ms INTEGER NOT NULL,
            keyframe_ms INTEGER NOT NULL,
            sampled_json TEXT NOT NULL,
            selection_json TEXT,
            facts_json TEXT,
            picture BLOB,
            picture_model TEXT,
            picture_dimension INTEGER,
            has_thumbnail INTEGER NOT NULL DEFAULT 0,
            warnings_json TEXT NOT NULL DEFAULT '[]',
            UNIQUE (video_id, clips_hash, ordinal),
            UNIQUE (video_id, clips_hash, id)
        )
        """,
        # One row per clip and captions settings: captioned, even where no caption came of it.
        """
        CREATE TABLE captioned (
            clip_key INTEGER NOT NULL REFERENCES clips(key) ON DELETE CASCADE,
            captions_hash TEXT NOT NULL,
            PRIMARY KEY (clip_key, captions_hash)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE captions (
            clip_key INTEGER NOT NULL,
            captions_hash TEXT NOT NULL,
            ordinal INTEGER NOT NULL,
            id TEXT NOT NULL,
            start_ms INTEGER NOT NULL,
            end_ms INTEGER NOT NULL,
            kind TEXT NOT NULL,
            text TEXT NOT NULL,
            outcome TEXT NOT NULL,
            reason TEXT NOT NULL,
            backend TEXT NOT NULL,
            settings_hash TEXT NOT NULL,
            PRIMARY KEY (clip_key, captions_hash, ordinal),
            FOREIGN KEY (clip_key, captions_hash) REFERENCES captioned(clip_key, captions_hash) ON DELETE CASCADE
        ) WITHOUT ROWID
        """,
        # Captions made elsewhere and added to a built video; every later story of it is told from them too.
        """
        CREATE TABLE imported_captions (
            video_id TEXT NOT NULL REFERENCES videos(id) ON DELETE CASCADE,
            ordinal INTEGER NOT NULL,
            start_ms INTEGER NOT NULL,
            end_ms INTEGER NOT NULL,
            kind TEXT NOT NULL,
            text TEXT NOT NULL,
            PRIMARY KEY (video_id, ordinal)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE stories (
            video_id TEXT PRIMARY KEY REFERENCES videos(id) ON DELETE CASCADE,
            story_hash TEXT NOT NULL,
            clips_hash TEXT NOT NULL,
            captions_hash TEXT NOT NULL,
            settings_json TEXT NOT NULL
        )
        """,
        # AUTOINCREMENT: the key of a deleted node is never used again, so a stale index cannot name another node.
        """
        CREATE TABLE nodes (
            key INTEGER PRIMARY KEY AUTOINCREMENT,
            video_id TEXT NOT NULL REFERENCES stories(video_id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            id TEXT NOT NULL,
            level TEXT NOT NULL,
            parent TEXT,
            start_ms INTEGER NOT NULL,
            end_ms INTEGER NOT NULL,
            title TEXT NOT NULL,
            sentences_json TEXT NOT NULL,
            writer TEXT NOT NULL,
            text_key TEXT NOT NULL,
            UNIQUE (video_id, position),
            UNIQUE (video_id, id)
        )
        """,
        "CREATE INDEX nodes_by_text ON nodes(video_id, text_key)",
        """
        CREATE TABLE vectors (
            node_key INTEGER PRIMARY KEY REFERENCES nodes(key) ON DELETE CASCADE,
            model TEXT NOT NULL,
            dimension INTEGER NOT NULL,
            vector BLOB NOT NULL
        )
        """,
        "CREATE VIRTUAL TABLE node_text USING fts5(title, text, tokenize = 'porter unicode61')",
        """
        CREATE TRIGGER node_text_follows_nodes AFTER DELETE ON nodes BEGIN
            DELETE FROM node_text WHERE rowid = old.key;
        END
        """,
        # Groups within a video's story, and (video_id NULL) across videos.
        """
        CREATE TABLE duplicates (
            key INTEGER PRIMARY KEY,
            video_id TEXT REFERENCES stories(video_id) ON DELETE CASCADE,
            ordinal INTEGER NOT NULL,
            group_json TEXT NOT NULL
        )
        """,
        "CREATE INDEX duplicates_by_video ON duplicates(video_id, ordinal)",
    ),
)

MIGRATIONS: tuple[Migration, ...] = (M001_INITIAL,)

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
