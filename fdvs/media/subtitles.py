"""Subtitles: sidecar files and embedded tracks → cues on the video's published time line.

All of it is untrusted text: every step is linear in its size, lengths are limited, and a bad file is a warning.

SRT and WebVTT are parsed here and not by pysubs2, which reads ASS: on real files pysubs2 takes a text line with two
inline word times (automatic captions) for the times of a new cue, appends NOTE blocks and cue names to the text of the
cue before, drops a last line that is a number, and needs quadratic time on unclosed tags. On plain files both agree,
which the tests check.
"""

from __future__ import annotations

import codecs
import html
import itertools
import os
import re
import unicodedata
import warnings as python_warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import pysubs2
from pysubs2.exceptions import Pysubs2Error

from fdvs.errors import InputError, MediaError
from fdvs.media.discover import MEDIA_EXTENSIONS, printable_name
from fdvs.media.index import PacketIndex
from fdvs.media.probe import open_container
from fdvs.records import Span
from fdvs.settings import LimitSettings

SIDECAR_EXTENSIONS: Final = frozenset({".srt", ".vtt", ".ass"})
EMBEDDED_CODECS: Final = frozenset({"mov_text", "subrip", "srt", "text", "webvtt", "ass", "ssa"})

MAX_SIDECARS: Final = 32  # per video
MAX_CUES: Final = 200_000  # per track; a film has about 2,000
MAX_CUE_CHARS: Final = 5_000
MIN_FILE_BYTES: Final = 65_536  # of a sidecar are always read
BYTES_PER_CHAR: Final = 8  # of a sidecar are read for each character allowed: times, markup and wide encodings
NO_END_MS: Final = 5_000  # a cue without a usable end is shown until the next one, at most this long
SAME_MS: Final = 50  # times that differ by no more are the same: formats round differently
MIN_ROLLING_CUES: Final = 4  # fewer say nothing about the habits of a track
FLASH_MS: Final = 60  # automatic WebVTT captions show each finished line alone for 10 ms

# ISO 639-2 as MP4 and Matroska tag their tracks → ISO 639-1 as file names do, so that both can be compared.
_TWO_LETTER: Final = {
    "ara": "ar", "ben": "bn", "bul": "bg", "cat": "ca", "ces": "cs", "chi": "zh", "cze": "cs", "dan": "da",
    "deu": "de", "dut": "nl", "ell": "el", "eng": "en", "est": "et", "eus": "eu", "fas": "fa", "fin": "fi",
    "fra": "fr", "fre": "fr", "ger": "de", "gre": "el", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu",
    "ind": "id", "isl": "is", "ita": "it", "jpn": "ja", "kor": "ko", "lav": "lv", "lit": "lt", "may": "ms",
    "msa": "ms", "nld": "nl", "nor": "no", "per": "fa", "pol": "pl", "por": "pt", "ron": "ro", "rum": "ro",
    "rus": "ru", "slk": "sk", "slo": "sk", "slv": "sl", "spa": "es", "srp": "sr", "swe": "sv", "tam": "ta",
    "tel": "te", "tha": "th", "tur": "tr", "ukr": "uk", "urd": "ur", "vie": "vi", "zho": "zh",
}  # fmt: skip

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LANGUAGE_TAG = re.compile(r"([A-Za-z]{2,3})((?:-[A-Za-z]{4})?(?:-(?:[A-Za-z]{2}|[0-9]{3}))?)")
_SIDECAR_FLAGS = frozenset({"forced", "sdh", "cc"})
_TIME = r"(?:([0-9]{1,6}):)?([0-9]{1,2}):([0-9]{1,2})(?:[.,]([0-9]{1,3}))?"
_TIMING = re.compile(rf"\s*(-?){_TIME}\s*-{{2,}}>\s*(-?){_TIME}(?:\s.*)?")
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>]+)>")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|</>|<[0-9][0-9:.]*>")  # each stops at the next "<": linear
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_ASS_OVERRIDE = re.compile(r"\{\\[^{}]*\}")
_ASS_PREFIX_FIELDS = 8  # ReadOrder, Layer, Style, Name, MarginL, MarginR, MarginV, Effect; the ninth is the text
# Marks that turn the direction of surrounding text, byte-order marks, soft hyphens. Joiners stay: scripts need them.
_INVISIBLE = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF, 0x00AD], None)


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


