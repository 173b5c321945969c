"""What was read on the screen, clip by clip, and the state in which reading goes on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fdvs.errors import NotFoundError
from fdvs.screen_text.readings import Reading
from fdvs.store.clips import ClipRows
from fdvs.store.rows import json_column, text_column


class ReadingRows(ClipRows):
    """Operations on readings. A readings hash stands for everything that shapes them but the clips."""

    def put_readings(
        self,
        video_id: str,
        clips_hash: str,
        ordinal: int,
        readings: Sequence[Reading],
        *,
        readings_hash: str,
        state: bytes,
    ) -> None:
        """Store the readings of a stored clip and, with them, the state for the clip after it.

        Raises:
            NotFoundError: no clip with this ordinal is stored under `clips_hash`.
        """
        rows = [reading.to_json() for reading in readings]
        for row in rows:
            row["lines"] = [[text_column(text), *rest] for text, *rest in row["lines"]]
        with self.writing() as db:
            found = db.execute(
                "SELECT key FROM clips WHERE video_id = ? AND clips_hash = ? AND ordinal = ?",
                (video_id, clips_hash, ordinal),
            ).fetchone()
            if found is None:
                raise NotFoundError(f"no clip {ordinal} of video {video_id} under settings {clips_hash}")
            db.execute("INSERT OR REPLACE INTO readings VALUES (?, ?, ?)", (found[0], readings_hash, json_column(rows)))
            db.execute(
                "INSERT OR REPLACE INTO reading_states VALUES (?, ?, ?, ?, ?)",
                (video_id, clips_hash, readings_hash, ordinal + 1, state),
            )

    def reading_state(self, video_id: str, clips_hash: str, readings_hash: str) -> tuple[int, bytes]:
        """How many of the video's clips are read, and the state to go on with; (0, b"") before the first."""
        with self.reading() as db:
            found = db.execute(
                "SELECT next_ordinal, state FROM reading_states "
                "WHERE video_id = ? AND clips_hash = ? AND readings_hash = ?",
                (video_id, clips_hash, readings_hash),
            ).fetchone()
        return (0, b"") if found is None else (int(found[0]), bytes(found[1]))

    def stored_readings(self, video_id: str, clips_hash: str, readings_hash: str) -> dict[str, tuple[Reading, ...]]:
        """{clip id: its readings in time order} of the clips that are read."""
        with self.reading() as db:
            rows = db.execute(
                "SELECT c.id, r.readings_json FROM clips c JOIN readings r ON r.clip_key = c.key "
                "WHERE c.video_id = ? AND c.clips_hash = ? AND r.readings_hash = ? ORDER BY c.ordinal",
                (video_id, clips_hash, readings_hash),
            )
            return {clip_id: tuple(map(Reading.from_json, json.loads(column))) for clip_id, column in rows}
