"""Captions made elsewhere that were added to a built video. They outlive every rebuild of its story."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fdvs.errors import NotFoundError
from fdvs.records import CaptionKind, Span, content_id
from fdvs.store.clips import ClipRow
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

    def told_from(self, video_id: str) -> tuple[str, str]:
        """The clips hash and the captions hash that a video's story was told from (NotFoundError without a story)."""
        with self.reading() as db:
            found = db.execute(
                "SELECT clips_hash, captions_hash FROM stories WHERE video_id = ?", (video_id,)
            ).fetchone()
        if found is None:
            raise NotFoundError(f"{self.video(video_id).name} has no story yet")
        return str(found[0]), str(found[1])

    def told_readings(self, video_id: str) -> str:
        """The readings hash that a video's story was told from; empty where nothing was read for it."""
        with self.reading() as db:
            found = db.execute("SELECT readings_hash FROM stories WHERE video_id = ?", (video_id,)).fetchone()
        return "" if found is None else str(found[0])

    def told_clips(self, video_id: str) -> list[ClipRow]:
        """The clips a video's story was told from, with their captions."""
        return self.stored_clips(video_id, *self.told_from(video_id))

    def put_clips(self, clips_hash: str, rows: Sequence[ClipRow], *, captions_hash: str) -> None:
        """Store many clips with their captions in one transaction: all of them or none."""
        with self.writing():
            for row in rows:
                self.put_clip(clips_hash, row, captions_hash=captions_hash)
