"""What pairs of videos share, and which videos were compared: kept, so that a build compares only what is new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from fdvs.records import Span
from fdvs.store.rows import layouts_value
from fdvs.store.stories import StoryRows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SharedStretch = tuple[str, Span, str, Span, float, str]  # video, span, other video, span, similarity, rule


class AlignmentRows(StoryRows):
    """Operations on shared stretches."""

    def told_with(self) -> dict[str, str]:
        """{video id: clips hash} of all stories whose clips have layouts."""
        with self.reading() as db:
            rows = db.execute(
                "SELECT s.video_id, s.clips_hash FROM stories s WHERE EXISTS (SELECT 1 FROM clips c "
                "WHERE c.video_id = s.video_id AND c.clips_hash = s.clips_hash AND c.layouts IS NOT NULL)"
            )
            return dict(rows.fetchall())

    def linked(self) -> dict[str, str]:
        """{video id: clips hash} of the videos that were compared with each other."""
        with self.reading() as db:
            return dict(db.execute("SELECT video_id, clips_hash FROM linked").fetchall())

    def layouts_of_clips(self, video_id: str, clips_hash: str) -> Iterator[NDArray[np.uint8]]:
        """The layouts of each clip of a video, `[T, 288]`, without its times: quick to read for many videos."""
        with self.reading() as db:
            rows = db.execute(
                "SELECT layouts, json_array_length(sampled_json) FROM clips "
                "WHERE video_id = ? AND clips_hash = ? AND layouts IS NOT NULL ORDER BY ordinal",
                (video_id, clips_hash),
            )
            for layouts, count in rows:
                yield layouts_value(layouts, count)

    def put_aligned(self, compared: dict[str, str], stretches: Iterable[SharedStretch], gone: Iterable[str]) -> None:
        """Store what the videos `compared` ({id: clips hash}) share with all others, in place of what was known of
        them; videos `gone` are compared with no other any more. One transaction."""
        with self.writing() as db:
            for video_id in (*compared, *gone):
                db.execute("DELETE FROM alignments WHERE video_id = ? OR other_id = ?", (video_id, video_id))
                db.execute("DELETE FROM linked WHERE video_id = ?", (video_id,))
            db.executemany("INSERT INTO linked VALUES (?, ?)", compared.items())
            db.executemany(
                "INSERT INTO alignments VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (video_id, span.start_ms, span.end_ms, other_id, other.start_ms, other.end_ms, similarity, rule)
                    for video_id, span, other_id, other, similarity, rule in stretches
                ],
            )

    def aligned(self) -> list[SharedStretch]:
        """All stretches that two videos share, in no particular order."""
        with self.reading() as db:
            rows = db.execute(
                "SELECT video_id, start_ms, end_ms, other_id, other_start_ms, other_end_ms, similarity, rule "
                "FROM alignments"
            ).fetchall()
        return [(a, Span(b, c), d, Span(e, f), similarity, rule) for a, b, c, d, e, f, similarity, rule in rows]
