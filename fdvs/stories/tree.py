"""The story tree of one video: borders, text and vectors put together.

Vectors: a clip's is its text's, encoded once however often the text occurs. A higher node's is the normalised mean of
its sentences': they are few, most of them are shared with the nodes below, and so the levels above the clips cost next
to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fdvs.captioners.builtin import compare
from fdvs.chat.base import ChatModel
from fdvs.errors import InputError
from fdvs.prompts.writer import fingerprint
from fdvs.records import CaptionKind, DuplicateGroup, Level, Span, StoryNode, Video, content_id
from fdvs.settings import Settings
from fdvs.stories.asking import Replies
from fdvs.stories.check import validate_sources, validate_tree
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.lines import is_note
from fdvs.stories.model_writer import ModelWriter
from fdvs.stories.repeats import chapter_repeats
from fdvs.stories.segments import Layer, plan_layers
from fdvs.stories.signals import Signals
from fdvs.stories.wholes import subjects
from fdvs.stories.writer import WRITER, BuiltinWriter, Told
from fdvs.stories.writing_report import WriterReport

if TYPE_CHECKING:
    from fdvs.encoders.text import TextEncoder

_TIMES = re.compile(r"^As at [\d:]+: | (?:until|at|around|after) \d+:\d\d(?::\d\d)?")

__all__ = ["BuiltStory", "ClipEvidence", "build_story", "validate_sources", "validate_tree"]


@dataclass(frozen=True, slots=True)
class BuiltStory:
    """Attributes:
    nodes: pre-order, the video node first.
    vectors: unit vector per node id; a node without text has none.
    writing: what came of having a model write it; None where none was asked.
    repeats: chapters of the profile `paper` that say what an earlier one said (kind `textual`, ids of their nodes), and
        are left out of the story above them; none without a model, where captions are compared before.
    """

    nodes: tuple[StoryNode, ...]
    vectors: dict[str, NDArray[np.float32]]
    writing: WriterReport | None = None
    repeats: tuple[DuplicateGroup, ...] = ()


def build_story(
    video: Video,
    clips: Sequence[ClipEvidence],
    settings: Settings,
    encoder: TextEncoder,
    *,
    duplicates: Sequence[DuplicateGroup] = (),
    model: ChatModel | None = None,
    replies: Replies | None = None,
) -> BuiltStory:
    """Cut the clips into scenes, chapters and, where needed, parts, and write the story from the bottom up.

    Args:
        clips: in time order; their spans partition [0, video.duration_ms).
        duplicates: clips that show the same picture (`visual`) are told as returns; captions that a textual
            group names as members are not told again above the clips.
        model: writes title and sentences of the nodes above the clips; None: the built-in writer does. Where nothing
            usable comes of the model, the built-in writer's text stands, and `writing` says so.
        replies: the model's replies that are there already, and where new ones go.

    Returns:
        Nodes in pre-order with equal ids wherever borders and story settings are equal, and their vectors.

    Raises:
        InputError: there is no clip, or the clips do not partition the video; the model's context is too small.
        ServerError: the model's server does not answer.
    """
    if not clips:
        raise InputError("a story needs at least one clip")
    writer = BuiltinWriter(clips, settings.story, duplicates)
    told = [writer.clip(i) for i in range(len(clips))]
    memory = _Memory(encoder)
    texts = [" ".join(sentence.text for sentence in item.sentences) for item in told]
    memory.learn(texts)
    layers = plan_layers(_signals(clips, texts, memory, writer), settings.story)
    writer.look_ahead(layers[0].groups)

    story_hash = _story_hash(settings, model)
    levels = [[_clip_node(evidence, item) for evidence, item in zip(clips, told, strict=True)]]
    written = [told]
    for layer in layers:
        below = written[-1]
        written.append([writer.over(layer.level, below[group.start : group.stop]) for group in layer.groups])
        levels.append(_parents(layer, written[-1], levels, story_hash))
    report, repeats = None, tuple[DuplicateGroup, ...]()
    if model is not None:
        of_clips = [item.lines for item in told]
        by_model = ModelWriter(
            clips,
            of_clips,
            settings.story,
            model,
            duplicates=duplicates,
            find_repeats=lambda chapters: chapter_repeats(video.id, chapters, settings.story, encoder),
            replies=replies,
        )
        levels, report = by_model.write(levels)
        repeats = by_model.repeats
    nodes = _pre_order(levels)
    validate_tree(nodes, video.duration_ms, max_children=settings.story.max_children)
    validate_sources(nodes, {caption.id for evidence in clips for caption in evidence.captions})

    vectors = _clip_vectors(levels[0], texts, memory)
    vectors.update(_higher_vectors((node for level in levels[1:] for node in level), memory))
    return BuiltStory(nodes, vectors, report, repeats)


def _story_hash(settings: Settings, model: ChatModel | None) -> str:
    """What, with its children, makes the id of a node above the clips: of a model's, also the model and its prompts."""
    own = settings.hash("story")
    return own if model is None else content_id("writing", own, model.model, fingerprint())


