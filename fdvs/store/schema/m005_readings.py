"""What was read on the screen in each clip, and how far and in what state reading a video is."""

from __future__ import annotations

from fdvs.store.schema.migration import Migration

M005_READINGS = Migration(
    5,
    "m005_readings",
    (
        """
        CREATE TABLE readings (
            clip_key INTEGER NOT NULL REFERENCES clips(key) ON DELETE CASCADE,
            readings_hash TEXT NOT NULL,
            readings_json TEXT NOT NULL,
            PRIMARY KEY (clip_key, readings_hash)
        ) WITHOUT ROWID
        """,
        # The clips before `next_ordinal` are read; `state` is what reading goes on with.
        """
        CREATE TABLE reading_states (
            video_id TEXT NOT NULL REFERENCES videos(id) ON DELETE CASCADE,
            clips_hash TEXT NOT NULL,
            readings_hash TEXT NOT NULL,
            next_ordinal INTEGER NOT NULL,
            state BLOB NOT NULL,
            PRIMARY KEY (video_id, clips_hash, readings_hash)
        )
        """,
        # Empty where a story was told without readings.
        "ALTER TABLE stories ADD COLUMN readings_hash TEXT NOT NULL DEFAULT ''",
    ),
)
