"""The records that flow through the pipeline. Plain frozen dataclasses; each stage adds rows that point back by id.

Times are integer milliseconds on the video's published time line (PTS minus the first displayed PTS), half-open.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fdvs.errors import InputError


class Level(StrEnum):
    """Levels of the story tree, from the leaves up. `PART` only exists when chapters exceed the fan-out."""

    CLIP = "clip"
    SCENE = "scene"
    CHAPTER = "chapter"
    PART = "part"
    VIDEO = "video"


class CaptionKind(StrEnum):
    """Where the text of a caption comes from."""

    VISUAL = "visual"
    SPEECH = "speech"
    SCREEN_TEXT = "screen_text"
    ACTION = "action"
    OBJECTS = "objects"


class Outcome(StrEnum):
    """How captioning one clip ended. Only `OK` and `TRUNCATED` captions carry text."""

    OK = "ok"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    FAILED = "failed"


class State(StrEnum):
    """State of one input path."""

    DONE = "done"
    FAILED = "failed"
    RUNNING = "running"
    PENDING = "pending"


ERROR_CODES = frozenset(
    {
        "empty_file",
        "not_media",
        "truncated",
        "damaged",
        "no_video_stream",
        "unreadable",
        "not_found",
        "limit",
        "timeout",
        "crashed",
    }
)


def content_id(prefix: str, *parts: object) -> str:
    """Stable id `prefix-<16 hex>` from JSON-serialisable parts: equal content, equal id, on any machine."""
    canonical = json.dumps(parts, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return f"{prefix}-{hashlib.sha256(canonical.encode()).hexdigest()[:16]}"


def clock(time_ms: int, *, hours: bool = False) -> str:
    """A time as `m:ss`, from one hour on (or when `hours` is set) as `h:mm:ss`; rounded down to the second."""
    seconds = time_ms // 1000
    if hours or seconds >= 3600:
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{seconds // 60}:{seconds % 60:02d}"


def clock_after(end_ms: int, start_ms: int) -> str:
    """`end_ms` as `clock` gives it, with as many decimals as it takes to differ from `start_ms`: `0:00.04`."""
    if end_ms // 1000 != start_ms // 1000:
        return clock(end_ms)
    fraction = next(
        f"{end_ms % 1000 // unit:0{digits}d}"
        for digits, unit in ((1, 100), (2, 10), (3, 1))
        if end_ms // unit != start_ms // unit or unit == 1
    )
    return f"{clock(end_ms)}.{fraction}"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Half-open interval [start_ms, end_ms) on one video's time line."""

    start_ms: int
    end_ms: int

    def __post_init__(self) -> None:
        if not 0 <= self.start_ms < self.end_ms:
            raise InputError(f"need 0 <= start < end, got {self.start_ms=}, {self.end_ms=}")

    @property
    def duration_ms(self) -> int:
        return self.end_ms - self.start_ms

    @property
    def start_s(self) -> float:
        return self.start_ms / 1000

    @property
    def end_s(self) -> float:
        return self.end_ms / 1000

    def contains(self, time_ms: int) -> bool:
        return self.start_ms <= time_ms < self.end_ms

    @staticmethod
    def union(spans: Sequence[Span]) -> Span:
        """Smallest span that covers all of `spans` (at least one)."""
        return Span(min(s.start_ms for s in spans), max(s.end_ms for s in spans))


@dataclass(frozen=True, slots=True)
class Probe:
    """What is known of a file before any picture is decoded.

    `width` and `height` are as displayed (after `rotation_deg`); `start_time_s` is the raw first displayed PTS in
    seconds, kept so that published times can be mapped back; `duration_ms` ends with the last displayed frame.
    """

    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    rotation_deg: int
    bit_depth: int
    transfer: str
    stream_index: int
    stream_choice: str
    time_base: str
    start_time_s: float
    duration_ms: int
    num_frames: int
    num_keyframes: int
    mean_fps: float
    streams: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Video:
    """One file by content. `id` is the sha256 of the bytes; the same bytes under several paths are one video."""

    id: str
    name: str
    duration_ms: int
    size_bytes: int = 0
    probe: Probe | None = None
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clip:
    """One contiguous span of one video: the unit that is captioned."""

    id: str
    video_id: str
    span: Span
    keyframe_ms: int
    sampled_ms: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TimedPicture:
    """A sampled frame as models get it: JPEG bytes, and its time on the video's time line."""

    time_ms: int
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class FrameSelection:
    """What visual redundancy kept of a clip.

    `similarities[i]` is the cosine of sample i to the sample at `reference_ms[i]` under `rule` (the clip's first
    sample, or the most similar frame kept before; a frame compared with nothing refers to itself, similarity 1);
    `kept_ms` is a subset of the clip's sampled times, in time order.
    """

    clip_id: str
    sampled_ms: tuple[int, ...]
    kept_ms: tuple[int, ...]
    similarities: tuple[float, ...]
    rule: str
    reference_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Caption:
    """Text about one clip from one source. Without an `ok` or `truncated` outcome, `text` is empty."""

    id: str
    clip_id: str
    span: Span
    kind: CaptionKind
    text: str
    outcome: Outcome
    reason: str
    backend: str
    settings_hash: str

    def __post_init__(self) -> None:
        if self.outcome in (Outcome.FAILED, Outcome.REFUSED) and self.text:
            raise InputError(f"a {self.outcome} caption has no text, got {self.text[:40]!r}")


