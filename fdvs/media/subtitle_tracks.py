"""Reading subtitle tracks: sidecar files and streams inside a video → cues as the track has them.

SRT and WebVTT are parsed here and not by pysubs2, which reads ASS: on real files pysubs2 takes a text line with two
inline word times (automatic captions) for the times of a new cue, appends NOTE blocks and cue names to the text of the
cue before, drops a last line that is a number, and needs quadratic time on unclosed tags. On plain files both agree,
which the tests check. Everything here is linear in the size of the text, because nobody vouches for it.
"""

from __future__ import annotations

import codecs
import html
import os
import re
import unicodedata
import warnings as python_warnings
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av

from fdvs.errors import InputError
from fdvs.media.discover import MEDIA_EXTENSIONS, printable_name
from fdvs.media.index import PacketIndex
from fdvs.media.probe import open_container
from fdvs.settings import LimitSettings

SIDECAR_EXTENSIONS: Final = frozenset({".srt", ".vtt", ".ass"})
EMBEDDED_CODECS: Final = frozenset({"mov_text", "subrip", "srt", "text", "webvtt", "ass", "ssa"})

MAX_CUES: Final = 200_000  # per track; a film has about 2,000
MAX_CUE_CHARS: Final = 5_000
MIN_FILE_BYTES: Final = 65_536  # of a sidecar are always read
BYTES_PER_CHAR: Final = 8  # of a sidecar are read for each character allowed: times, markup and wide encodings

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
    import pysubs2  # here, because few videos have such a track
    from pysubs2.exceptions import Pysubs2Error

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
