"""Layouts of the sampled pictures of each clip, and stretches that two videos share."""

from __future__ import annotations

from fdvs.store.schema.migration import Migration

M002_LAYOUTS = Migration(
    2,
    "m002_layouts",
    (
        # 288 bytes for each sampled time. A clip decoded before this step has none and is like no other.
        "ALTER TABLE clips ADD COLUMN layouts BLOB",
        # Videos that were compared with each other, by the clips under `clips_hash`.
        """
        CREATE TABLE linked (
            video_id TEXT PRIMARY KEY REFERENCES videos(id) ON DELETE CASCADE,
            clips_hash TEXT NOT NULL
        ) WITHOUT ROWID
        """,
        # What two videos share, one row per stretch; video_id < other_id.
        """
        CREATE TABLE alignments (
            video_id TEXT NOT NULL REFERENCES videos(id) ON DELETE CASCADE,
            start_ms INTEGER NOT NULL,
            end_ms INTEGER NOT NULL,
            other_id TEXT NOT NULL REFERENCES videos(id) ON DELETE CASCADE,
            other_start_ms INTEGER NOT NULL,
            other_end_ms INTEGER NOT NULL,
            similarity REAL NOT NULL,
            rule TEXT NOT NULL,
            CHECK (video_id < other_id),
            PRIMARY KEY (video_id, other_id, start_ms, other_start_ms)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX alignments_by_other ON alignments(other_id)",
    ),
)
