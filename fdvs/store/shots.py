"""Signs of shot borders, stored portion by portion: what was looked through once is never looked through again."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fdvs.media.signs import Signs
from fdvs.store.database import Database
from fdvs.store.rows import json_column


class ShotRows(Database):
    """Operations on the signs of shot borders.

    `key` says how the signs were found; a video keeps those of one key only.
    """

    def put_signs(self, video_id: str, key: str, portion: int, signs: Signs) -> None:
        """Store the signs in portion number `portion` of a stored video, and drop those found under other keys."""
        columns = json_column([signs.cuts, signs.mixtures, [(pts, int(black)) for pts, black in signs.darkness]])
        with self.writing() as db:
            db.execute("DELETE FROM shot_signs WHERE video_id = ? AND found_by <> ?", (video_id, key))
            db.execute("INSERT OR REPLACE INTO shot_signs VALUES (?, ?, ?, ?)", (video_id, key, portion, columns))

    def signs(self, video_id: str, key: str) -> list[Signs]:
        """The stored signs of the portions from the first on, as far as they were found without a gap."""
        with self.reading() as db:
            rows = db.execute(
                "SELECT portion, signs_json FROM shot_signs WHERE video_id = ? AND found_by = ? ORDER BY portion",
                (video_id, key),
            ).fetchall()
        return [_signs(*json.loads(column)) for place, (portion, column) in enumerate(rows) if place == portion]


def _signs(cuts: Sequence[int], mixtures: Sequence[int], darkness: Sequence[tuple[int, int]]) -> Signs:
    return Signs(tuple(cuts), tuple(mixtures), tuple((pts, bool(black)) for pts, black in darkness))
