"""Videos by content: stored once however many paths lead to them, found by file name, path or id prefix."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fdvs.errors import AmbiguousError, NotFoundError
from fdvs.records import State, Video
from fdvs.store.paths import PathRows
from fdvs.store.rows import json_column, path_column, path_value, probe_value

MIN_ID_PREFIX = 4
_COLUMNS = "id, name, duration_ms, size_bytes, probe_json"


class VideoRows(PathRows):
    """Operations on videos, stage marks and the status of a build."""

    def put_video(self, video: Video) -> None:
        """Store or update a video. Its `paths` are not stored: `record_path` does that."""
        probe = None if video.probe is None else json_column(dataclasses.asdict(video.probe))
        with self.writing() as db:
            db.execute(
                f"INSERT INTO videos ({_COLUMNS}) VALUES (?, ?, ?, ?, ?) "  # noqa: S608  # a constant
                "ON CONFLICT (id) DO UPDATE SET name = excluded.name, duration_ms = excluded.duration_ms, "
                "size_bytes = excluded.size_bytes, probe_json = coalesce(excluded.probe_json, probe_json)",
                (video.id, path_column(video.name), video.duration_ms, video.size_bytes, probe),
            )

    def video(self, video_id: str) -> Video:
        """The video with exactly this id (NotFoundError otherwise)."""
        with self.reading() as db:
            found = _videos(db, "WHERE id = ?", video_id)
        if not found:
            raise NotFoundError(f"no video {video_id!r} in {self.where}")
        return found[0]

    def videos(self) -> list[Video]:
        """All videos, by name and id."""
        with self.reading() as db:
            return _videos(db, "ORDER BY name, id")

    def resolve_video(self, name: str) -> Video:
        """The video meant by an id, a path, a file name or the first characters of an id (at least 4), in this order.

        Raises:
            NotFoundError: nothing fits.
            AmbiguousError: several videos fit; the message lists them.
        """
        text, path = path_column(name), path_column(os.path.abspath(name))  # noqa: PTH100  # normalises `..`
        with self.reading() as db:
            for found in (
                _videos(db, "WHERE id = ?", text),
                _videos(db, "WHERE id IN (SELECT video_id FROM paths WHERE path = ?)", path),
                _named(db, name),
                _videos(db, "WHERE substr(id, 1, ?) = ?", len(name), text) if len(name) >= MIN_ID_PREFIX else [],
            ):
                if len(found) == 1:
                    return found[0]
                if found:
                    lines = (f"  {video.id[:12]}  {', '.join(video.paths) or video.name}" for video in found)
                    raise AmbiguousError("\n".join([f"{name!r} fits {len(found)} videos:", *lines]))
        raise NotFoundError(
            f"no video {name!r} in {self.where}; name one by file name, path or the first {MIN_ID_PREFIX} or more "
            "characters of its id (`fdvs status` lists them)"
        )

    def plan_video(self, video_id: str, clips_hash: str, captions_hash: str = "", *, clips_total: int) -> None:
        """Announce what is built for a video now; `status_rows` counts the clips it has under these settings: those
        that are captioned, or without a `captions_hash` those that are decoded."""
        with self.writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO plans VALUES (?, ?, ?, ?)", (video_id, clips_hash, captions_hash, clips_total)
            )

    def mark_stage(self, video_id: str, stage: str, settings_hash: str) -> None:
        """Write the done mark of a stage: the last thing its work writes."""
        with self.writing() as db:
            db.execute("INSERT OR IGNORE INTO marks VALUES (?, ?, ?)", (video_id, stage, settings_hash))

    def unmark_stage(self, video_id: str, stage: str) -> None:
        """Take back the done marks of a stage: the first thing that doing it again writes."""
        with self.writing() as db:
            db.execute("DELETE FROM marks WHERE video_id = ? AND stage = ?", (video_id, stage))

    def stage_done(self, video_id: str, stage: str, settings_hash: str) -> bool:
        with self.reading() as db:
            row = db.execute(
                "SELECT 1 FROM marks WHERE video_id = ? AND stage = ? AND settings_hash = ?",
                (video_id, stage, settings_hash),
            ).fetchone()
        return row is not None

    def status_rows(self) -> list[dict[str, Any]]:
        """One row per path, as in the contract's `status` JSON, by path; then the videos that have no path (imported
        captions), with `path` None."""
        with self.reading() as db:
            progress = _progress(db)
            names = {row[0]: path_value(row[1]) for row in db.execute("SELECT id, name FROM videos")}
            told = {row[0] for row in db.execute("SELECT video_id FROM stories")}
            paths = self.path_rows()
        rows = [
            {
                "video": Path(row.path).name,
                "path": row.path,
                "video_id": row.video_id,
                "state": str(row.state),
                **progress.get(row.video_id or "", _NO_CLIPS),
                "warnings": list(row.warnings),
                "error": None if row.error is None else {"code": row.error.code, "message": row.error.message},
            }
            for row in paths
        ]
        pathless = sorted(set(names) - {row.video_id for row in paths}, key=lambda i: (names[i], i))
        return rows + [
            {
                "video": names[video_id],
                "path": None,
                "video_id": video_id,
                "state": str(State.DONE if video_id in told else State.PENDING),
                **progress.get(video_id, _NO_CLIPS),
                "warnings": [],
                "error": None,
            }
            for video_id in pathless
        ]


_NO_CLIPS: dict[str, int | None] = {"clips_done": 0, "clips_total": None}


def _progress(db: sqlite3.Connection) -> dict[str, dict[str, int | None]]:
    """{video id: clips_done, clips_total} under the settings each video was last planned with."""
    rows = db.execute(
        "SELECT p.video_id, p.clips_total, (SELECT count(*) FROM clips c "
        "WHERE c.video_id = p.video_id AND c.clips_hash = p.clips_hash AND (p.captions_hash = '' OR EXISTS "
        "(SELECT 1 FROM captioned d WHERE d.clip_key = c.key AND d.captions_hash = p.captions_hash))) FROM plans p"
    )
    return {video_id: {"clips_done": done, "clips_total": total} for video_id, total, done in rows}


def _videos(db: sqlite3.Connection, where: str, *values: object) -> list[Video]:
    found = db.execute(f"SELECT {_COLUMNS} FROM videos {where}", values).fetchall()  # noqa: S608  # constants
    return [_video(db, row) for row in found]


def _video(db: sqlite3.Connection, row: Sequence[Any]) -> Video:
    video_id, name, duration_ms, size_bytes, probe = row
    paths = sorted(path_value(r[0]) for r in db.execute("SELECT path FROM paths WHERE video_id = ?", (video_id,)))
    return Video(video_id, path_value(name), duration_ms, size_bytes, probe_value(probe), tuple(paths))


def _named(db: sqlite3.Connection, name: str) -> list[Video]:
    """Videos whose name, or the file name of one of whose paths, is `name`."""
    ids = {row[0] for row in db.execute("SELECT id FROM videos WHERE name = ?", (path_column(name),))}
    for path, video_id in db.execute("SELECT path, video_id FROM paths WHERE video_id IS NOT NULL"):
        if Path(path_value(path)).name == name:
            ids.add(video_id)
    return [video for video_id in sorted(ids) for video in _videos(db, "WHERE id = ?", video_id)]
