"""The story of a video: its tree, search text, vectors and duplicate groups, replaced as one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fdvs.errors import InputError, NotFoundError
from fdvs.records import (
    NO_LANGUAGES,
    Caption,
    Clip,
    DuplicateGroup,
    Level,
    Span,
    StoryNode,
    StoryRecord,
    VideoLanguages,
)
from fdvs.store.clips import ClipRow
from fdvs.store.migrations import search_terms
from fdvs.store.readings import ReadingRows
from fdvs.store.rows import (
    group_column,
    group_value,
    json_column,
    sentences_value,
    text_column,
    text_key,
    vector_column,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STORY_STAGE = "story"
EXPORTED = "exported"  # clips and captions hash of a story that came from a file


class StoryRows(ReadingRows):
    """Operations on stories."""

    def put_story(
        self,
        video_id: str,
        story_hash: str,
        settings: Mapping[str, Any],
        nodes: Sequence[StoryNode],
        *,
        vectors: Mapping[str, NDArray[np.float32]],
        model: str,
        clips_hash: str,
        captions_hash: str,
        readings_hash: str = "",
        duplicates: Sequence[DuplicateGroup] = (),
        languages: VideoLanguages = NO_LANGUAGES,
    ) -> None:
        """Replace the video's story in one transaction: nodes, search text, vectors, groups; its done mark last.

        Args:
            video_id: a stored video.
            story_hash: settings that shape the story; marked done as stage `story`, in place of earlier marks.
            settings: the content settings, as exported with the story.
            nodes: the tree in pre-order.
            vectors: {node id: float32 [D]} by the text encoder `model`; a node without text needs none.
            clips_hash, captions_hash, readings_hash: which stored clips, captions and readings of the screen the story
                was told from.
            languages: of its speech and of the text on the screen.

        Raises:
            InputError: the nodes are no tree in pre-order, or the vectors do not fit them or each other.
        """
        check_tree(nodes)
        with self.writing() as db:
            db.execute("DELETE FROM stories WHERE video_id = ?", (video_id,))
            db.execute("DELETE FROM marks WHERE video_id = ? AND stage = ?", (video_id, STORY_STAGE))
            db.execute(
                "INSERT INTO stories (video_id, story_hash, clips_hash, captions_hash, settings_json, readings_hash) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (video_id, story_hash, clips_hash, captions_hash, json_column(settings), readings_hash),
            )
            keys = {node.id: _put_node(db, video_id, position, node) for position, node in enumerate(nodes)}
            _put_vectors(db, keys, vectors, model)
            _put_groups(db, video_id, duplicates)
            db.execute("INSERT INTO languages VALUES (?, ?)", (video_id, json_column(languages.to_json())))
            self._bump_generation(db)
            self.mark_stage(video_id, STORY_STAGE, story_hash)

    def put_record(self, record: StoryRecord, story_hash: str) -> None:
        """Store an exported story: its video, a clip for each leaf, captions and nodes; vectors follow by
        `put_vectors`.

        Raises:
            InputError: the nodes are no tree in pre-order, or a caption's clip is no leaf of it.
        """
        check_tree(record.nodes)
        captions = _captions_by_leaf(record)
        leaves = [node for node in record.nodes if not node.children]
        with self.writing():
            self.put_video(record.video)
            self.plan_video(record.video.id, EXPORTED, EXPORTED, clips_total=len(leaves))
            for ordinal, leaf in enumerate(leaves):
                clip = Clip(leaf.id, record.video.id, leaf.span, leaf.span.start_ms, ())
                row = ClipRow(ordinal, clip, captions=tuple(captions[leaf.id]))
                self.put_clip(EXPORTED, row, captions_hash=EXPORTED)
            self.put_story(
                record.video.id,
                story_hash,
                record.settings,
                record.nodes,
                vectors={},
                model="",
                clips_hash=EXPORTED,
                captions_hash=EXPORTED,
                duplicates=record.duplicates,
                languages=record.languages,
            )

    def put_vectors(self, video_id: str, vectors: Mapping[str, NDArray[np.float32]], model: str) -> None:
        """Replace the vectors of a stored story (InputError where they do not fit its nodes)."""
        with self.writing() as db:
            keys = dict(db.execute("SELECT id, key FROM nodes WHERE video_id = ?", (video_id,)))
            db.executemany("DELETE FROM vectors WHERE node_key = ?", [(key,) for key in keys.values()])
            _put_vectors(db, keys, vectors, model)
            self._bump_generation(db)

    def text_embedders(self) -> list[str]:
        """The text encoders that the settings of the stories name, each once, sorted."""
        with self.reading() as db:
            rows = db.execute("SELECT DISTINCT json_extract(settings_json, '$.story.text_embedder') FROM stories")
            return sorted(row[0] for row in rows if row[0])

    def a_vector_model(self) -> str | None:
        """The text encoder behind one of the vectors; None where there is no vector."""
        with self.reading() as db:
            row = db.execute("SELECT model FROM vectors LIMIT 1").fetchone()
        return None if row is None else str(row[0])

    def has_story(self, video_id: str) -> bool:
        with self.reading() as db:
            return db.execute("SELECT 1 FROM stories WHERE video_id = ?", (video_id,)).fetchone() is not None

    def story(self, video_id: str) -> StoryRecord:
        """Everything of a video's story (NotFoundError where the video or its story is missing)."""
        with self.reading() as db:
            video = self.video(video_id)
            told = db.execute(
                "SELECT clips_hash, captions_hash, settings_json FROM stories WHERE video_id = ?", (video_id,)
            ).fetchone()
            if told is None:
                raise NotFoundError(f"{video.name} has no story yet; `fdvs build` writes it")
            clips_hash, captions_hash, settings = told
            captions = self.stored_captions(video_id, clips_hash, captions_hash)
            nodes = _nodes(db, video_id)
            groups = _groups(db, "video_id = ?", video_id)
            languages = self.languages(video_id)
        return StoryRecord(video, json.loads(settings), captions, nodes, groups, languages)

    def languages(self, video_id: str) -> VideoLanguages:
        """The languages of a video's story; none where it has no story, or one from before they were detected."""
        with self.reading() as db:
            row = db.execute("SELECT languages_json FROM languages WHERE video_id = ?", (video_id,)).fetchone()
        return VideoLanguages.from_json(json.loads(row[0])) if row is not None else VideoLanguages()

    def nodes(self, video_id: str) -> tuple[StoryNode, ...]:
        """The tree of a video in pre-order; empty where it has none."""
        with self.reading() as db:
            return _nodes(db, video_id)

    def put_links(self, groups: Sequence[DuplicateGroup]) -> None:
        """Replace the duplicate groups across videos."""
        with self.writing() as db:
            db.execute("DELETE FROM duplicates WHERE video_id IS NULL")
            _put_groups(db, None, groups)

    def links(self) -> tuple[DuplicateGroup, ...]:
        """The duplicate groups across videos, as they were stored."""
        with self.reading() as db:
            return _groups(db, "video_id IS NULL")


