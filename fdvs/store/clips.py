"""Clips with what was decided and measured about them, and their captions: one transaction per clip."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdvs.errors import InputError, NotFoundError, StoreError
from fdvs.records import Caption, CaptionKind, Clip, FrameSelection, Outcome, Span
from fdvs.store.database import THUMBNAIL_FOLDER
from fdvs.store.rows import (
    json_column,
    layouts_column,
    layouts_value,
    selection_column,
    selection_value,
    text_column,
    vector_column,
    vector_value,
)
from fdvs.store.videos import VideoRows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FILE_SAFE = re.compile(r"[A-Za-z0-9_-]{1,128}")


# Measured facts are rounded to thousandths: few numbers, told of thousands of clips, and each is kept once.
_float = lru_cache(maxsize=4096)(float)


@dataclass(frozen=True, slots=True, eq=False)
class ClipRow:
    """One clip of one clips setting.

    `ordinal` counts from 0 in time order. `picture` is the clip's mean picture vector (float32 [D]) by
    `picture_model`. `captions` is None where the clip was not captioned under the settings asked for, and empty where
    it was and no caption came of it. `warnings` say what was wrong with its pictures. `layouts` are those of its
    samples (uint8 [T, 288]); only `each_clip_layouts` reads them, and None leaves what is stored as it is.
    """

    ordinal: int
    clip: Clip
    selection: FrameSelection | None = None
    facts: Mapping[str, Any] | None = None
    picture: NDArray[np.float32] | None = None
    picture_model: str = ""
    captions: tuple[Caption, ...] | None = None
    warnings: tuple[str, ...] = ()
    layouts: NDArray[np.uint8] | None = None


class ClipRows(VideoRows):
    """Operations on clips and captions."""

    def put_clip(
        self, clips_hash: str, row: ClipRow, *, captions_hash: str | None = None, thumbnail: bytes | None = None
    ) -> None:
        """Store one clip in one transaction, with its captions where `captions_hash` and `row.captions` are given.

        Storing it again replaces what is known of the clip and keeps its captions of other settings.

        Args:
            clips_hash: settings that shape clips, frames and facts.
            row: the clip; its video must be stored.
            captions_hash: settings that shape captions.
            thumbnail: JPEG bytes, written to `thumbs/CLIP_ID.jpg` (libraries in memory keep none).

        Raises:
            InputError: the picture vector is not one finite row, or the clip's id cannot name a file.
            StoreError: the video is unknown, or the disk refuses.
        """
        if thumbnail is not None and self.folder is not None:
            _write_thumbnail(self.folder / THUMBNAIL_FOLDER, row.clip.id, thumbnail)
        with self.writing() as db:
            key = _put_clip(db, clips_hash, row, has_thumbnail=thumbnail is not None)
            if captions_hash is not None and row.captions is not None:
                _put_captions(db, key, captions_hash, row.captions)

    def put_captions(
        self, video_id: str, clips_hash: str, clip_id: str, captions_hash: str, captions: Sequence[Caption]
    ) -> None:
        """Store the captions of a stored clip under one captions setting, in place of earlier ones under it.

        Raises:
            NotFoundError: the clip is not stored under `clips_hash`.
        """
        with self.writing() as db:
            found = db.execute(
                "SELECT key FROM clips WHERE video_id = ? AND clips_hash = ? AND id = ?",
                (video_id, clips_hash, clip_id),
            ).fetchone()
            if found is None:
                raise NotFoundError(f"no clip {clip_id} of video {video_id} under settings {clips_hash}")
            _put_captions(db, found[0], captions_hash, captions)

    def stored_clips(self, video_id: str, clips_hash: str, captions_hash: str | None = None) -> list[ClipRow]:
        """The clips stored so far under `clips_hash`, by ordinal, each with its captions under `captions_hash`."""
        return list(self.each_stored_clip(video_id, clips_hash, captions_hash))

    def each_stored_clip(self, video_id: str, clips_hash: str, captions_hash: str | None = None) -> Iterator[ClipRow]:
        """`stored_clips` one by one: a film of many hours has thousands, and all facts of all of them are large."""
        with self.reading() as db:
            captions = {} if captions_hash is None else _captions_by_clip(db, video_id, clips_hash, captions_hash)
            rows = db.execute(
                "SELECT key, ordinal, id, start_ms, end_ms, keyframe_ms, sampled_json, selection_json, facts_json, "
                "picture, picture_model, warnings_json FROM clips "
                "WHERE video_id = ? AND clips_hash = ? ORDER BY ordinal",
                (video_id, clips_hash),
            )
            for row in rows:
                yield _clip_row(row, video_id, captions.get(row[0]))

    def stored_captions(self, video_id: str, clips_hash: str, captions_hash: str) -> tuple[Caption, ...]:
        """All captions of the clips stored under these settings, by clip and order: `stored_clips` without the rest."""
        with self.reading() as db:
            return tuple(caption for _, caption in _captions(db, video_id, clips_hash, captions_hash))

    def captions_made(self, video_id: str, clips_hash: str, settings_hash: str) -> dict[str, tuple[Caption, ...]]:
        """{clip id: what its captioner made of it with `settings_hash`}, under whatever subtitles or added captions."""
        with self.reading() as db:
            keys = db.execute(
                "SELECT DISTINCT t.captions_hash FROM clips c JOIN captions t ON t.clip_key = c.key "
                "WHERE c.video_id = ? AND c.clips_hash = ? AND t.settings_hash = ? ORDER BY t.captions_hash",
                (video_id, clips_hash, settings_hash),
            ).fetchall()
            made: dict[str, tuple[Caption, ...]] = {}
            for (captions_hash,) in keys:
                found: dict[str, list[Caption]] = {}
                for _, caption in _captions(db, video_id, clips_hash, captions_hash):
                    if caption.settings_hash == settings_hash and caption.kind is not CaptionKind.SPEECH:
                        found.setdefault(caption.clip_id, []).append(caption)
                made.update((clip_id, tuple(captions)) for clip_id, captions in found.items())
        return made

    def num_to_retry(self, video_id: str) -> int:
        """Captions behind the video's story that a model failed, refused or cut, or that say the same of different
        pictures."""
        with self.reading() as db:
            found = db.execute(
                "SELECT count(*) FROM stories s "
                "JOIN clips c ON c.video_id = s.video_id AND c.clips_hash = s.clips_hash "
                "JOIN captions t ON t.clip_key = c.key AND t.captions_hash = s.captions_hash "
                "WHERE s.video_id = ? AND (t.outcome <> 'ok' OR t.reason <> '') "
                "AND t.kind IN ('visual', 'action', 'objects') AND t.backend NOT IN ('builtin', 'import')",
                (video_id,),
            ).fetchone()
        return int(found[0])

    def each_clip_layouts(self, video_id: str, clips_hash: str) -> Iterator[tuple[Clip, NDArray[np.uint8]]]:
        """The clips under `clips_hash` by ordinal, each with the layouts of its samples; without those that have none.

        Raises:
            StoreError: a row does not hold one layout for each sample.
        """
        with self.reading() as db:
            rows = db.execute(
                "SELECT id, start_ms, end_ms, keyframe_ms, sampled_json, layouts FROM clips "
                "WHERE video_id = ? AND clips_hash = ? AND layouts IS NOT NULL ORDER BY ordinal",
                (video_id, clips_hash),
            )
            for clip_id, start_ms, end_ms, keyframe_ms, sampled, layouts in rows:
                clip = Clip(clip_id, video_id, Span(start_ms, end_ms), keyframe_ms, tuple(json.loads(sampled)))
                yield clip, layouts_value(layouts, len(clip.sampled_ms))


def _put_clip(db: sqlite3.Connection, clips_hash: str, row: ClipRow, *, has_thumbnail: bool) -> int:
    clip, picture = row.clip, row.picture
    db.execute(
        "INSERT INTO clips (video_id, clips_hash, ordinal, id, start_ms, end_ms, keyframe_ms, sampled_json, "
        "selection_json, facts_json, picture, picture_model, picture_dimension, has_thumbnail, warnings_json, layouts) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (video_id, clips_hash, id) DO UPDATE SET ordinal = excluded.ordinal, "
        "start_ms = excluded.start_ms, end_ms = excluded.end_ms, keyframe_ms = excluded.keyframe_ms, "
        "sampled_json = excluded.sampled_json, selection_json = excluded.selection_json, "
        "facts_json = excluded.facts_json, picture = excluded.picture, picture_model = excluded.picture_model, "
        "picture_dimension = excluded.picture_dimension, has_thumbnail = max(has_thumbnail, excluded.has_thumbnail), "
        "warnings_json = excluded.warnings_json, layouts = coalesce(excluded.layouts, layouts)",
        (
            clip.video_id,
            clips_hash,
            row.ordinal,
            clip.id,
            clip.span.start_ms,
            clip.span.end_ms,
            clip.keyframe_ms,
            json_column(clip.sampled_ms),
            selection_column(row.selection),
            None if row.facts is None else json_column(row.facts),
            None if picture is None else vector_column(picture),
            None if picture is None else row.picture_model,
            None if picture is None else picture.size,
            int(has_thumbnail),
            json_column([text_column(warning) for warning in row.warnings]),
            None if row.layouts is None else layouts_column(row.layouts),
        ),
    )
    found = db.execute(
        "SELECT key FROM clips WHERE video_id = ? AND clips_hash = ? AND id = ?", (clip.video_id, clips_hash, clip.id)
    )
    return int(found.fetchone()[0])


def _put_captions(db: sqlite3.Connection, clip_key: int, captions_hash: str, captions: Sequence[Caption]) -> None:
    db.execute("DELETE FROM captioned WHERE clip_key = ? AND captions_hash = ?", (clip_key, captions_hash))
    db.execute("INSERT INTO captioned VALUES (?, ?)", (clip_key, captions_hash))
    db.executemany(
        "INSERT INTO captions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                clip_key,
                captions_hash,
                ordinal,
                caption.id,
                caption.span.start_ms,
                caption.span.end_ms,
                str(caption.kind),
                text_column(caption.text),
                str(caption.outcome),
                text_column(caption.reason),
                caption.backend,
                caption.settings_hash,
            )
            for ordinal, caption in enumerate(captions)
        ],
    )


def _captions_by_clip(
    db: sqlite3.Connection, video_id: str, clips_hash: str, captions_hash: str
) -> dict[int, tuple[Caption, ...]]:
    """{clip key: captions in their order} of every clip captioned under `captions_hash`."""
    keys = db.execute(
        "SELECT c.key FROM clips c JOIN captioned d ON d.clip_key = c.key "
        "WHERE c.video_id = ? AND c.clips_hash = ? AND d.captions_hash = ?",
        (video_id, clips_hash, captions_hash),
    )
    found: dict[int, list[Caption]] = {key: [] for (key,) in keys}
    for key, caption in _captions(db, video_id, clips_hash, captions_hash):
        found[key].append(caption)
    return {key: tuple(captions) for key, captions in found.items()}


def _captions(
    db: sqlite3.Connection, video_id: str, clips_hash: str, captions_hash: str
) -> Iterator[tuple[int, Caption]]:
    """(clip key, caption), by clip and order."""
    rows = db.execute(
        "SELECT c.key, t.id, c.id, t.start_ms, t.end_ms, t.kind, t.text, t.outcome, t.reason, t.backend, "
        "t.settings_hash FROM clips c JOIN captions t ON t.clip_key = c.key "
        "WHERE c.video_id = ? AND c.clips_hash = ? AND t.captions_hash = ? ORDER BY c.ordinal, t.ordinal",
        (video_id, clips_hash, captions_hash),
    )
    for key, caption_id, clip_id, start_ms, end_ms, kind, text, outcome, reason, backend, settings_hash in rows:
        yield (
            key,
            Caption(
                id=caption_id,
                clip_id=clip_id,
                span=Span(start_ms, end_ms),
                kind=CaptionKind(kind),
                text=text,
                outcome=Outcome(outcome),
                reason=reason,
                backend=backend,
                settings_hash=settings_hash,
            ),
        )


def _clip_row(row: Sequence[Any], video_id: str, captions: tuple[Caption, ...] | None) -> ClipRow:
    _, ordinal, clip_id, start_ms, end_ms, keyframe_ms, sampled, selection, facts, picture, model, warnings = row
    return ClipRow(
        ordinal=ordinal,
        clip=Clip(clip_id, video_id, Span(start_ms, end_ms), keyframe_ms, tuple(json.loads(sampled))),
        selection=selection_value(selection),
        facts=None if facts is None else json.loads(facts, parse_float=_float),
        picture=None if picture is None else vector_value(picture),
        picture_model=model or "",
        captions=captions,
        warnings=tuple(json.loads(warnings)),
    )


def _write_thumbnail(folder: Path, clip_id: str, jpeg: bytes) -> None:
    """Written whole before its row is: a row never names half a picture, and a picture without a row does no harm."""
    if not _FILE_SAFE.fullmatch(clip_id):
        raise InputError(f"a clip id that names a thumbnail has letters, digits, - and _ only, got {clip_id!r}")
    target = folder / f"{clip_id}.jpg"
    partial = folder / f".{clip_id}.part"  # one worker per video: a killed one's leftover is written over
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(jpeg)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StoreError(f"{target}: {error.strerror or error}") from error
