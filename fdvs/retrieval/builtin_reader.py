"""The reader without a language model.

It finds the nodes that fit a question, takes the sentence that supports it best, word for word, and abstains where the
support is weak (`evidence.py`). With options it picks one (`choice.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fdvs.records import Answer, Hit, Level
from fdvs.retrieval.choice import Options, option_scores
from fdvs.retrieval.choice_units import background_beside, units_of
from fdvs.retrieval.evidence import confidence, supports, word_weights
from fdvs.retrieval.pool import Query
from fdvs.retrieval.questions import Question, parse_question
from fdvs.retrieval.search import Found, Scope, as_hit, find, verified
from fdvs.store.library import Store
from fdvs.store.rows import normalised
from fdvs.store.search_rows import NodeRow

if TYPE_CHECKING:
    from fdvs.encoders.text import TextEncoder

BUILTIN = "builtin"
_MIN_NODES = 8  # nodes whose sentences are weighed, however few citations are wanted
_EDGE_SHARE = 0.2  # "at the beginning" and "at the end": that share of the video
_NEXT_CLIPS = 3  # "after X": so many clips on
_MAX_UNITS = 2000  # captions of a video that a choice is made from, evenly spaced where there are more
_OPTION_HITS = 20
_GENERIC_CONFIDENCE = 0.5  # "What is this about?" is answered by the summary, whatever it says


@dataclass(frozen=True, slots=True)
class _Evidence:
    """A sentence, the result it stands in, and how strongly it supports the answer."""

    text: str
    found: Found
    strength: float


class BuiltinReading:
    """One question read against one library.

    Args:
        question: as `check_query` leaves it.
        video_id: ask about this video only.
        k: at most so many citations.

    Raises:
        NotFoundError: there is no such video.
    """

    def __init__(self, store: Store, encoder: TextEncoder, question: str, video_id: str | None, k: int) -> None:
        self._store = store
        self._encoder = encoder
        self._asked = question
        self._question: Question = parse_question(question)
        self._video_id = video_id
        self._k = k
        if video_id is not None:
            store.video(video_id)

    # ---- open questions -----------------------------------------------------------------------------------------

    def answer(self) -> Answer:
        timed = self._timed()
        if timed is not None:
            return timed
        query = Query(self._store, self._encoder, self._asked)
        if self._video_id is not None and not query.stems:
            return self._summary(self._video_id)
        found = find(query, Scope(max(self._k, _MIN_NODES), video_id=self._video_id))
        return self._best_of(query, found, int(query.pool.allowed(None, self._video_id).sum()))

    def place(self) -> list[NodeRow]:
        """The clips at the place in time that the question names, the nearest to it first; none where it names none, or
        where that place is not found."""
        if self._video_id is None or self._question.when is None:
            return []
        if self._question.when in ("start", "end"):
            return self._edge(self._video_id, first=self._question.when == "start")
        return self._beside(self._video_id, self._question.event, after=self._question.when == "after")

    def _timed(self) -> Answer | None:
        """An answer from the place in time the question names; None where that place is not found."""
        rows = self.place()
        if not rows:
            return None
        query = Query(self._store, self._encoder, self._question.text or self._asked)
        found = [Found(item, (), (item.row,)) for item in query.score(rows)]
        if not found:
            return None
        if not query.stems:  # "What happens at the end?": whatever is told there
            sentence = found[0].scored.row.sentences[0].text
            return self._told(sentence, found, _GENERIC_CONFIDENCE)
        tried = [self._best_of(query, [item], len(found)) for item in found]
        return next((answer for answer in tried if not answer.abstained), self._abstain(tried[0].confidence, found))

    def _edge(self, video_id: str, *, first: bool) -> list[NodeRow]:
        """Clips with text in the first or the last part of a video, the outermost first."""
        length = self._store.video(video_id).duration_ms
        share = max(1, int(length * _EDGE_SHARE))
        start, end = (0, share) if first else (length - share, length)
        rows = [row for row in self._store.nodes_at(video_id, start, end, Level.CLIP) if row.text]
        return rows if first else rows[::-1]

    def _beside(self, video_id: str, event: str, *, after: bool) -> list[NodeRow]:
        """The clips with text next to where `event` is told, nearest first; none where it is not told."""
        query = Query(self._store, self._encoder, event)
        clips = find(query, Scope(1, Level.CLIP, video_id))
        if not clips:
            return []
        count = int(query.pool.allowed(None, video_id).sum())
        evidence = self._weigh(query, clips)
        if not evidence or confidence(evidence[0].strength, count) < 0.5:
            return []
        anchor = clips[0].scored.row
        whole = self._store.video(video_id).duration_ms
        start, end = (anchor.span.end_ms, whole) if after else (0, anchor.span.start_ms)
        rows = [
            row
            for row in self._store.nodes_at(video_id, start, end, Level.CLIP)
            if row.text and row.text_key != anchor.text_key and row.span != anchor.span
        ]
        return rows[:_NEXT_CLIPS] if after else rows[::-1][:_NEXT_CLIPS]

    def _summary(self, video_id: str) -> Answer:
        """The video's own first sentence, for a question that names nothing in particular."""
        rows = [row for row in self._store.nodes_at(video_id, 0, 1, Level.VIDEO) if row.text]
        query = Query(self._store, self._encoder, self._asked)
        found = [Found(item, (), (item.row,)) for item in query.score(rows)]
        if not found:
            return self._abstain(0.0, [])
        return self._told(found[0].scored.row.sentences[0].text, found, _GENERIC_CONFIDENCE)

    def _best_of(self, query: Query, found: Sequence[Found], num_nodes: int) -> Answer:
        evidence = self._weigh(query, found)
        if not evidence:
            return self._abstain(0.0, found)
        sure = confidence(evidence[0].strength, num_nodes)
        if sure < 0.5:
            return self._abstain(sure, found)
        best = evidence[0].found
        return self._told(evidence[0].text, [best, *(item for item in found if item is not best)], sure)

    def _weigh(self, query: Query, found: Sequence[Found]) -> list[_Evidence]:
        """Every sentence of the results once, in the finest node that has it, strongest first."""
        places: dict[str, tuple[str, Found]] = {}
        for item in sorted(found, key=lambda item: item.scored.row.span.duration_ms):
            for sentence in item.scored.row.sentences:
                if normalised(sentence.text):
                    places.setdefault(normalised(sentence.text), (sentence.text, item))
        if not places:
            return []
        texts = [text for text, _ in places.values()]
        weights = word_weights(query.pool.words, query.stems)
        outside = [query.is_outside(item.scored.row.video_id) for _, item in places.values()]
        stems = self._stems_asked_for(query, texts)
        scores = supports(query.vector, weights, self._encoder.encode(texts), stems, outside)
        evidence = [
            _Evidence(text, item, support.strength)
            for (text, item), support in zip(places.values(), scores, strict=True)
        ]
        return sorted(evidence, key=lambda one: (-one.strength, one.found.scored.order, one.text))

    def _stems_asked_for(self, query: Query, texts: Sequence[str]) -> list[list[str]]:
        """The stems of each text; a compound with a word of the question in it counts as that word."""
        parts = {form: stem for stem in query.stems for form in query.pool.words.forms(stem)}
        return [[parts.get(stem, stem) for stem in stems] for stems in query.pool.stems(texts)]

    # ---- multiple choice ----------------------------------------------------------------------------------------

    def choose(self, options: list[str]) -> Answer:
        queries = [Query(self._store, self._encoder, f"{self._asked} {option}") for option in options]
        units = units_of(queries[0], self._unit_rows(queries))
        if units is None:
            return self._abstain(0.0, [], (1 / len(options),) * len(options))
        read = Options(
            alone=self._encoder.encode(options),
            together=np.stack([query.vector for query in queries]),
            stems=[queries[0].pool.telling(option) for option in options],
        )
        scores = option_scores(read, units, background_beside(queries[0], self._video_id), self._encoder.encode)
        best = int(np.argmax(scores))
        found = find(queries[best], Scope(self._k, video_id=self._video_id))
        return Answer(
            question=self._asked,
            text=options[best],
            abstained=False,
            confidence=round(scores[best], 6),
            citations=self._citations(found),
            reader=BUILTIN,
            option_index=best,
            option_scores=tuple(scores),
        )

    def _unit_rows(self, queries: Sequence[Query]) -> list[NodeRow]:
        """The captions to choose from: all clips of one video, or in a library those that fit any option."""
        if self._video_id is not None:
            length = self._store.video(self._video_id).duration_ms
            rows = [row for row in self._store.nodes_at(self._video_id, 0, length, Level.CLIP) if row.text]
            step = -(-len(rows) // _MAX_UNITS)
            return rows[:: max(step, 1)]
        scope = Scope(_OPTION_HITS, Level.CLIP)
        rows = [found.scored.row for query in queries for found in find(query, scope)]
        return list({row.key: row for row in rows}.values())

    # ---- answers ------------------------------------------------------------------------------------------------

    def _told(self, text: str, found: Sequence[Found], sure: float) -> Answer:
        return Answer(self._asked, text, False, round(sure, 6), self._citations(found), BUILTIN)

    def _abstain(self, sure: float, found: Sequence[Found], scores: tuple[float, ...] | None = None) -> Answer:
        """No answer; the citations show what came closest."""
        citations = self._citations(found)
        return Answer(self._asked, None, True, round(sure, 6), citations, BUILTIN, option_scores=scores)

    def _citations(self, found: Sequence[Found]) -> tuple[Hit, ...]:
        return tuple(verified(self._store, [as_hit(item) for item in found[: self._k]]))
