"""Captions made elsewhere, and stories exported before: JSON Lines, SRT, WebVTT and `fdvs-story/1` files in.

All of it is untrusted: a line that cannot be used is an error with file and line number, never dropped in silence.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fdvs.errors import InputError
from fdvs.records import CaptionKind, Span, StoryRecord
from fdvs.stories.file import load_story
from fdvs.stories.imported import (
    ImportedCaption,
    ImportedVideo,
    attach_captions,
    clips_from_captions,
    cut_at_end,
    evidence_of,
    import_settings,
)

__all__ = [
    "ImportedCaption",
    "ImportedVideo",
    "attach_captions",
    "clips_from_captions",
    "evidence_of",
    "import_settings",
    "read_captions",
    "read_import",
]

_MAX_LINE_BYTES = 16_000_000
_MAX_STORY_BYTES = 2_000_000_000
_MAX_SECONDS = 1e7  # four months: beyond it a number is a mistake, not a time
# `film.descriptions.en.vtt` tells what is seen, `film.captions.en.vtt` and `film.en.srt` what is said.
_TRACK_SUFFIX = re.compile(r"(?i)(?:\.(captions|subtitles|descriptions|speech))?(?:\.[a-z]{2}(?:-[a-z0-9]{2,4})?)?$")


def read_import(path: Path, *, video: str | None = None) -> list[ImportedVideo] | StoryRecord:
    """Read one file: an exported story (`.json`) or captions (`.jsonl`, `.jsonl.gz`, `.srt`, `.vtt`).

    Args:
        video: name for the video instead of the one in the file or of the file; captions only.

    Raises:
        InputError: another kind of file, or something in it cannot be used; the message names file and line.
    """
    if _suffix(path) == ".json":
        return load_story(_read_text(path))
    return read_captions([path], video=video)


def read_captions(paths: Sequence[Path], *, video: str | None = None) -> list[ImportedVideo]:
    """Read caption files, in order of first mention; several files may speak of one video.

    Duration is the `duration_s` of its records, else the largest end. A caption that runs past `duration_s` is cut
    there. Raises as `read_import`.
    """
    found: dict[str, _Collected] = {}
    for path in paths:
        for record in _records(path):
            name = video or record.video
            found.setdefault(name, _Collected()).add(record)
    return [collected.finish(name) for name, collected in found.items()]


class _Record(NamedTuple):
    video: str
    caption: ImportedCaption | None
    duration_ms: int | None
    where: str


class _Collected:
    """What is known so far of one video."""

    def __init__(self) -> None:
        self._records: list[_Record] = []
        self._duration_ms: int | None = None

    def add(self, record: _Record) -> None:
        if record.duration_ms is not None:
            if self._duration_ms not in (None, record.duration_ms):
                raise InputError(
                    f"{record.where}: duration_s is {record.duration_ms / 1000}, "
                    f"an earlier line says {(self._duration_ms or 0) / 1000}"
                )
            self._duration_ms = record.duration_ms
        self._records.append(record)

    def finish(self, name: str) -> ImportedVideo:
        told = [(record.caption, record.where) for record in self._records if record.caption is not None]
        duration_ms = self._duration_ms or max((caption.span.end_ms for caption, _ in told), default=0)
        if not duration_ms:
            raise InputError(f"{self._records[0].where}: no caption of {name!r} has text, and none has duration_s")
        captions = [cut_at_end(caption, duration_ms, where) for caption, where in told]
        return ImportedVideo(name, duration_ms, tuple(sorted(captions)))


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((s for s in (".jsonl.gz", ".jsonl", ".json", ".srt", ".vtt") if name.endswith(s)), "")


def _records(path: Path) -> Iterator[_Record]:
    suffix = _suffix(path)
    if suffix in (".jsonl", ".jsonl.gz"):
        return _json_lines(path)
    if suffix in (".srt", ".vtt"):
        return _cues(path)
    raise InputError(f"{path.name}: captions come as .jsonl, .jsonl.gz, .srt or .vtt, stories as .json")


def _cues(path: Path) -> Iterator[_Record]:
    from fdvs.media.subtitles import cues_from_text_file

    stem = path.name[: -len(path.suffix)]
    track = _TRACK_SUFFIX.search(stem)
    is_seen = track is not None and (track.group(1) or "").lower() == "descriptions"
    name = (stem[: track.start()] if track else stem) or stem
    kind = CaptionKind.VISUAL if is_seen else CaptionKind.SPEECH
    for cue in cues_from_text_file(path):
        yield _Record(name, ImportedCaption(cue.span, kind, cue.text), None, path.name)


def _json_lines(path: Path) -> Iterator[_Record]:
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            yield _record(line, f"{path.name}, line {number}")


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as file:
            number = 0
            while line := file.readline(_MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > _MAX_LINE_BYTES:
                    raise InputError(f"{path.name}, line {number}: longer than {_MAX_LINE_BYTES:,} bytes")
                yield line
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path.name} cannot be read: {error}") from error


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_STORY_BYTES:
            raise InputError(f"{path.name}: larger than {_MAX_STORY_BYTES:,} bytes")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} cannot be read: {error}") from error


def _record(line: bytes, where: str) -> _Record:
    try:
        data = json.loads(line.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error}") from error
    if not isinstance(data, Mapping):
        raise InputError(f"{where}: wants an object with video, start_s, end_s and text")
    name = _text(data, "video", where)
    if not name.strip():
        raise InputError(f"{where}: video must not be empty")
    duration_ms = None if data.get("duration_s") is None else _milliseconds(data, "duration_s", where)
    if duration_ms == 0:
        raise InputError(f"{where}: duration_s must be above 0")
    start_ms, end_ms = _milliseconds(data, "start_s", where), _milliseconds(data, "end_s", where)
    if end_ms <= start_ms:
        raise InputError(f"{where}: end_s ({data['end_s']}) must lie after start_s ({data['start_s']})")
    text = " ".join(_text(data, "text", where).split())
    caption = ImportedCaption(Span(start_ms, end_ms), _kind(data, where), text) if text else None
    return _Record(name, caption, duration_ms, where)


def _text(data: Mapping[str, object], key: str, where: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise InputError(f"{where}: {key} must be a text, got {json.dumps(value)[:60]}")
    return value.encode("utf-8", "replace").decode("utf-8")  # lone surrogates cannot be stored anywhere


def _milliseconds(data: Mapping[str, object], key: str, where: str) -> int:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_SECONDS:
        raise InputError(f"{where}: {key} must be a number of seconds from 0 on, got {json.dumps(value)[:60]}")
    return round(value * 1000)


def _kind(data: Mapping[str, object], where: str) -> CaptionKind:
    kind = data.get("kind")
    if kind is None:
        return CaptionKind.VISUAL
    if kind not in list(CaptionKind):
        raise InputError(f"{where}: kind must be one of {', '.join(CaptionKind)}, got {json.dumps(kind)[:60]}")
    return CaptionKind(str(kind))