def texts_of(node: StoryNode) -> list[str]:
    """The texts whose vectors make the node's: its text where it is a clip, else its sentences without the notes on
    how long they last and without times, which say nothing of what happens."""
    if not node.children:
        return [node.text] if node.text.strip() else []
    return [_TIMES.sub("", sentence.text) for sentence in node.sentences if not is_note(sentence.text)]


class _Memory:
    """Vectors by text: each distinct text is encoded once."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def learn(self, texts: Iterable[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if text and text not in self._vectors]
        if new:
            self._vectors.update(zip(new, self._encoder.encode(new), strict=True))

    def vector(self, text: str) -> NDArray[np.float32] | None:
        return self._vectors.get(text)

    def rows(self, texts: Sequence[str]) -> NDArray[np.float32] | None:
        return _rows([self._vectors.get(text) for text in texts])


def _rows(vectors: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    """[N, D] with zeros where there is no vector; None when there is none at all."""
    some = next((vector for vector in vectors if vector is not None), None)
    if some is None:
        return None
    rows = np.zeros((len(vectors), len(some)), np.float32)
    for row, vector in zip(rows, vectors, strict=True):
        if vector is not None:
            row[:] = vector
    return rows


def _signals(clips: Sequence[ClipEvidence], texts: Sequence[str], memory: _Memory, writer: BuiltinWriter) -> Signals:
    edges = [evidence.clip.span.start_ms for evidence in clips] + [clips[-1].clip.span.end_ms]
    speech = sorted(cue.span for evidence in clips for cue in evidence.told(CaptionKind.SPEECH))
    pictures = _rows([evidence.picture for evidence in clips])
    facts = _facts_differences(clips)
    # What was only measured repeats what the picture says; its wording is no second witness.
    worded = [text if evidence.is_worded else "" for evidence, text in zip(clips, texts, strict=True)]
    departures = writer.returns.departures
    return Signals(
        edges_ms=np.array(edges, dtype=np.int64),
        picture=pictures,
        text=memory.rows(worded),
        speech=tuple(speech),
        facts=facts,
        subject=subjects(clips, writer.pages, writer.returns),
        departs=np.array([i in departures for i in range(len(clips))]) if departures else None,
    )


def _facts_differences(clips: Sequence[ClipEvidence]) -> NDArray[np.float64] | None:
    if all(evidence.facts is None for evidence in clips):
        return None
    pairs = pairwise(evidence.facts for evidence in clips)
    return np.array([np.nan, *(compare(a, b) if a and b else np.nan for a, b in pairs)])


def _clip_node(evidence: ClipEvidence, told: Told) -> StoryNode:
    clip = evidence.clip
    return StoryNode(clip.id, Level.CLIP, None, (), clip.span, told.title, told.sentences, WRITER)


def _parents(layer: Layer, told: Sequence[Told], levels: list[list[StoryNode]], settings_hash: str) -> list[StoryNode]:
    """The nodes of one layer; their children, the last of `levels`, get them as parents."""
    below = levels[-1]
    nodes: list[StoryNode] = []
    for group, item in zip(layer.groups, told, strict=True):
        children = tuple(below[i].id for i in group)
        node_id = content_id(str(layer.level), list(children), settings_hash)
        span = Span.union([below[i].span for i in group])
        nodes.append(StoryNode(node_id, layer.level, None, children, span, item.title, item.sentences, WRITER))
        for i in group:
            below[i] = replace(below[i], parent=node_id)
    return nodes


def _pre_order(levels: Sequence[Sequence[StoryNode]]) -> tuple[StoryNode, ...]:
    by_id = {node.id: node for level in levels for node in level}
    order: list[StoryNode] = []
    todo = [levels[-1][0].id]
    while todo:
        node = by_id[todo.pop()]
        order.append(node)
        todo += reversed(node.children)
    return tuple(order)


def _clip_vectors(nodes: Sequence[StoryNode], texts: Sequence[str], memory: _Memory) -> dict[str, NDArray[np.float32]]:
    found = ((node.id, memory.vector(text)) for node, text in zip(nodes, texts, strict=True))
    return {node_id: vector for node_id, vector in found if vector is not None}


def _higher_vectors(nodes: Iterable[StoryNode], memory: _Memory) -> dict[str, NDArray[np.float32]]:
    told = {node.id: texts_of(node) for node in nodes}
    memory.learn(text for texts in told.values() for text in texts)
    vectors: dict[str, NDArray[np.float32]] = {}
    for node_id, texts in told.items():
        rows = memory.rows(texts)
        if rows is not None:
            mean = rows.sum(axis=0, dtype=np.float64)
            norm = float(np.linalg.norm(mean))
            if norm > 1e-9:
                vectors[node_id] = (mean / norm).astype(np.float32)
    return vectors