class PageKind(StrEnum):
    """How a page of on-screen text behaves: it stands for a while, lies over changing pictures, or scrolls through."""

    PAGE = "page"
    OVERLAY = "overlay"
    SCROLL = "scroll"


@dataclass(frozen=True, slots=True)
class ShownLine:
    """One line of text on the screen, from the first sample that shows it to the end of the last.

    `box` is (left, top, right, bottom) in thousandths of the displayed picture.
    """

    text: str
    span: Span
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class ShownStep:
    """Lines that appear together on a page, in reading order. The text of the caption `caption_id` is these lines,
    joined by line breaks."""

    start_ms: int
    caption_id: str
    lines: tuple[ShownLine, ...]


@dataclass(frozen=True, slots=True)
class ShownPage:
    """Text that stands on the screen together (a slide, a title, a sign) and how it builds up, step by step.

    `title` is the line that stands out as its heading, empty where none does. `repeats` is the caption id of the first
    step of an earlier page that showed the same text; None where it is new.
    """

    kind: PageKind
    span: Span
    title: str
    steps: tuple[ShownStep, ...]
    repeats: str | None = None


@dataclass(frozen=True, slots=True)
class DuplicateMember:
    """One frame, clip or caption that says the same as its group's representative."""

    id: str
    video_id: str
    span: Span
    similarity: float
    rule: str


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Frames, clips or captions that say the same. `kind` is `visual` or `textual`."""

    kind: str
    representative_id: str
    representative_video_id: str
    representative_span: Span
    members: tuple[DuplicateMember, ...]


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a node and the ids of the captions or nodes it was made from (never empty)."""

    text: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoryNode:
    """A node of the story tree. Leaves are clips (a leaf's id is its clip's id); a parent's span is the union of its
    children's; `writer` names the back end that wrote title and sentences."""

    id: str
    level: Level
    parent: str | None
    children: tuple[str, ...]
    span: Span
    title: str
    sentences: tuple[Sentence, ...]
    writer: str

    @property
    def text(self) -> str:
        return " ".join(sentence.text for sentence in self.sentences)


@dataclass(frozen=True, slots=True)
class Hit:
    """A search result. `similarity` is the cosine of query and node; `also` holds the spans of folded repeats."""

    video: str
    video_id: str
    node_id: str
    level: Level
    span: Span
    title: str
    text: str
    similarity: float
    rank_score: float
    also: tuple[Span, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "video": self.video,
            "video_id": self.video_id,
            "node_id": self.node_id,
            "level": str(self.level),
            "start_s": self.span.start_s,
            "end_s": self.span.end_s,
            "title": self.title,
            "text": self.text,
            "similarity": self.similarity,
            "rank_score": self.rank_score,
            "also": [[span.start_s, span.end_s] for span in self.also],
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with the spans it rests on. `text` is None exactly when `abstained`.

    `note` says for people what else there is to know: why there is no answer, what of the evidence did not fit, what
    was dropped. It is no part of the JSON.
    """

    question: str
    text: str | None
    abstained: bool
    confidence: float
    citations: tuple[Hit, ...]
    reader: str
    option_index: int | None = None
    option_scores: tuple[float, ...] | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "answer": self.text,
            "abstained": self.abstained,
            "option_index": self.option_index,
            "option_scores": list(self.option_scores) if self.option_scores is not None else None,
            "confidence": self.confidence,
            "citations": [hit.to_json() for hit in self.citations],
            "reader": self.reader,
        }


@dataclass(frozen=True, slots=True)
class VideoLanguages:
    """Languages (ISO 639-1; `und` where it cannot be told) of what is said and of what the screen shows, the most
    frequent first; empty where there is no such text."""

    speech: tuple[str, ...] = ()
    screen_text: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Each language once, speech first."""
        return tuple(dict.fromkeys((*self.speech, *self.screen_text)))

    def to_json(self) -> dict[str, list[str]]:
        return {"speech": list(self.speech), "screen_text": list(self.screen_text)}

    @staticmethod
    def from_json(data: Mapping[str, Sequence[str]]) -> VideoLanguages:
        return VideoLanguages(tuple(data.get("speech", ())), tuple(data.get("screen_text", ())))


NO_LANGUAGES = VideoLanguages()


@dataclass(frozen=True, slots=True)
class StoryRecord:
    """Everything the exported story of one video holds: the data of `fdvs-story/1`."""

    video: Video
    settings: Mapping[str, Any]
    captions: tuple[Caption, ...]
    nodes: tuple[StoryNode, ...]
    duplicates: tuple[DuplicateGroup, ...] = field(default=())
    languages: VideoLanguages = field(default=NO_LANGUAGES)
