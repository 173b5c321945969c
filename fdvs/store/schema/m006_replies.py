"""Replies of models that wrote about a video, so that no request is carried out twice."""

from __future__ import annotations

from fdvs.store.schema.migration import Migration

M006_REPLIES = Migration(
    6,
    "m006_replies",
    (
        # Only replies with text; what was refused or failed is asked again. They go with their video.
        """
        CREATE TABLE replies (
            video_id TEXT NOT NULL REFERENCES videos(id) ON DELETE CASCADE,
            key TEXT NOT NULL,
            text TEXT NOT NULL,
            finish TEXT NOT NULL CHECK (finish IN ('stop', 'length')),
            reason TEXT NOT NULL,
            usage_json TEXT NOT NULL,
            PRIMARY KEY (video_id, key)
        ) WITHOUT ROWID
        """,
    ),
)
