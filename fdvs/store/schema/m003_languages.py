"""Languages of a story; search text as terms, so that scripts without blanks can be searched."""

from __future__ import annotations

from fdvs.store.schema.migration import Migration

M003_LANGUAGES = Migration(
    3,
    "m003_languages",
    (
        """
        CREATE TABLE languages (
            video_id TEXT PRIMARY KEY REFERENCES stories(video_id) ON DELETE CASCADE,
            languages_json TEXT NOT NULL
        ) WITHOUT ROWID
        """,
        # The text comes cut into terms (`search_terms`, from fdvs.languages.terms), separated by blanks. To SQLite's
        # tokenizer `ascii` everything beyond ASCII is a letter, so that it counts exactly these terms, whatever its
        # own idea of Unicode; `unicode61` takes a Chinese clause for one word and cuts Hindi ones at their vowels.
        "ALTER TABLE node_text RENAME TO uncut_node_text",
        "DROP TRIGGER node_text_follows_nodes",
        "CREATE VIRTUAL TABLE node_text USING fts5(title, text, tokenize = 'ascii')",
        "INSERT INTO node_text (rowid, title, text) "
        "SELECT rowid, search_terms(title), search_terms(text) FROM uncut_node_text",
        "DROP TABLE uncut_node_text",
        """
        CREATE TRIGGER node_text_follows_nodes AFTER DELETE ON nodes BEGIN
            DELETE FROM node_text WHERE rowid = old.key;
        END
        """,
        # Word indexes under LIBRARY/index/ are those of the old terms.
        "UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'generation'",
    ),
)
