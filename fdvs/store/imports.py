"""Captions made elsewhere that were added to a built video. They outlive every rebuild of its story."""

from __future__ import annotations

from collections.abc import Iterable

from fdvs.records import CaptionKind, Span, content_id
from fdvs.store.rows import text_column
from fdvs.store.search_rows import SearchRows

TimedText = tuple[Span, CaptionKind, str]


class ImportRows(SearchRows):
    """Operations on added captions."""

    def add_imported(self, video_id: str, captions: Iterable[TimedText]) -> int:
        """Add captions to a stored video; those that it has already are not added again. Returns how many were new."""
        known = self.imported(video_id)
        seen = set(known)
        new = [item for item in dict.fromkeys(captions) if item not in seen]
        with self.writing() as db:
            db.executemany(
                "INSERT INTO imported_captions VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (video_id, ordinal, span.start_ms, span.end_ms, str(kind), text_column(text))
                    for ordinal, (span, kind, text) in enumerate(new, len(known))
                ],
            )
        return len(new)

    def imported(self, video_id: str) -> list[TimedText]:
        """The captions added to a video, in the order in which they came."""
        with self.reading() as db:
            rows = db.execute(
                "SELECT start_ms, end_ms, kind, text FROM imported_captions WHERE video_id = ? ORDER BY ordinal",
                (video_id,),
            ).fetchall()
        return [(Span(start_ms, end_ms), CaptionKind(kind), text) for start_ms, end_ms, kind, text in rows]

    def imported_key(self, video_id: str) -> str:
        """Changes whenever captions are added; empty while there are none."""
        rows = sorted((span.start_ms, span.end_ms, str(kind), text) for span, kind, text in self.imported(video_id))
        return content_id("imported", rows) if rows else ""
