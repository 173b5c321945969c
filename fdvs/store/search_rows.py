"""What search and answers read: nodes by key, their vectors, times that say the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fdvs.records import Level, Sentence, Span, VideoLanguages
from fdvs.store.alignments import AlignmentRows
from fdvs.store.rows import path_value, sentences_value, vector_value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_BOUND = 900  # SQLite before 3.32 binds at most 999 values in one statement


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node as search sees it. `key` names it in indexes; it is never used again for another node."""

    key: int
    id: str
    video_id: str
    video: str
    level: Level
    parent: str | None
    span: Span
    title: str
    sentences_json: str
    text_key: str

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        return sentences_value(self.sentences_json)

    @property
    def text(self) -> str:
        return " ".join(sentence.text for sentence in self.sentences)


@dataclass(frozen=True, slots=True)
class IndexedNode:
    """The little an index keeps of each node."""

    key: int
    level: Level
    video_id: str


_NODE = (
    "SELECT n.key, n.id, n.video_id, v.name, n.level, n.parent, n.start_ms, n.end_ms, n.title, n.sentences_json, "
    "n.text_key FROM nodes n JOIN videos v ON v.id = n.video_id "
)


class SearchRows(AlignmentRows):
    """Reading operations of search."""

    def node_rows(self, keys: Sequence[int]) -> list[NodeRow]:
        """The nodes with these keys, in the order asked for; keys that are gone are left out."""
        found: dict[int, NodeRow] = {}
        with self.reading() as db:
            for some in _batches(keys):
                for row in db.execute(f"{_NODE} WHERE n.key IN ({_marks(some)})", some):
                    found[row[0]] = _node_row(row)
        return [found[key] for key in keys if key in found]

    def nodes_at(self, video_id: str, start_ms: int, end_ms: int, level: Level | None = None) -> list[NodeRow]:
        """Nodes of a video that overlap [start_ms, end_ms), in pre-order; of one level where it is named."""
        with self.reading() as db:
            rows = db.execute(
                f"{_NODE} WHERE n.video_id = ? AND n.start_ms < ? AND n.end_ms > ? AND (? IS NULL OR n.level = ?) "
                "ORDER BY n.position",
                (video_id, end_ms, start_ms, level, level),
            )
            return [_node_row(row) for row in rows]

    def same_text(self, row: NodeRow, level: Level | None = None) -> list[NodeRow]:
        """All nodes of the video whose text is that of `row` once normalised, `row` included, by time and id; of one
        level where it is named."""
        with self.reading() as db:
            rows = db.execute(
                f"{_NODE} WHERE n.video_id = ? AND n.text_key = ? AND (? IS NULL OR n.level = ?) "
                "ORDER BY n.start_ms, n.id",
                (row.video_id, row.text_key, level, level),
            )
            return [_node_row(found) for found in rows]

    def ancestors(self, row: NodeRow) -> tuple[str, ...]:
        """Ids of the nodes above `row`, nearest first."""
        above: list[str] = []
        parent = row.parent
        with self.reading() as db:
            while parent is not None:
                above.append(parent)
                found = db.execute("SELECT parent FROM nodes WHERE video_id = ? AND id = ?", (row.video_id, parent))
                parent = found.fetchone()[0]
        return tuple(above)

    def has_node(self, video_id: str, node_id: str, span: Span) -> bool:
        """Whether the library holds this node with exactly this span: what a citation is checked against."""
        with self.reading() as db:
            row = db.execute(
                "SELECT 1 FROM nodes WHERE video_id = ? AND id = ? AND start_ms = ? AND end_ms = ?",
                (video_id, node_id, span.start_ms, span.end_ms),
            ).fetchone()
        return row is not None

    def vector_models(self) -> dict[tuple[str, int], int]:
        """{(text encoder, dimension): number of vectors} of the whole library."""
        with self.reading() as db:
            rows = db.execute("SELECT model, dimension, count(*) FROM vectors GROUP BY model, dimension")
            return {(model, dimension): count for model, dimension, count in rows}

    def vectors_of(self, keys: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """{node key: vector} of those of `keys` that have one."""
        found: dict[int, NDArray[np.float32]] = {}
        with self.reading() as db:
            for some in _batches(keys):
                query = f"SELECT node_key, vector FROM vectors WHERE node_key IN ({_marks(some)})"  # noqa: S608
                found.update((key, vector_value(blob)) for key, blob in db.execute(query, some))
        return found

    def told_languages(self) -> dict[str, tuple[VideoLanguages, str]]:
        """{video id: languages of its story, and the text encoder of the story's settings}."""
        with self.reading() as db:
            rows = db.execute(
                "SELECT video_id, languages_json, coalesce(json_extract(settings_json, '$.story.text_embedder'), '') "
                "FROM languages JOIN stories USING (video_id)"
            ).fetchall()
        return {video_id: (VideoLanguages.from_json(json.loads(column)), encoder) for video_id, column, encoder in rows}

    def word_counts(self) -> list[tuple[str, int]]:
        """(term, number of occurrences) over all search text, sorted by term."""
        with self._vocabulary("row") as table:
            return [(term, count) for term, count in self._db.execute(f"SELECT term, cnt FROM {table}")]  # noqa: S608

    def word_nodes(self, num_occurrences: int) -> NDArray[np.int64]:
        """Node key of each occurrence of each term, terms in the order of `word_counts`.

        Read both inside one `reading()`, so that they fit together.
        """
        import numpy as np

        with self._vocabulary("instance") as table:
            rows = self._db.execute(f"SELECT doc FROM {table}")  # noqa: S608
            return np.fromiter((row[0] for row in rows), np.int64, count=num_occurrences)

    @contextmanager
    def _vocabulary(self, kind: str) -> Iterator[str]:
        """Name of a view on the words of the search text; it lives in this connection only."""
        table = f"temp.words_by_{kind}"
        self._db.execute(f"CREATE VIRTUAL TABLE IF NOT EXISTS {table} USING fts5vocab('main', 'node_text', '{kind}')")
        with self.reading():
            yield table

    def indexed_nodes(self) -> list[IndexedNode]:
        """All nodes with text, by node id (which breaks ties) and video."""
        with self.reading() as db:
            rows = db.execute("SELECT key, level, video_id FROM nodes WHERE text_key <> '' ORDER BY id, video_id")
            return [IndexedNode(key, Level(level), video_id) for key, level, video_id in rows]

    def all_vectors(self, model: str) -> Iterator[tuple[int, bytes]]:
        """(node key, float32 little-endian bytes) of every vector by `model`, by node id and video.

        Read it inside `reading()`, so that all of it is of one generation.
        """
        yield from self._db.execute(
            "SELECT v.node_key, v.vector FROM nodes n JOIN vectors v ON v.node_key = n.key "
            "WHERE v.model = ? ORDER BY n.id, n.video_id",
            (model,),
        )

    def video_names(self) -> dict[str, str]:
        """{video id: name}."""
        with self.reading() as db:
            return {row[0]: path_value(row[1]) for row in db.execute("SELECT id, name FROM videos")}


def _node_row(row: Sequence[Any]) -> NodeRow:
    key, node_id, video_id, name, level, parent, start_ms, end_ms, title, sentences, text_key = row
    span = Span(start_ms, end_ms)
    return NodeRow(key, node_id, video_id, path_value(name), Level(level), parent, span, title, sentences, text_key)


def _batches(keys: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(keys), _MAX_BOUND):
        yield [int(key) for key in keys[start : start + _MAX_BOUND]]


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