@dataclass(frozen=True, slots=True)
class RawCue:
    """A cue as its track has it: times may be negative, equal or reversed; `lines` are clean and not empty."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    speaker: str = ""

    @property
    def text(self) -> str:
        return " ".join(self.lines)


@dataclass(frozen=True, slots=True)
class Track:
    """One sidecar or embedded track: cues sorted by start, and what went wrong while reading it."""

    name: str
    language: str
    cues: tuple[RawCue, ...]
    warnings: tuple[str, ...] = ()


# ---------------------------------------------------------------------------------------------------------------------
# Text


def clean_lines(text: str) -> tuple[str, ...]:
    """Lines of a cue without tags, ASS overrides, entities, control characters and extra spaces; empty lines go.

    Tags are removed before entities are decoded, so that `&lt;b&gt;` stays what its author meant: the text `<b>`.
    """
    text = text[: MAX_CUE_CHARS * 4]  # before any markup is looked at; cut to MAX_CUE_CHARS after
    text = html.unescape(_ASS_OVERRIDE.sub("", _TAG.sub("", text))).translate(_INVISIBLE)
    lines, room = [], MAX_CUE_CHARS
    for line in re.split(r"[\n\r\v\f\x85\u2028\u2029]", text):
        plain = " ".join(_CONTROL.sub(" ", line).split())[:room]
        if plain:
            lines.append(plain)
            room -= len(plain)
        if room <= 0:
            break
    return tuple(lines)


def _decode(data: bytes) -> tuple[str, str]:
    """Bytes of a subtitle file → text and the encoding's name. Never fails: the last resort maps every byte."""
    if data.startswith(codecs.BOM_UTF8):
        return data.decode("utf-8-sig", errors="replace"), "utf-8-sig"
    if data.startswith(_UTF16_MARKS):
        return data.decode("utf-16", errors="replace"), "utf-16"
    head = data[:2000]
    for name, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[0::2])):
        if len(head) >= 4 and zeros.count(0) > 0.6 * len(zeros):  # no mark, but digits and spaces are half zeros
            return data.decode(name, errors="replace"), name
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), "cp1252"


# ---------------------------------------------------------------------------------------------------------------------
# Files


def find_sidecars(video_path: Path) -> list[Path]:
    """Subtitle files that belong to a video: same folder, same stem, optional language (`.en`, `.pt-BR`) and optional
    `.forced`, `.sdh` or `.cc`, extension `.srt`, `.vtt` or `.ass` in any case; sorted by name.

    `talk.de.srt` belongs to `talk.de.mp4` when that exists, else to `talk.mp4`.
    """
    try:
        with os.scandir(video_path.parent) as entries:
            names = sorted((entry.name for entry in entries), key=os.fsencode)
    except OSError:
        return []
    stems = {_nfc(Path(name).stem) for name in names if Path(name).suffix.lower() in MEDIA_EXTENSIONS}
    stem = _nfc(video_path.stem)
    found = []
    for name in names:
        sidecar = Path(name)
        base = _nfc(sidecar.stem)
        if sidecar.suffix.lower() not in SIDECAR_EXTENSIONS or not (base == stem or base.startswith(stem + ".")):
            continue
        if base != stem and (base in stems or not _is_language_suffix(base[len(stem) + 1 :])):
            continue
        path = video_path.parent / name
        if path.is_file():  # no pipes, no folders
            found.append(path)
    return found


def _nfc(text: str) -> str:
    """Some file systems store é as two characters: the same stem must compare equal."""
    return unicodedata.normalize("NFC", text)


def _is_language_suffix(text: str) -> bool:
    parts = text.split(".")
    if parts[-1].lower() in _SIDECAR_FLAGS:
        parts = parts[:-1]
    return not parts or (len(parts) == 1 and _LANGUAGE_TAG.fullmatch(parts[0]) is not None)


def normal_language(tag: str) -> str:
    """`eng` → `en`, `PT-br` → `pt-BR`, `und` and anything that is no tag → ``."""
    match = _LANGUAGE_TAG.fullmatch(tag.strip().replace("_", "-"))
    if match is None or match[1].lower() in ("und", "mul", "mis", "zxx"):
        return ""
    rest = match[2]
    has_script = len(rest) > 4 and rest[1:5].isalpha()
    rest = f"-{rest[1:5].title()}{rest[5:].upper()}" if has_script else rest.upper()
    return _TWO_LETTER.get(match[1].lower(), match[1].lower()) + rest


def _language_of_name(path: Path) -> str:
    parts = path.stem.split(".")[1:]
    if parts and parts[-1].lower() in _SIDECAR_FLAGS:
        parts = parts[:-1]
    return normal_language(parts[-1]) if parts else ""


