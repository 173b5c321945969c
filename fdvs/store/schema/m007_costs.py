"""What models and decoding took of each video."""

from __future__ import annotations

from fdvs.store.schema.migration import Migration

M007_COSTS = Migration(
    7,
    "m007_costs",
    (
        # One row per stage and what it was made with; adds up over interrupted runs. Times are for people, and go into
        # no export.
        """
        CREATE TABLE costs (
            video_id TEXT NOT NULL REFERENCES videos(id) ON DELETE CASCADE,
            stage TEXT NOT NULL,
            made_with TEXT NOT NULL,
            seconds REAL NOT NULL,
            waited_s REAL NOT NULL,
            requests INTEGER NOT NULL,
            retries INTEGER NOT NULL,
            tokens_in INTEGER NOT NULL,
            tokens_out INTEGER NOT NULL,
            images INTEGER NOT NULL,
            model_s REAL NOT NULL,
            PRIMARY KEY (video_id, stage, made_with)
        ) WITHOUT ROWID
        """,
    ),
)
