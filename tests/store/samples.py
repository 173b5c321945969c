"""Small records to put into a library."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fdvs.records import (
    Caption,
    CaptionKind,
    Clip,
    FrameSelection,
    Level,
    Outcome,
    Sentence,
    Span,
    StoryNode,
    Video,
    content_id,
)
from fdvs.store.clips import ClipRow
from fdvs.store.library import Store


def video(name: str = "a.mp4", seed: str = "a", num_clips: int = 3) -> Video:
    digest = content_id("x", seed)[2:] * 4
    return Video(id=digest, name=name, duration_ms=num_clips * 2000, size_bytes=123)


def caption(clip: Clip, text: str = "A dog runs.", outcome: Outcome = Outcome.OK, reason: str = "") -> Caption:
    return Caption(
        id=content_id("caption", clip.id, ascii(text)),
        clip_id=clip.id,
        span=clip.span,
        kind=CaptionKind.VISUAL,
        text=text,
        outcome=outcome,
        reason=reason,
        backend="fake",
        settings_hash="c1",
    )


def clip_row(of: Video, ordinal: int, text: str = "A dog runs.") -> ClipRow:
    span = Span(ordinal * 2000, ordinal * 2000 + 2000)
    clip = Clip(
        content_id("clip", of.id, span.start_ms), of.id, span, span.start_ms, (span.start_ms, span.start_ms + 9)
    )
    selection = FrameSelection(clip.id, clip.sampled_ms, clip.sampled_ms[:1], (1.0, 0.99), "greedy")
    picture = np.asarray([ordinal, 1.5, -2.25], np.float32)
    return ClipRow(ordinal, clip, selection, {"motion": 0.125}, picture, "descriptor", (caption(clip, text),))


def tree(of: Video, texts: list[str]) -> tuple[StoryNode, ...]:
    """video → scene → a clip for each text, two seconds each."""
    clips = [
        StoryNode(
            id=content_id("clip", of.id, i * 2000),
            level=Level.CLIP,
            parent="scene-" + of.id[:8],
            children=(),
            span=Span(i * 2000, i * 2000 + 2000),
            title=text.split(".")[0],
            sentences=(Sentence(text, (f"caption-{i}",)),) if text else (),
            writer="builtin",
        )
        for i, text in enumerate(texts)
    ]
    whole = Span(0, len(texts) * 2000)
    ids = tuple(clip.id for clip in clips)
    said = tuple(Sentence(text, (clip.id,)) for text, clip in zip(texts, clips, strict=True) if text)
    scene = StoryNode("scene-" + of.id[:8], Level.SCENE, "video-" + of.id[:8], ids, whole, "Scene", said, "builtin")
    root = StoryNode("video-" + of.id[:8], Level.VIDEO, None, (scene.id,), whole, "All", said[:1], "builtin")
    return (root, scene, *clips)


def vectors(nodes: tuple[StoryNode, ...], dimension: int = 4) -> dict[str, NDArray[np.float32]]:
    found = {}
    for node in nodes:
        row = np.random.default_rng(int(content_id("v", ascii(node.text))[2:], 16)).normal(size=dimension)
        found[node.id] = (row / np.linalg.norm(row)).astype(np.float32)
    return found


def fill(store: Store, of: Video, texts: list[str]) -> None:
    """A finished video: clips, captions and a story with one clip per text."""
    store.put_video(of)
    for ordinal, text in enumerate(texts):
        store.put_clip("clips-1", clip_row(of, ordinal, text), captions_hash="captions-1")
    nodes = tree(of, texts)
    store.put_story(
        of.id,
        "story-1",
        {"profile": "default"},
        nodes,
        vectors=vectors(nodes),
        model="fake",
        clips_hash="clips-1",
        captions_hash="captions-1",
    )