def read_sidecar(path: Path, max_chars: int | None = None) -> Track:
    """Read one `.srt`, `.vtt` or `.ass` file.

    What the file is, its content decides: some `.srt` are WebVTT. Encodings: UTF-8 and UTF-16 with and without byte
    order mark, else cp1252 with a warning. More than `max_chars` characters of text (default: the setting
    `limits.max_subtitle_chars`) or `MAX_CUES` cues are not read, with a warning that says where reading ended.

    Raises:
        InputError: the file cannot be read, or holds no cue at all.
    """
    max_chars = LimitSettings().max_subtitle_chars if max_chars is None else max_chars
    name = printable_name(path.name)
    max_bytes = max(max_chars * BYTES_PER_CHAR, MIN_FILE_BYTES)
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or type(error).__name__}") from error
    warnings = []
    if len(data) > max_bytes:
        cut = data.rfind(b"\n", 0, max_bytes)  # not inside a character
        data = data[: cut if cut > 0 else max_bytes]
        warnings.append(f"only the first {len(data):,} bytes were read")
    text, encoding = _decode(data)
    if encoding == "cp1252":
        warnings.append("is neither UTF-8 nor UTF-16 and was read as cp1252; some characters may be wrong")
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    language = _language_of_name(path)
    if text.lstrip().startswith("WEBVTT"):
        header, _, _ = text.lstrip().partition("\n\n")
        kind = re.search(r"^Kind:[ \t]*([a-z]+)", header[:2000], re.M | re.I)
        if kind is not None and kind[1].lower() in ("chapters", "metadata"):
            raise InputError(f"{name} holds {kind[1].lower()}, not subtitles")
        tag = re.search(r"^Language:[ \t]*([A-Za-z_-]+)", header[:2000], re.M | re.I)
        language = language or (normal_language(tag[1]) if tag is not None else "")
        cues, problems = _parse_timed_text(text, is_vtt=True)
    elif "[Script Info]" in text[:10_000] or path.suffix.lower() == ".ass":
        cues, problems = _parse_ass(text)
    else:
        cues, problems = _parse_timed_text(text, is_vtt=False)
    kept, more = _limit(cues, max_chars)
    warnings += [*problems, *more]
    if not kept:
        raise InputError(f"{name} holds no subtitle that can be read" + "".join(f"; {text}" for text in warnings))
    in_order = tuple(sorted(kept, key=lambda cue: cue.start_ms))
    return Track(name, language, in_order, tuple(f"{name}: {text}" for text in warnings))


def _parse_timed_text(text: str, *, is_vtt: bool) -> tuple[list[RawCue], list[str]]:
    """SRT and WebVTT. Text runs to the next line with times; in WebVTT an empty line ends it and what follows without
    times (NOTE, STYLE, REGION) is skipped; a line before the times is the cue's number or name."""
    cues: list[RawCue] = []
    num_bad = 0
    times: tuple[int, int] | None = None
    block: list[str] = []

    def finish(*, has_next: bool) -> None:
        lines = list(block)
        block.clear()
        if times is None:
            return
        if has_next and not is_vtt and lines and lines[-1].strip().isdigit():
            lines.pop()  # the number of the next cue
        content = "\n".join(lines)
        voice = _VOICE.search(content[:MAX_CUE_CHARS])
        clean = clean_lines(content)
        if clean:
            speaker = " ".join(clean_lines(voice[1]))[:200] if voice is not None else ""
            cues.append(RawCue(times[0], times[1], clean, speaker))

    for line in text.split("\n"):
        if "-->" in line:
            match = _TIMING.fullmatch(line[:1000])
            finish(has_next=True)
            times = None if match is None else (_time_ms(match.groups()[:5]), _time_ms(match.groups()[5:]))
            num_bad += match is None
            if len(cues) > MAX_CUES:
                break
        elif is_vtt and not line:
            finish(has_next=False)
            times = None
        elif times is not None:
            block.append(line[: MAX_CUE_CHARS * 4])
    finish(has_next=False)
    return cues, [f"{num_bad} cues had times that cannot be read and were left out"] if num_bad else []


def _time_ms(groups: Sequence[str | None]) -> int:
    sign, hours, minutes, seconds, fraction = groups
    value = (int(hours or 0) * 60 + int(minutes or 0)) * 60_000 + int(seconds or 0) * 1000
    value += int((fraction or "0").ljust(3, "0"))
    return -value if sign else value


