"""A deterministic text encoder and small stories to search and ask."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fdvs.records import Level, Sentence, Span, StoryNode, Video, content_id
from fdvs.retrieval.story_file import node_vectors
from fdvs.store.library import Store

CLIP_MS = 2000


class FakeEncoder:
    """A text is the sum of its words, each a fixed random direction: texts that share words are near."""

    name = "fake"
    dimension = 96

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.encoded += texts
        return np.stack([self._one(text) for text in texts])

    def _one(self, text: str) -> NDArray[np.float32]:
        words = re.findall(r"\w+", text.lower()) or ["nothing at all"]
        row = np.sum([_direction(word.rstrip("s"), self.dimension) for word in words], axis=0)
        unit: NDArray[np.float32] = (row / np.linalg.norm(row)).astype(np.float32)
        return unit


@cache
def _direction(word: str, dimension: int) -> NDArray[np.float64]:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    direction: NDArray[np.float64] = np.random.default_rng(seed).normal(size=dimension)
    return direction


def node(
    level: Level, span: tuple[int, int], texts: Sequence[str], children: Sequence[StoryNode] = (), salt: str = ""
) -> StoryNode:
    """A node over clips [first, last) of two seconds each; its id follows from its place."""
    where = Span(span[0] * CLIP_MS, span[1] * CLIP_MS)
    node_id = content_id(str(level), salt, where.start_ms, where.end_ms)
    sources = [child.id for child in children] or ["caption"]
    sentences = tuple(Sentence(text, (sources[i % len(sources)],)) for i, text in enumerate(texts) if text)
    title = texts[0].rstrip(".") if texts else ""
    ids = tuple(child.id for child in children)
    return StoryNode(node_id, level, None, ids, where, title, sentences, "builtin")


def story(scenes: Sequence[Sequence[str]], salt: str = "", summary: Sequence[str] = ()) -> tuple[StoryNode, ...]:
    """video → scenes → clips, one clip per text; a scene says what its clips say, the video says `summary`."""
    built: list[tuple[StoryNode, list[StoryNode]]] = []
    position = 0
    for texts in scenes:
        clips = [node(Level.CLIP, (position + i, position + i + 1), [text], (), salt) for i, text in enumerate(texts)]
        scene = node(Level.SCENE, (position, position + len(texts)), [t for t in texts if t][:3], clips, salt)
        built.append((scene, clips))
        position += len(texts)
    top = node(Level.VIDEO, (0, position), summary or [scenes[0][0]], [scene for scene, _ in built], salt)
    nodes = [top]
    for scene, clips in built:
        nodes.append(_under(scene, top.id))
        nodes += [_under(clip, scene.id) for clip in clips]
    return tuple(nodes)


def _under(child: StoryNode, parent: str) -> StoryNode:
    return StoryNode(
        child.id, child.level, parent, child.children, child.span, child.title, child.sentences, child.writer
    )


def put(store: Store, name: str, nodes: Sequence[StoryNode]) -> str:
    """Store a video with this story; returns its id."""
    video_id = content_id("video", name)[6:] * 4
    encoder = FakeEncoder()
    store.put_video(Video(video_id, name, nodes[0].span.end_ms))
    store.put_story(
        video_id,
        "s",
        {},
        nodes,
        vectors=node_vectors(nodes, encoder),
        model=encoder.name,
        clips_hash="c",
        captions_hash="c",
    )
    return video_id


KITCHEN = (
    ("A woman opens the fridge.", "She takes a bottle of milk.", "A cat watches from the table."),
    ("The woman pours milk into a bowl.", "The cat drinks the milk."),
    ("The kettle boils over.", "She turns off the stove."),
)
STREET = (
    ("A red car stops at the corner.", "Two men carry a sofa.", "A dog barks at the men."),
    ("Rain falls on the empty street.", "A red car stops at the corner!", "The lamp goes out."),
)


def library() -> tuple[Store, str, str]:
    """A library of two videos, and their ids."""
    store = Store.in_memory()
    kitchen = put(store, "kitchen.mp4", story(KITCHEN, "k", ["A woman feeds her cat in a kitchen."]))
    street = put(store, "street.mp4", story(STREET, "s", ["A street on a rainy evening."]))
    return store, kitchen, street
