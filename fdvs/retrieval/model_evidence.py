"""What a model is given to answer from: pieces of stories from all levels, within a budget, in the order of time.

In the order of their worth, and until the budget is spent, these are taken:

1. the place in time that the question names ("at the end", "after X"), the nearest clips first, a dozen of them;
2. the summary of the video, where one video is asked about;
3. what search finds for the question, and with options for each of them in turn, the best first; after each result
   the nodes above it, the nearest first;
4. the rest of the place in time.

A sentence is given once for a video, by the finest of these nodes that says it, because its time is the most exact;
quotation marks and the like make no difference, and what a node quotes of a sentence inside it is not given again. A
node all of whose sentences finer ones say is not given. What does not fit is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from fdvs.prompts.reader import MAX_SENTENCE_CHARS, Excerpt, evidence_text, header_tokens, sentence_tokens, video_tokens
from fdvs.records import Level
from fdvs.retrieval.builtin_reader import BuiltinReading
from fdvs.retrieval.pool import Query
from fdvs.retrieval.search import Found, Scope, find
from fdvs.store.library import Store
from fdvs.store.search_rows import NodeRow
from fdvs.stories.words import same_text_key

if TYPE_CHECKING:
    from fdvs.encoders.text import TextEncoder

NEAR_CLIPS = 12  # of a place in time that come before what search finds; the others come after it
LEAST_HITS, MOST_HITS = 20, 200  # for the question, and for each option
_TOKENS_PER_HIT = 40  # a short caption with its number and time: how many results can fill a budget
_HEIGHT = {level: height for height, level in enumerate(Level)}
_FRAME_TOKENS = 16  # what stands around the pieces


@dataclass(frozen=True, slots=True)
class Piece:
    """A node that is given, and those of its sentences that no finer one says."""

    found: Found
    sentences: tuple[str, ...]
    title: str = ""

    @property
    def row(self) -> NodeRow:
        return self.found.scored.row


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a model is given.

    Attributes:
        pieces: by video, the one with the best result first, then by time, a longer one before what it holds.
        nearest: what search finds for the question, the best first.
        num_found: different sentences that were found.
        num_left_out: of these, those that did not fit.
    """

    pieces: tuple[Piece, ...]
    nearest: tuple[Found, ...]
    num_found: int
    num_left_out: int

    @property
    def num_cut(self) -> int:
        """Sentences that are given, but are longer than a sentence may be."""
        return sum(len(sentence) > MAX_SENTENCE_CHARS for piece in self.pieces for sentence in piece.sentences)

    @property
    def text(self) -> str:
        """As the model reads it; at least one piece is needed."""
        names = {piece.row.video_id: piece.row.video for piece in self.pieces}
        number = {video_id: i for i, video_id in enumerate(names, 1)}
        excerpts = [_excerpt(piece, number[piece.row.video_id]) for piece in self.pieces]
        return evidence_text(excerpts, list(names.values()))


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to a library; `video_id` where it is about one video."""

    store: Store
    encoder: TextEncoder
    question: str
    video_id: str | None = None
    options: tuple[str, ...] = ()


def gather(asked: Asked, tokens: int) -> Evidence:
    """The evidence on a question that takes at most so many tokens, by the estimate of `fdvs.prompts.tokens`."""
    with asked.store.reading():
        query = Query(asked.store, asked.encoder, asked.question)
        num_hits = tokens // _TOKENS_PER_HIT // (1 + len(asked.options))
        scope = Scope(min(MOST_HITS, max(LEAST_HITS, num_hits)), video_id=asked.video_id)
        hits = find(query, scope)
        ranked = [hits]
        for option in asked.options:
            ranked.append(find(Query(asked.store, asked.encoder, f"{asked.question} {option}"), scope))
        place = _found(query, BuiltinReading(asked.store, asked.encoder, asked.question, asked.video_id, 1).place())
        top = [] if asked.video_id is None else asked.store.nodes_at(asked.video_id, 0, 1, Level.VIDEO)
        in_turn = [item for same_rank in zip_longest(*ranked) for item in same_rank if item is not None]
        behind = _with_ancestors(query, [*in_turn, *place])
        return _fill(_once([*place[:NEAR_CLIPS], *_found(query, top), *behind]), tuple(hits), tokens)


# ---- what is worth giving ------------------------------------------------------------------------------------------


def _with_ancestors(query: Query, found: Iterable[Found]) -> Iterator[Found]:
    """Each result, then the nodes above it, the nearest first."""
    known: set[tuple[str, str]] = set()
    for item in found:
        yield item
        row = item.scored.row
        # What a result repeats can stand elsewhere: the nodes above it are those of the place that is shown.
        missing = [node_id for node_id in query.store.ancestors(row) if (row.video_id, node_id) not in known]
        if missing:
            known.update((row.video_id, node_id) for node_id in missing)
            here = query.store.nodes_at(row.video_id, row.span.start_ms, row.span.start_ms + 1)
            by_id = {one.id: one for one in here}
            yield from _found(query, [by_id[node_id] for node_id in missing])


def _found(query: Query, rows: Sequence[NodeRow]) -> list[Found]:
    """Nodes with text as results, in their order."""
    return [Found(scored, (), (scored.row,)) for scored in query.score([row for row in rows if row.text])]


def _once(found: Iterable[Found]) -> list[Found]:
    """Each node once, at its first place; where search found it, with the other times that say the same."""
    chosen: dict[int, Found] = {}
    for item in found:
        known = chosen.setdefault(item.scored.row.key, item)
        if len(item.same) > len(known.same):
            chosen[item.scored.row.key] = item
    return list(chosen.values())


# ---- what fits -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Told:
    """A sentence and the node that gives it; `key` is equal for sentences that say the same in the same words."""

    key: str
    text: str
    item: Found


def _fill(found: Sequence[Found], nearest: tuple[Found, ...], tokens: int) -> Evidence:
    """Sentence by sentence, in the order of worth; one that does not fit leaves room for a shorter one."""
    told = _told(found)
    titles = _telling_titles(found)
    given: dict[int, list[_Told]] = {}
    videos: set[str] = set()
    left, num_left_out = tokens - _FRAME_TOKENS, 0
    for one in told:
        row = one.item.scored.row
        cost = sentence_tokens(one.text)
        cost += 0 if row.key in given else header_tokens(_excerpt(Piece(one.item, (), titles[row.key]), 1))
        cost += 0 if row.video_id in videos else video_tokens(row.video)
        if cost > left:
            num_left_out += 1
            continue
        left -= cost
        videos.add(row.video_id)
        given.setdefault(row.key, []).append(one)
    pieces = [_piece(of_one, titles[key]) for key, of_one in given.items()]
    return Evidence(_in_reading_order(pieces), nearest, len(told), num_left_out)


def _told(found: Sequence[Found]) -> list[_Told]:
    """Every sentence once, the most worth first, by the finest node that says it."""
    by_row = {item.scored.row.key: _sentences(item) for item in found}
    finest: dict[tuple[str, str], _Told] = {}
    for item in sorted(found, key=_fineness, reverse=True):
        finest.update({(item.scored.row.video_id, one.key): one for one in by_row[item.scored.row.key]})
    chosen: dict[tuple[str, str], _Told] = {}
    for item in found:
        video_id = item.scored.row.video_id
        is_leaf = item.scored.row.level is Level.CLIP
        within = [] if is_leaf else [other for other in found if _is_inside(other, item)]
        inside = [one for other in within for one in by_row[other.scored.row.key]]
        for one in by_row[item.scored.row.key]:
            whole = next((other for other in inside if one.key in other.key and _has(other, one)), one)
            chosen.setdefault((video_id, whole.key), finest[video_id, whole.key])
    return list(chosen.values())


def _sentences(item: Found) -> list[_Told]:
    keys = {same_text_key(sentence.text): sentence.text for sentence in item.scored.row.sentences}
    return [_Told(key, text, item) for key, text in keys.items() if key]


def _has(other: _Told, one: _Told) -> bool:
    """Whether a sentence quotes another, word by word."""
    return f" {one.key} " in f" {other.key} "


def _fineness(item: Found) -> tuple[int, int, int, str]:
    """Sorts the finest node first."""
    row = item.scored.row
    return (row.span.duration_ms, _HEIGHT[row.level], row.span.start_ms, row.id)


def _is_inside(item: Found, other: Found) -> bool:
    """Whether a node is one of those below another."""
    row, wider = item.scored.row, other.scored.row
    return (
        _HEIGHT[row.level] < _HEIGHT[wider.level]
        and row.video_id == wider.video_id
        and wider.span.start_ms <= row.span.start_ms
        and row.span.end_ms <= wider.span.end_ms
    )


def _telling_titles(found: Sequence[Found]) -> dict[int, str]:
    """{node key: title} of the nodes above the clips; empty where a sentence that was found says it already."""
    texts: dict[str, str] = {}
    for item in found:
        row = item.scored.row
        texts[row.video_id] = f"{texts.get(row.video_id, '')} {same_text_key(row.text)} "
    titles = {}
    for item in found:
        row = item.scored.row
        is_told = row.level is Level.CLIP or f" {same_text_key(row.title)} " in texts[row.video_id]
        titles[row.key] = "" if is_told else row.title
    return titles


def _piece(told: Sequence[_Told], title: str) -> Piece:
    """The given sentences of one node, in its own order."""
    item = told[0].item
    keys = {one.key for one in told}
    return Piece(item, tuple(one.text for one in _sentences(item) if one.key in keys), title)


def _in_reading_order(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    rank = {video: i for i, video in enumerate(dict.fromkeys(piece.row.video_id for piece in pieces))}

    def order(piece: Piece) -> tuple[int, int, int, int, str]:
        row = piece.row
        return (rank[row.video_id], row.span.start_ms, -row.span.duration_ms, -_HEIGHT[row.level], row.id)

    return tuple(sorted(pieces, key=order))


def _excerpt(piece: Piece, video: int) -> Excerpt:
    row = piece.row
    also = tuple(other.span for other in piece.found.same if other.key != row.key)
    return Excerpt(video, row.level, row.span, piece.sentences, piece.title, also)
