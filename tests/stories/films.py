"""Hand-made films for the story tests: clips with captions, and an encoder that needs no model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fdvs.records import Caption, CaptionKind, Clip, Outcome, Span, StoryRecord, Video, content_id
from fdvs.settings import Settings, load_settings
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.tree import BuiltStory, build_story
from fdvs.stories.words import words

VIDEO_ID = "ab" * 32
SETTINGS = load_settings(environ={})
PAPER = load_settings(environ={}, profile="paper")


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


def build(clips: Sequence[ClipEvidence], settings: Settings = SETTINGS) -> BuiltStory:
    return build_story(video_of(clips), clips, settings, BagOfWords())


def record_of(clips: Sequence[ClipEvidence], settings: Settings = SETTINGS, name: str = "film.mp4") -> StoryRecord:
    built = build(clips, settings)
    captions = tuple(item for evidence in clips for item in evidence.captions)
    return StoryRecord(video_of(clips, name), settings.content(), captions, built.nodes)
