"""Videos, paths, clips, captions, stories, nodes, vectors, full text and repeats."""

from __future__ import annotations

from fdvs.store.schema.migration import Migration

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
