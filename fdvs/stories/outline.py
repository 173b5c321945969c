"""A story as an outline: what both renderings, terminal and Markdown, say and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fdvs.languages.spoken import language_phrases
from fdvs.records import CaptionKind, DuplicateGroup, Level, Span, StoryNode, StoryRecord, clock
from fdvs.stories.lines import is_note

HONEST = "no vision model: measured facts, text and speech only"
HONEST_PARTS = "no vision model for {} of {} clips: measured facts, text and speech only there"
MENDED_BY = "fdvs import CAPTIONS.jsonl --video NAME"


@dataclass(frozen=True, slots=True)
class Heading:
    """A part or a chapter: its number among its like (from 1), range and title."""

    level: Level
    number: int
    start_ms: int
    end_ms: int
    title: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Sentences that begin at the same second."""

    start_ms: int
    text: str


def honest_line(record: StoryRecord) -> str | None:
    """What a story without a vision model says first, with the command that mends it; None for all others.

    Clips that added captions tell of are not counted as without.
    """
    if not _is_measured(record):
        return None
    clips = [node.span for node in record.nodes if not node.children]
    added = _added_spans(record)
    without = sum(not any(one.start_ms < clip.end_ms and clip.start_ms < one.end_ms for one in added) for clip in clips)
    if not without:
        return None
    honest = HONEST if without == len(clips) else HONEST_PARTS.format(without, len(clips))
    return f"{honest}. Captions of a vision model are added by: {MENDED_BY}"


def _added_spans(record: StoryRecord) -> list[Span]:
    """Where captions of what is seen were added, joined. The built-in captioner writes one per clip; more are added."""
    seen = [one for one in record.captions if one.kind in (CaptionKind.VISUAL, CaptionKind.ACTION, CaptionKind.OBJECTS)]
    per_clip = Counter(one.clip_id for one in seen)
    joined: list[Span] = []
    for span in sorted(one.span for one in seen if one.text and per_clip[one.clip_id] > 1):
        if joined and span.start_ms <= joined[-1].end_ms:
            joined[-1] = Span.union([joined[-1], span])
        else:
            joined.append(span)
    return joined


def summary_line(record: StoryRecord) -> str:
    """`name · 2:03 · 8 scenes in 3 chapters · 23 clips, 15 of them repeat what came before · speech in German`."""
    counts = {level: sum(node.level is level for node in record.nodes) for level in Level}
    tree = [_counted(counts[level], str(level)) for level in (Level.SCENE, Level.CHAPTER, Level.PART) if counts[level]]
    clips = _counted(counts[Level.CLIP], "clip")
    repeats = num_repeating_clips(record)
    if repeats:
        clips += f", {repeats} of them {'repeats' if repeats == 1 else 'repeat'} what came before"
    languages = language_phrases(record.languages)
    return " · ".join([record.video.name, clock(record.video.duration_ms), " in ".join(tree), clips, *languages])


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def num_repeating_clips(record: StoryRecord) -> int:
    """Clips that show what was shown before, or all of whose captions of what is seen were told before word for word.

    Captions that are only alike do not make a repeat, nor do equal measured facts: they fit many pictures.
    """
    shown = {member.id for group in _own_groups(record) if group.kind == "visual" for member in group.members}
    repeating = {node.id for node in record.nodes if node.level is Level.CLIP and node.id in shown}
    if not _is_measured(record):
        equal = {m.id for group in _own_groups(record) for m in group.members if m.rule == "exact"}
        seen = [caption for caption in record.captions if caption.kind is not CaptionKind.SPEECH and caption.text]
        new = {caption.clip_id for caption in seen if caption.id not in equal}
        repeating |= {caption.clip_id for caption in seen} - new
    return len(repeating)


def _is_measured(record: StoryRecord) -> bool:
    """Whether the captions of what is seen are measured facts in words, apart from those that were added."""
    captions = record.settings.get("captions", {})
    return isinstance(captions, Mapping) and captions.get("captioner") == "builtin"


def _own_groups(record: StoryRecord) -> Iterator[DuplicateGroup]:
    return (group for group in record.duplicates if group.representative_video_id == record.video.id)


def outline(record: StoryRecord) -> Iterator[Heading | Paragraph]:
    """Headings and paragraphs in reading order.

    Chapters are told scene by scene; where there are parts (hours of film), chapter by chapter, so that the text stays
    readable in one sitting.
    """
    by_id = {node.id: node for node in record.nodes}
    starts = {caption.id: caption.span.start_ms for caption in record.captions}
    starts.update((node.id, node.span.start_ms) for node in record.nodes)
    long = any(node.level is Level.PART for node in record.nodes)
    numbers = {Level.PART: 0, Level.CHAPTER: 0}
    for node in record.nodes:
        if node.level not in numbers:
            continue
        numbers[node.level] += 1
        yield Heading(node.level, numbers[node.level], node.span.start_ms, node.span.end_ms, node.title)
        if node.level is Level.CHAPTER:
            children = [by_id[child] for child in node.children]
            scenes = [child for child in children if child.level is Level.SCENE]
            yield from _paragraphs([node] if long or not scenes else scenes, starts)


def _paragraphs(nodes: list[StoryNode], starts: Mapping[str, int]) -> Iterator[Paragraph]:
    """The nodes' sentences, those that begin in the same second together, an exact repeat in the next node left out."""
    current: list[str] = []
    current_ms = 0
    before: set[str] = set()
    for node in nodes:
        for sentence in node.sentences:
            if sentence.text in before:
                continue
            start_ms = min(starts[source] for source in sentence.sources)
            if current and not is_note(sentence.text) and start_ms // 1000 != current_ms // 1000:
                yield Paragraph(current_ms, " ".join(current))
                current = []
            if not current:
                current_ms = start_ms
            current.append(sentence.text)
        before = {sentence.text for sentence in node.sentences}
    if current:
        yield Paragraph(current_ms, " ".join(current))
