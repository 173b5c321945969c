"""The library of videos and stories: `Store`, the one place that reads and writes `library.sqlite`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fdvs.records import DuplicateGroup
from fdvs.store.agreements import AgreementRows
from fdvs.store.costs import CostRows
from fdvs.store.database import INDEX_FOLDER, THUMBNAIL_FOLDER, readable_errors
from fdvs.store.imports import ImportRows
from fdvs.store.kept_pictures import stray_files
from fdvs.store.replies import ReplyRows
from fdvs.store.shots import ShotRows


class Store(ReplyRows, CostRows, ShotRows, ImportRows, AgreementRows):
    """A library over one SQLite connection, for use by one thread.

    Several processes may write at once (short transactions that wait for each other) while others read. Work is
    committed clip by clip; what was committed survives a killed process.

    Open it with `Store.open(folder, create=…)` or `Store.in_memory()`; close it, or use it as a context manager. The
    operations: paths (`paths.py`), videos, marks and status (`videos.py`), clips and captions (`clips.py`), readings of
    the screen (`readings.py`), stories (`stories.py`), what search needs (`search_rows.py`), captions made elsewhere
    (`imports.py`), signs of shot borders (`shots.py`), replies of models (`replies.py`), what was spent (`costs.py`),
    hosts that may be sent to (`agreements.py`).
    """

    def forget(self, video_id: str) -> tuple[Path, ...]:
        """Remove a video everywhere: rows, captions, nodes, vectors, search text, paths, links from other videos.

        Returns:
            The files that still hold something of it (thumbnails, kept pictures, derived index files), for the caller
            to delete. Groups across videos that it represented are dropped whole; the next build finds them anew.

        Raises:
            NotFoundError: no video has this id.
        """
        self.video(video_id)
        with readable_errors(self.where):
            self._db.execute("PRAGMA secure_delete = ON")  # freed pages are zeroed
        with self.writing() as db:
            rows = db.execute("SELECT DISTINCT id FROM clips WHERE video_id = ? AND has_thumbnail", (video_id,))
            thumbnails = sorted(row[0] for row in rows)
            self.put_links(_without(self.links(), video_id))
            db.execute("DELETE FROM videos WHERE id = ?", (video_id,))
            db.execute("INSERT INTO node_text (node_text) VALUES ('optimize')")  # drops its words from the index
            clip_ids = {row[0] for row in db.execute("SELECT DISTINCT id FROM clips")}
            self._bump_generation(db)
        self.checkpoint()
        if self.folder is None:
            return ()
        index = sorted(path for path in (self.folder / INDEX_FOLDER).glob("*") if path.is_file())
        pictures = stray_files(self.folder, clip_ids)
        return (*(self.folder / THUMBNAIL_FOLDER / f"{clip_id}.jpg" for clip_id in thumbnails), *pictures, *index)


def _without(groups: Sequence[DuplicateGroup], video_id: str) -> list[DuplicateGroup]:
    """Groups across videos with one video taken out of them."""
    left = []
    for group in groups:
        members = tuple(member for member in group.members if member.video_id != video_id)
        if members and group.representative_video_id != video_id:
            left.append(replace(group, members=members))
    return left
