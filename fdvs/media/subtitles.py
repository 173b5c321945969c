"""Subtitles: sidecar files and embedded tracks → cues on the video's published time line.

All of it is untrusted text: every step is linear in its size, lengths are limited, and a bad file is a warning. How
tracks are read is in `subtitle_tracks`; here they are shifted, cut, freed of repeats and merged.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from fdvs.errors import InputError, MediaError
from fdvs.media.discover import printable_name
from fdvs.media.index import PacketIndex
from fdvs.media.subtitle_tracks import RawCue, Track, find_sidecars, read_embedded, read_sidecar
from fdvs.records import Span
from fdvs.settings import LimitSettings

__all__ = [
    "Cue", "CueCollection", "collect_cues", "cues_from_text_file", "find_sidecars", "read_embedded", "read_sidecar",
    "reduce_rolling",
]  # fmt: skip

MAX_SIDECARS: Final = 32  # per video
NO_END_MS: Final = 5_000  # a cue without a usable end is shown until the next one, at most this long
SAME_MS: Final = 50  # times that differ by no more are the same: formats round differently
MIN_ROLLING_CUES: Final = 4  # fewer say nothing about the habits of a track
FLASH_MS: Final = 60  # automatic WebVTT captions show each finished line alone for 10 ms


@dataclass(frozen=True, slots=True)
class Cue:
    """What is said during one span.

    Attributes:
        span: on the published time line of the video (first displayed frame = 0).
        text: one line of plain text, never empty: markup, entities and control characters are gone.
        language: BCP 47 such as `en` or `pt-BR`; empty when nothing says it.
        track: where it comes from: a sidecar's file name, or `stream 2`.
        speaker: who says it, where the format names the voice; else empty.
    """

    span: Span
    text: str
    language: str
    track: str
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class CueCollection:
    """All cues of a video in time order, and what the user should know about how they were read.

    Iterating gives the cues. The counts say what became of cues that are not there as they were written: `num_cut`
    ends were cut at the end of the video (or starts at 0), `num_dropped` lay outside of it, `num_merged` were in
    another track with the same text and times, `num_repeats` only repeated what a rolling caption had already shown.
    """

    cues: tuple[Cue, ...]
    warnings: tuple[str, ...] = ()
    num_cut: int = 0
    num_dropped: int = 0
    num_merged: int = 0
    num_repeats: int = 0

    def __iter__(self) -> Iterator[Cue]:
        return iter(self.cues)

    def __len__(self) -> int:
        return len(self.cues)


def collect_cues(
    path: Path, index: PacketIndex, limits: LimitSettings | None = None, *, also: Sequence[Path] = ()
) -> CueCollection:
    """All cues that belong to a video, from its sidecars and embedded tracks, on its published time line.

    `also` names further paths of the same video: subtitles beside any of them count, whichever path is read.

    Embedded times are shifted by the start of the video; sidecar times already count from it. Cues are cut at
    `index.duration_ms`, rolling captions are reduced to what is new in each cue, and cues that several tracks share
    (same text, same times within 50 ms, no different language) count once, for the first track: sidecars before
    embedded tracks. Tracks in several languages all stay, tagged. Whatever is wrong with a subtitle is a warning.
    """
    limits = LimitSettings() if limits is None else limits
    warnings: list[str] = []
    tracks: list[Track] = []
    room = limits.max_subtitle_chars
    sidecars = [file for one in sorted({path, *also}) for file in find_sidecars(one)]
    if len(sidecars) > MAX_SIDECARS:
        warnings.append(f"{len(sidecars)} subtitle files fit this video; only the first {MAX_SIDECARS} were read")
    for sidecar in sidecars[:MAX_SIDECARS]:
        if room <= 0:
            warnings.append(f"{printable_name(sidecar.name)} was not read: limits.max_subtitle_chars is used up")
            continue
        try:
            track = read_sidecar(sidecar, room)
        except InputError as error:
            warnings.append(str(error))
            continue
        tracks.append(track)
        room -= sum(len(cue.text) for cue in track.cues)
    if room > 0:
        try:
            embedded, problems = read_embedded(path, index, room)
        except MediaError as error:
            embedded, problems = [], [f"embedded subtitles were not read: {error}"]
        tracks += embedded
        warnings += problems
    else:
        warnings.append("embedded subtitles were not read: limits.max_subtitle_chars is used up")
    collection = _collect(tracks, index.duration_ms)
    return replace(collection, warnings=(*warnings, *collection.warnings))


def cues_from_text_file(path: Path, max_chars: int | None = None) -> CueCollection:
    """The cues of one subtitle file without its video, cleaned as in `collect_cues`; nothing is cut at an end.

    Raises:
        InputError: the file cannot be read, or holds no cue.
    """
    collection = _collect([read_sidecar(path, max_chars)], None)
    if not collection.cues:
        raise InputError(f"{printable_name(path.name)} holds no subtitle that can be used")
    return collection


def _collect(tracks: Iterable[Track], duration_ms: int | None) -> CueCollection:
    warnings: list[str] = []
    cues: list[Cue] = []
    seen: dict[tuple[str, int, int], list[Cue]] = {}  # by text and rounded times; a twin is at most one step away
    num_cut = num_dropped = num_merged = num_repeats = 0
    for track in tracks:
        warnings += track.warnings
        mended, num_without_end = _mend_ends(track.cues)
        if num_without_end:
            warnings.append(f"{track.name}: {num_without_end} cues had no duration and end at the next cue")
        reduced, repeats = reduce_rolling(mended)
        num_repeats += repeats
        cut = dropped = 0
        for raw in reduced:
            start_ms = max(raw.start_ms, 0)
            end_ms = raw.end_ms if duration_ms is None else min(raw.end_ms, duration_ms)
            if start_ms >= end_ms:
                dropped += 1
                continue
            cut += (start_ms, end_ms) != (raw.start_ms, raw.end_ms)
            cue = Cue(Span(start_ms, end_ms), raw.text, track.language, track.name, raw.speaker)
            start_step, end_step = start_ms // SAME_MS, end_ms // SAME_MS
            near = ((cue.text, start_step + i, end_step + j) for i in (-1, 0, 1) for j in (-1, 0, 1))
            if any(_is_same(cue, twin) for key in near for twin in seen.get(key, ())):
                num_merged += 1
                continue
            seen.setdefault((cue.text, start_step, end_step), []).append(cue)
            cues.append(cue)
        if cut:
            warnings.append(
                f"{track.name}: {cut} {'cue was' if cut == 1 else 'cues were'} cut at the start or end of the video"
            )
        if dropped:
            warnings.append(f"{track.name}: {dropped} cues lie outside the video and were dropped")
        num_cut += cut
        num_dropped += dropped
    order = sorted(cues, key=lambda cue: (cue.span, cue.language, cue.track))
    return CueCollection(tuple(order), tuple(warnings), num_cut, num_dropped, num_merged, num_repeats)


def _is_same(a: Cue, b: Cue) -> bool:
    """Same times within `SAME_MS`, and no two different languages (the texts are known to be equal)."""
    return (
        abs(a.span.start_ms - b.span.start_ms) <= SAME_MS
        and abs(a.span.end_ms - b.span.end_ms) <= SAME_MS
        and (a.language == b.language or not a.language or not b.language)
    )


def _mend_ends(cues: Sequence[RawCue]) -> tuple[list[RawCue], int]:
    """Cues with an end at or before their start get one: the next cue that starts later, at most `NO_END_MS` on."""
    mended = list(cues)
    count = 0
    next_start: int | None = None  # the nearest start after the cue at hand
    for number in range(len(cues) - 1, -1, -1):
        cue = cues[number]
        if number + 1 < len(cues) and cues[number + 1].start_ms > cue.start_ms:
            next_start = cues[number + 1].start_ms
        if cue.end_ms <= cue.start_ms:
            latest = cue.start_ms + NO_END_MS
            mended[number] = replace(cue, end_ms=latest if next_start is None else min(latest, next_start))
            count += 1
    return mended, count


def reduce_rolling(cues: Sequence[RawCue]) -> tuple[list[RawCue], int]:
    """Take out of rolling captions what the cue before already showed; returns the rest and how many cues vanished.

    Rolling captions (automatic ones, live ones) keep the last line on screen while the next appears: cues overlap in
    time or begin with the text of the cue before. A track is rolling when at least half of its neighbouring cues are
    so; other tracks are left as they are, for there a repeated line was said twice. In a rolling track each cue loses
    the words it shares with the end of the cue before, so every word is told once, at the time it first appeared, and
    a cue ends where the next begins.
    """
    if len(cues) < MIN_ROLLING_CUES:
        return list(cues), 0
    rolling = sum(_rolls(a, b) for a, b in itertools.pairwise(cues))
    if 2 * rolling < len(cues) - 1:
        return list(cues), 0
    kept: list[RawCue] = []
    previous: RawCue | None = None
    for cue in cues:
        lines = cue.lines
        if previous is not None and cue.start_ms <= previous.end_ms + SAME_MS:
            lines = _new_lines(previous, cue)
        if lines:
            kept.append(replace(cue, lines=lines))
        previous = cue
    for number, (cue, following) in enumerate(itertools.pairwise(kept)):
        if cue.start_ms < following.start_ms < cue.end_ms:
            kept[number] = replace(cue, end_ms=following.start_ms)
    return kept, len(cues) - len(kept)


def _rolls(a: RawCue, b: RawCue) -> bool:
    """b is shown while a still is, or touches it and carries a's last lines along with new ones, or flashes one."""
    if b.start_ms < a.end_ms:
        return True
    if b.start_ms > a.end_ms + SAME_MS:
        return False
    shared = _shared(a.lines, b.lines)
    return 0 < shared < len(b.lines) or (b.end_ms - b.start_ms <= FLASH_MS and shared > 0)