def _parse_ass(text: str) -> tuple[list[RawCue], list[str]]:
    """Advanced SubStation through pysubs2; comments and drawings are no speech. A file it cannot read gives no cue."""
    wanted = []
    num_events = 0
    for line in text.split("\n"):
        if line.startswith("Dialogue:"):
            num_events += 1
        if num_events > MAX_CUES + 1:
            break
        wanted.append(line[: MAX_CUE_CHARS * 4])
    try:
        with python_warnings.catch_warnings():  # pysubs2 warns about layers and margins, which are not used here
            python_warnings.simplefilter("ignore")
            parsed = pysubs2.SSAFile.from_string("\n".join(wanted), format_="ass")
    except (Pysubs2Error, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
        return [], [f"is not valid ASS ({type(error).__name__})"]
    cues = []
    for event in parsed.events:
        if event.is_comment or event.is_drawing:
            continue
        lines = clean_lines(_ass_text(event.text))
        if lines:
            cues.append(RawCue(event.start, event.end, lines, " ".join(clean_lines(event.name))[:200]))
    return cues, []


def _ass_text(text: str) -> str:
    return text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")


def _limit(cues: Sequence[RawCue], max_chars: int) -> tuple[list[RawCue], list[str]]:
    """The first cues up to the limits, and a warning that names the limit where one was hit."""
    used = 0
    for number, cue in enumerate(cues):
        used += len(cue.text)
        if used > max_chars or number >= MAX_CUES:
            return list(cues[:number]), [f"only the first {number:,} cues were read: {_too_much(max_chars)}"]
    return list(cues), []


def _too_much(max_chars: int) -> str:
    return f"there are more than {max_chars:,} characters (limits.max_subtitle_chars) or {MAX_CUES:,} cues"


# ---------------------------------------------------------------------------------------------------------------------
# Embedded tracks


def read_embedded(path: Path, index: PacketIndex, max_chars: int | None = None) -> tuple[list[Track], list[str]]:
    """Text tracks inside the video file → tracks and warnings (about streams that hold no readable text).

    Packets are demuxed, never decoded. Times are shifted like the pictures: minus the first displayed PTS of the
    chosen video stream, each converted once.

    Raises:
        MediaError: the file cannot be opened.
    """
    max_chars = LimitSettings().max_subtitle_chars if max_chars is None else max_chars
    warnings: list[str] = []
    codecs_by_stream: dict[int, str] = {}
    languages: dict[int, str] = {}
    cues: dict[int, list[RawCue]] = {}
    start = index.start_pts * index.time_base
    with open_container(path) as container:
        streams = []
        for stream in container.streams:
            if stream.type != "subtitle":
                continue
            codec = stream.codec_context.name if stream.codec_context is not None else "unknown"
            if codec not in EMBEDDED_CODECS:
                warnings.append(f"stream {stream.index}: {codec} subtitles cannot be read as text")
                continue
            streams.append(stream)
            codecs_by_stream[stream.index] = codec
            languages[stream.index] = normal_language(stream.metadata.get("language", ""))
            cues[stream.index] = []
        if not streams:
            return [], warnings
        used = 0
        try:
            for packet in container.demux(streams):
                if packet.pts is None or not packet.size or packet.time_base is None:
                    continue
                track = packet.stream.index
                text, speaker = _packet_text(bytes(packet)[: MAX_CUE_CHARS * 4], codecs_by_stream[track])
                lines = clean_lines(text)
                if not lines:
                    continue
                used += sum(map(len, lines))
                if used > max_chars or len(cues[track]) >= MAX_CUES:
                    count = sum(map(len, cues.values()))
                    warnings.append(f"only the first {count:,} embedded cues were read: {_too_much(max_chars)}")
                    break
                begin = packet.pts * packet.time_base
                end = begin + (packet.duration or 0) * packet.time_base
                cues[track].append(RawCue(_ms(begin - start), _ms(end - start), lines, speaker))
        except av.FFmpegError as error:
            warnings.append(f"embedded subtitles end early: {error.strerror}")
    tracks = [
        Track(f"stream {number}", languages[number], tuple(sorted(found, key=lambda cue: cue.start_ms)))
        for number, found in cues.items()
        if found
    ]
    return tracks, warnings


def _ms(seconds: Fraction) -> int:
    return round(seconds * 1000)


def _packet_text(data: bytes, codec: str) -> tuple[str, str]:
    """Text and speaker of one subtitle packet, by codec."""
    if codec == "mov_text":  # 16-bit length, text (UTF-8, or UTF-16 with its mark), style boxes
        body = data[2 : 2 + int.from_bytes(data[:2], "big")]
        name = "utf-16" if body.startswith(_UTF16_MARKS) else "utf-8"
        return body.decode(name, errors="replace"), ""
    text = data.decode("utf-8", errors="replace")
    if codec in ("ass", "ssa"):
        fields = text.split(",", _ASS_PREFIX_FIELDS)
        if len(fields) <= _ASS_PREFIX_FIELDS or "\\p1" in fields[-1]:  # drawings are no speech
            return "", ""
        return _ass_text(fields[-1]), " ".join(clean_lines(fields[3]))[:200]
    voice = _VOICE.search(text) if codec == "webvtt" else None
    return text, " ".join(clean_lines(voice[1]))[:200] if voice is not None else ""


# ---------------------------------------------------------------------------------------------------------------------
# Tracks → cues


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
            warnings.append(f"{track.name}: {cut} cues were cut at the start or end of the video")
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
