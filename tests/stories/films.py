"""Hand-made films for the story tests: clips with captions, and an encoder that needs no model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fdvs.captioners.builtin import describe
from fdvs.captioners.facts import Change, PictureFacts
from fdvs.records import (
    Caption,
    CaptionKind,
    Clip,
    DuplicateGroup,
    DuplicateMember,
    Outcome,
    PageKind,
    ShownLine,
    ShownPage,
    ShownStep,
    Span,
    StoryRecord,
    Video,
    content_id,
)
from fdvs.settings import Settings, load_settings
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.tree import BuiltStory, build_story
from fdvs.stories.words import words

VIDEO_ID = "ab" * 32
SETTINGS = load_settings(environ={})
PAPER = load_settings(environ={}, profile="paper")

PEOPLE = "baker doctor farmer pilot sailor tailor miner clerk judge nurse singer cook".split()  # noqa: SIM905


class BagOfWords:
    """Each word is a direction: texts that share words are alike. Remembers what it was asked to encode."""

    name = "bag-of-words"
    dimension = 64

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.encoded += texts
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for i, text in enumerate(texts):
            for word in words(text) or [text]:
                rows[i, int(hashlib.sha256(word.encode()).hexdigest(), 16) % self.dimension] += 1
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows


def caption(
    clip: Clip,
    text: str,
    kind: CaptionKind = CaptionKind.VISUAL,
    *,
    span: Span | None = None,
    backend: str = "model",
    outcome: Outcome = Outcome.OK,
) -> Caption:
    where = span or clip.span
    caption_id = content_id("cap", clip.id, kind, where.start_ms, where.end_ms, text, backend)
    return Caption(caption_id, clip.id, where, kind, text, outcome, "" if text else "no caption", backend, "s")


def clip_at(start_ms: int, end_ms: int) -> Clip:
    return Clip(content_id("clip", VIDEO_ID, start_ms, end_ms), VIDEO_ID, Span(start_ms, end_ms), start_ms, ())


def picture(direction: int, noise: float = 0.0, seed: int = 0) -> NDArray[np.float32]:
    """A unit vector along one of 32 axes, with a little seeded noise."""
    vector = np.zeros(32)
    vector[direction % 32] = 1.0
    vector += noise * np.random.default_rng(seed).normal(size=32)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def film(
    texts: Sequence[str],
    *,
    clip_ms: int = 10_000,
    said: Callable[[int], str] = lambda _: "",
    pictures: Callable[[int], NDArray[np.float32] | None] = lambda _: None,
    backend: str = "model",
) -> list[ClipEvidence]:
    """One clip per text, `clip_ms` each; an empty text is a failed caption."""
    clips: list[ClipEvidence] = []
    for i, text in enumerate(texts):
        clip = clip_at(i * clip_ms, (i + 1) * clip_ms)
        outcome = Outcome.OK if text else Outcome.FAILED
        captions = [caption(clip, text, backend=backend, outcome=outcome)]
        if said(i):
            captions.append(caption(clip, said(i), CaptionKind.SPEECH, backend="film.srt"))
        clips.append(ClipEvidence(clip, tuple(captions), pictures(i), None))
    return clips


def video_of(clips: Sequence[ClipEvidence], name: str = "film.mp4") -> Video:
    return Video(VIDEO_ID, name, clips[-1].clip.span.end_ms)


def facts(
    clip: Clip, kinds: Sequence[Change], colour: str = "grey", *, share: float = 0.1, region: int | None = None
) -> PictureFacts:
    """Facts of a clip sampled once more than there are kinds of change; all change is in one of nine regions, or
    everywhere."""
    step = clip.span.duration_ms // (len(kinds) + 1)
    moved = tuple(0.0 if kind is Change.STILL else share for kind in kinds)
    return PictureFacts(
        times_ms=tuple(clip.span.start_ms + i * step for i in range(len(kinds) + 1)),
        light=(0.5,) * (len(kinds) + 1),
        changed=moved,
        regions=tuple(
            tuple(9 * m if region == at else 0.0 if region is not None else m for at in range(9)) for m in moved
        ),
        kinds=tuple(kind.value for kind in kinds),
        camera=("still",) if Change.CUT not in kinds else (),
        colours=((colour, 0.7), ("black", 0.1)),
        first_layout=(100,) * 27,
        last_layout=(100,) * 27,
        cut_colours=(((colour, 0.9),), (("red", 0.9),)) if kinds.count(Change.CUT) == 1 else (),
    )


def still_facts(clip: Clip, colour: str = "grey") -> PictureFacts:
    return facts(clip, [Change.STILL] * 3, colour)


def measured(
    told: Sequence[Callable[[Clip], PictureFacts]],
    *,
    clip_ms: int = 4000,
    pages: Sequence[ShownPage] = (),
    pictures: Callable[[int], NDArray[np.float32] | None] = lambda _: None,
) -> list[ClipEvidence]:
    """A film of which only measured facts and pages are known: one clip for each maker of facts."""
    clips: list[ClipEvidence] = []
    for i, facts_of in enumerate(told):
        clip = clip_at(i * clip_ms, (i + 1) * clip_ms)
        known = facts_of(clip)
        own = tuple(page for page in pages if clip.span.contains(page.span.start_ms))
        steps = [step for page in pages for step in page.steps if clip.span.contains(step.start_ms)]
        captions = [caption(clip, describe(known), backend="builtin")]
        captions += [shown_caption(clip, step) for step in steps]
        clips.append(ClipEvidence(clip, tuple(captions), pictures(i), known, own))
    return clips


def shown_caption(clip: Clip, step: ShownStep) -> Caption:
    text = "\n".join(line.text for line in step.lines)
    span = Span(step.start_ms, max(line.span.end_ms for line in step.lines))
    return Caption(step.caption_id, clip.id, span, CaptionKind.SCREEN_TEXT, text, Outcome.OK, "", "reader", "s")


def page(
    start_ms: int,
    end_ms: int,
    *steps: tuple[int, Sequence[str]],
    title: str = "",
    kind: PageKind = PageKind.PAGE,
    repeats: ShownPage | None = None,
    height: int = 50,
) -> ShownPage:
    """A page whose steps are (start, lines), lines `height` thousandths of the picture high."""
    made = tuple(
        ShownStep(
            at,
            content_id("shown", at, list(lines)),
            tuple(ShownLine(text, Span(at, end_ms), (0, 0, 500, height)) for text in lines),
        )
        for at, lines in steps
    )
    return ShownPage(kind, Span(start_ms, end_ms), title, made, repeats.steps[0].caption_id if repeats else None)


def same_picture(clips: Sequence[ClipEvidence], *indices: int) -> DuplicateGroup:
    """A visual group of clips, the first of them its representative."""
    first, *others = (clips[i].clip for i in indices)
    members = tuple(DuplicateMember(clip.id, VIDEO_ID, clip.span, 0.99, "near") for clip in others)
    return DuplicateGroup("visual", first.id, VIDEO_ID, first.span, members)


def build(
    clips: Sequence[ClipEvidence], settings: Settings = SETTINGS, duplicates: Sequence[DuplicateGroup] = ()
) -> BuiltStory:
    return build_story(video_of(clips), clips, settings, BagOfWords(), duplicates=duplicates)


def record_of(
    clips: Sequence[ClipEvidence],
    settings: Settings = SETTINGS,
    name: str = "film.mp4",
    duplicates: Sequence[DuplicateGroup] = (),
) -> StoryRecord:
    built = build(clips, settings, duplicates)
    captions = tuple(item for evidence in clips for item in evidence.captions)
    return StoryRecord(video_of(clips, name), settings.content(), captions, built.nodes)
