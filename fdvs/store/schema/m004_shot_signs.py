"""Signs of shot borders, for builds with shot cuts."""

from __future__ import annotations

from fdvs.store.schema.migration import Migration

M004_SHOT_SIGNS = Migration(
    4,
    "m004_shot_signs",
    (
        """
        CREATE TABLE shot_signs (
            video_id TEXT NOT NULL REFERENCES videos(id) ON DELETE CASCADE,
            found_by TEXT NOT NULL,
            portion INTEGER NOT NULL,
            signs_json TEXT NOT NULL,
            PRIMARY KEY (video_id, found_by, portion)
        ) WITHOUT ROWID
        """,
    ),
)