def _new_lines(previous: RawCue, cue: RawCue) -> tuple[str, ...]:
    """Lines of `cue` without those that `previous` ends with, whole lines first, then words within the first line.

    Words only count as repeated when they are all of the previous cue's last line (a line that grows word by word) or
    at least three: shorter overlaps are language ("in the" / "the house").
    """
    shared = _shared(previous.lines, cue.lines)
    if shared:
        return cue.lines[shared:]
    before, now = previous.text.split(), cue.text.split()
    count = _shared(before, now)
    if count >= 3 or (count and count == len(previous.lines[-1].split())):
        rest = " ".join(now[count:])
        return (rest,) if rest else ()
    return cue.lines


def _shared(before: Sequence[str], now: Sequence[str]) -> int:
    """Length of the longest end of `before` that `now` begins with (Knuth, Morris and Pratt: linear)."""
    pattern = list(now)
    failure = [0] * (len(pattern) + 1)
    length = 0
    for number in range(1, len(pattern)):
        while length and pattern[number] != pattern[length]:
            length = failure[length]
        length += pattern[number] == pattern[length]
        failure[number + 1] = length
    matched = 0
    for item in before:
        if matched == len(pattern):
            matched = failure[matched]
        while matched and item != pattern[matched]:
            matched = failure[matched]
        matched += bool(pattern) and item == pattern[matched]
    return matched