def check_tree(nodes: Sequence[StoryNode]) -> None:
    """Refuse nodes that are no tree in pre-order: unknown or later parents, children out of step, ids used twice."""
    children: dict[str, list[str]] = {}
    for index, node in enumerate(nodes):
        if node.id in children:
            raise InputError(f"node id {node.id!r} is used twice")
        if (node.parent is None) != (index == 0) or (node.parent is not None and node.parent not in children):
            raise InputError(f"node {node.id!r}: parent {node.parent!r} does not come before it")
        children[node.id] = []
        if node.parent is not None:
            children[node.parent].append(node.id)
    for node in nodes:
        if list(node.children) != children[node.id]:
            raise InputError(f"node {node.id!r} names other children than the nodes that name it as parent")


def _captions_by_leaf(record: StoryRecord) -> dict[str, list[Caption]]:
    found: dict[str, list[Caption]] = {node.id: [] for node in record.nodes if not node.children}
    for caption in record.captions:
        if caption.clip_id not in found:
            raise InputError(f"caption {caption.id!r} belongs to {caption.clip_id!r}, which is no clip of the story")
        found[caption.clip_id].append(caption)
    return found


def _put_node(db: sqlite3.Connection, video_id: str, position: int, node: StoryNode) -> int:
    title, text = text_column(node.title), text_column(node.text)
    said = text_key(text)
    sentences = json_column([(text_column(sentence.text), sentence.sources) for sentence in node.sentences])
    cursor = db.execute(
        "INSERT INTO nodes (video_id, position, id, level, parent, start_ms, end_ms, title, sentences_json, writer, "
        "text_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            video_id,
            position,
            node.id,
            str(node.level),
            node.parent,
            node.span.start_ms,
            node.span.end_ms,
            title,
            sentences,
            node.writer,
            said,
        ),
    )
    key = cursor.lastrowid
    assert key is not None
    if said:  # a clip about which nothing is known is no search result
        db.execute(
            "INSERT INTO node_text (rowid, title, text) VALUES (?, ?, ?)",
            (key, search_terms(title), search_terms(text)),
        )
    return key


def _put_vectors(
    db: sqlite3.Connection, keys: Mapping[str, int], vectors: Mapping[str, NDArray[np.float32]], model: str
) -> None:
    unknown = sorted(set(vectors) - set(keys))
    if unknown:
        raise InputError(f"vector for {unknown[0]!r}, which is no node of the story")
    if len({vector.shape for vector in vectors.values()}) > 1:
        raise InputError("the vectors of a story must all have one dimension")
    db.executemany(
        "INSERT INTO vectors VALUES (?, ?, ?, ?)",
        [(keys[node_id], model, vector.size, vector_column(vector)) for node_id, vector in vectors.items()],
    )


def _nodes(db: sqlite3.Connection, video_id: str) -> tuple[StoryNode, ...]:
    rows = db.execute(
        "SELECT id, level, parent, start_ms, end_ms, title, sentences_json, writer FROM nodes "
        "WHERE video_id = ? ORDER BY position",
        (video_id,),
    ).fetchall()
    children: dict[str, list[str]] = {}
    for node_id, _, parent, *_ in rows:
        if parent is not None:
            children.setdefault(parent, []).append(node_id)
    return tuple(
        StoryNode(
            id=node_id,
            level=Level(level),
            parent=parent,
            children=tuple(children.get(node_id, ())),
            span=Span(start_ms, end_ms),
            title=title,
            sentences=sentences_value(sentences),
            writer=writer,
        )
        for node_id, level, parent, start_ms, end_ms, title, sentences, writer in rows
    )


def _put_groups(db: sqlite3.Connection, video_id: str | None, groups: Sequence[DuplicateGroup]) -> None:
    db.executemany(
        "INSERT INTO duplicates (video_id, ordinal, group_json) VALUES (?, ?, ?)",
        [(video_id, ordinal, group_column(group)) for ordinal, group in enumerate(groups)],
    )


def _groups(db: sqlite3.Connection, where: str, *values: object) -> tuple[DuplicateGroup, ...]:
    rows = db.execute(f"SELECT group_json FROM duplicates WHERE {where} ORDER BY ordinal", values)  # noqa: S608
    return tuple(group_value(row[0]) for row in rows)
