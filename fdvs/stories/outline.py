"""A story as an outline: what both renderings, terminal and Markdown, say and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fdvs.languages.spoken import language_phrases
from fdvs.records import CaptionKind, DuplicateGroup, Level, Span, StoryNode, StoryRecord, clock
from fdvs.stories.evidence import IMPORTED, MEASURED, TAGGER
from fdvs.stories.lines import is_note

HONEST = "no vision model: measured facts, text and speech only"
HONEST_PARTS = "no vision model for {} of {} clips: measured facts, text and speech only there"
GUESSED = "no sentences of a vision model: what is seen is guessed from a fixed list of words"
MENDED_BY = (
    "fdvs models get small, then fdvs build VIDEO --captioner auto "
    "(on a server: --captioner openai --captioner-url URL)"
)
UNDESCRIBED = "no words for {} of {} clips: the model refused or failed there. It is asked again by: {}"
ASKED_AGAIN_BY = "the same fdvs build with --retry-failed"
_PAPER = "paper"
_PERCEPTION = {"objects": "detector_model", "action": "action_model", "frame_captions": "frame_caption_model"}
_SEEN = (CaptionKind.VISUAL, CaptionKind.ACTION, CaptionKind.OBJECTS)


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
    """What a story says first whose pictures no vision model has put into words, or not all of them, with the command
    that mends it; None for all others.

    Clips that added captions tell of are not counted as without.
    """
    captioner = _setting(record, "captions", "captioner")
    if captioner == TAGGER:
        return f"{GUESSED}. Sentences are written by: {MENDED_BY}"
    if captioner != MEASURED:
        return _undescribed_line(record, captioner)
    clips = [node.span for node in record.nodes if not node.children]
    added = _added_spans(record)
    without = sum(not any(one.start_ms < clip.end_ms and clip.start_ms < one.end_ms for one in added) for clip in clips)
    if not without:
        return None
    honest = HONEST if without == len(clips) else HONEST_PARTS.format(without, len(clips))
    return f"{honest}. A vision model looks at it by: {MENDED_BY}"


def _undescribed_line(record: StoryRecord, captioner: str) -> str | None:
    """How many clips a model was asked about of which it gave no words."""
    clips = {node.id for node in record.nodes if not node.children}
    asked = [one for one in record.captions if one.kind in _SEEN]
    missing = {one.clip_id for one in asked if not one.text} - {one.clip_id for one in asked if one.text}
    if captioner == IMPORTED or not missing:
        return None
    return UNDESCRIBED.format(len(missing), len(clips), ASKED_AGAIN_BY)


def _added_spans(record: StoryRecord) -> list[Span]:
    """Where captions of what is seen were added, joined. The built-in captioner writes one per clip; more are added."""
    seen = [one for one in record.captions if one.kind in _SEEN]
    per_clip = Counter(one.clip_id for one in seen)
    joined: list[Span] = []
    for span in sorted(one.span for one in seen if one.text and per_clip[one.clip_id] > 1):
        if joined and span.start_ms <= joined[-1].end_ms:
            joined[-1] = Span.union([joined[-1], span])
        else:
            joined.append(span)
    return joined


def summary_line(record: StoryRecord) -> str:
    """`name · 2:03 · 8 scenes in 3 chapters · 23 clips, 15 of them repeat what came before · speech in German`, and
    which models described and wrote, where any did: `described by Owner/Eyes, written by Owner/Pen`."""
    counts = {level: sum(node.level is level for node in record.nodes) for level in Level}
    tree = [_counted(counts[level], str(level)) for level in (Level.SCENE, Level.CHAPTER, Level.PART) if counts[level]]
    clips = _counted(counts[Level.CLIP], "clip")
    repeats = num_repeating_clips(record)
    if repeats:
        clips += f", {repeats} of them {'repeats' if repeats == 1 else 'repeat'} what came before"
    languages = language_phrases(record.languages)
    return " · ".join(
        [record.video.name, clock(record.video.duration_ms), " in ".join(tree), clips, *languages, *_made_by(record)]
    )


def _made_by(record: StoryRecord) -> list[str]:
    """Who described and who wrote, one text; nothing of a story that no model of ours had a part in."""
    eyes = _eyes(record) if any(one.text and one.kind in _SEEN for one in record.captions) else []
    verb = "tagged" if _setting(record, "captions", "captioner") == TAGGER else "described"
    told = [f"{verb} by {' and '.join(eyes)}"] if eyes else []
    pen = _model(record, "story", "writer")
    if pen and any(node.children and node.writer != MEASURED for node in record.nodes):
        told.append(f"written by {pen}")
    return [", ".join(told)] if told else []


def _eyes(record: StoryRecord) -> list[str]:
    """The models that describe: the captioner's own, and those of the paper's perception."""
    captioner = _setting(record, "captions", "captioner")
    enriched = [part.strip() for part in _setting(record, "captions", "enrich").split(",")]
    parts = [part for part in _PERCEPTION if captioner == _PAPER or part in enriched]
    own = [] if captioner == _PAPER else [_model(record, "captions", "captioner")]
    models = [*own, *(_setting(record, "captions", _PERCEPTION[part]) for part in parts)]
    return list(dict.fromkeys(model for model in models if model))


def _model(record: StoryRecord, stage: str, role: str) -> str:
    """The name of the model behind a role, else of its back end; nothing where none of ours had it."""
    back_end = _setting(record, stage, role)
    return "" if back_end in (MEASURED, IMPORTED) else _setting(record, stage, f"{role}_model") or back_end


def _setting(record: StoryRecord, stage: str, key: str) -> str:
    table = record.settings.get(stage, {})
    value = table.get(key) if isinstance(table, Mapping) else None
    return value if isinstance(value, str) else ""


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def num_repeating_clips(record: StoryRecord) -> int:
    """Clips that show what was shown before, or all of whose captions of what is seen were told before word for word.

    Captions that are only alike do not make a repeat, nor do equal measured facts or tags: they fit many pictures.
    """
    shown = {member.id for group in _own_groups(record) if group.kind == "visual" for member in group.members}
    repeating = {node.id for node in record.nodes if node.level is Level.CLIP and node.id in shown}
    if _setting(record, "captions", "captioner") not in (MEASURED, TAGGER):
        equal = {m.id for group in _own_groups(record) for m in group.members if m.rule == "exact"}
        seen = [caption for caption in record.captions if caption.kind is not CaptionKind.SPEECH and caption.text]
        new = {caption.clip_id for caption in seen if caption.id not in equal}
        repeating |= {caption.clip_id for caption in seen} - new
    return len(repeating)


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
