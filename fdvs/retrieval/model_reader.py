"""The reader with a language model: evidence from all levels, one request, and a reply that is checked.

`model_evidence.py` chooses what the model is given, `model_verdict.py` decides what its reply is worth. What an answer
cites is checked against the library again. Why there is no answer, what was dropped and what did not fit is said in the
answer's `note`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Self

from fdvs.chat.base import NO_USAGE, ChatModel, ChatReply, ChatRequest, Usage
from fdvs.errors import UsageError
from fdvs.prompts.letters import MAX_OPTIONS
from fdvs.prompts.reader import choice_request, open_request
from fdvs.prompts.tokens import estimated_message_tokens
from fdvs.records import Answer, Hit
from fdvs.retrieval.model_evidence import Asked, Evidence, gather
from fdvs.retrieval.model_verdict import Ending, Verdict, judge_answer, judge_choice, option_scores
from fdvs.retrieval.pool import Pool, Query
from fdvs.retrieval.search import Found, Scope, as_hit, find, verified
from fdvs.settings import AnswerSettings


@dataclass(slots=True)
class Tally:
    """What came of all questions that a reader was asked.

    Attributes:
        endings: how many ended how.
        dropped_citations: numbers that models gave and no piece of evidence has.
        usage: what the requests took.
    """

    endings: Counter[Ending] = field(default_factory=Counter)
    dropped_citations: int = 0
    usage: Usage = NO_USAGE


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A question whose reply is on its way; `reply` is None where there is nothing to ask about."""

    asked: Asked
    evidence: Evidence
    tokens: int
    reply: Future[ChatReply] | None


class ModelReader:
    """Answers questions with a chat model; close it, or use it as a context manager.

    Attributes:
        name: the back end and the model, as answers name their reader: `openai:NAME`.
        tally: what came of its questions so far.
    """

    def __init__(self, chat: ChatModel, settings: AnswerSettings) -> None:
        self.name = f"{chat.name}:{chat.model}"
        self.tally = Tally()
        self._chat = chat
        self._settings = settings

    def close(self) -> None:
        self._chat.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def read(self, asked: Asked, k: int) -> Answer:
        """Answer a question, or choose one of its options, with at most k citations.

        Without a single piece of evidence the model is not asked.

        Raises:
            UsageError: there are more than 26 options.
        """
        return next(self.read_all([asked], k))

    def read_all(self, questions: Iterable[Asked], k: int) -> Iterator[Answer]:
        """The answers to many questions, in their order, with as many of them at the model as it works on at once.
        Raises what `read` raises."""
        waiting: deque[_Waiting] = deque()
        for asked in questions:
            waiting.append(self._begin(asked))
            if len(waiting) > 2 * self._chat.in_flight:
                yield self._end(waiting.popleft(), k)
        while waiting:
            yield self._end(waiting.popleft(), k)

    def _begin(self, asked: Asked) -> _Waiting:
        if len(asked.options) > MAX_OPTIONS:
            raise UsageError(f"a reader with a model takes at most {MAX_OPTIONS} options, got {len(asked.options)}")
        tokens = self._evidence_tokens(asked)
        evidence = gather(asked, tokens)
        request = self._request(asked, evidence.text) if evidence.pieces else None
        return _Waiting(asked, evidence, tokens, None if request is None else self._chat.submit(request))

    def _end(self, waiting: _Waiting, k: int) -> Answer:
        asked, evidence = waiting.asked, waiting.evidence
        verdict = self._verdict(waiting)
        citations = _citations(asked, evidence, verdict, k)
        if verdict.text is not None and not citations:  # the library changed while the model read
            verdict = Verdict(Ending.UNCITED, "what the model cites is no longer in the library")
        self.tally.endings[verdict.ending] += 1
        self.tally.dropped_citations += verdict.num_dropped
        return Answer(
            question=asked.question,
            text=verdict.text,
            abstained=verdict.text is None,
            confidence=verdict.confidence,
            citations=citations,
            reader=self.name,
            option_index=verdict.option_index,
            option_scores=option_scores(verdict, len(asked.options)) if asked.options else None,
            note=_note(evidence, verdict, waiting.tokens),
        )

    def _verdict(self, waiting: _Waiting) -> Verdict:
        asked, pieces = waiting.asked, waiting.evidence.pieces
        if waiting.reply is None:
            return _nothing(waiting.evidence, waiting.tokens)
        reply = waiting.reply.result()
        self.tally.usage += reply.usage
        pool = Pool.of(asked.store, asked.encoder)

        def telling(text: str) -> Sequence[str]:
            return pool.telling(text, query=True)

        if asked.options:
            return judge_choice(reply, asked.question, asked.options, pieces, telling)
        return judge_answer(reply, asked.question, pieces, telling)

    def _request(self, asked: Asked, evidence: str) -> ChatRequest:
        if asked.options:
            return choice_request(evidence, asked.question, asked.options, self._settings.max_tokens)
        return open_request(evidence, asked.question, self._settings.max_tokens)

    def _evidence_tokens(self, asked: Asked) -> int:
        """What the settings allow, within what the model's context has room for beside rules, question and reply."""
        wanted = self._settings.evidence_tokens
        if not self._chat.context_tokens:
            return wanted
        bare = self._request(asked, "")
        taken = estimated_message_tokens(bare.system, *(part for part in bare.parts if isinstance(part, str)))
        return max(0, min(wanted, self._chat.context_tokens - self._settings.max_tokens - taken))


def _nothing(evidence: Evidence, tokens: int) -> Verdict:
    if evidence.num_found:
        return Verdict(Ending.NO_EVIDENCE, f"no piece of evidence fits into {tokens} tokens")
    return Verdict(Ending.NO_EVIDENCE, "there is no text to read")


def _citations(asked: Asked, evidence: Evidence, verdict: Verdict, k: int) -> tuple[Hit, ...]:
    """What the answer rests on; for a choice without citations what search finds for it, and where nothing was answered
    what comes nearest to the question."""
    found: Sequence[Found] = [piece.found for piece in verdict.cited] if verdict.text is not None else evidence.nearest
    if verdict.option_index is not None and not found:
        query = Query(asked.store, asked.encoder, f"{asked.question} {asked.options[verdict.option_index]}")
        found = find(query, Scope(k, video_id=asked.video_id))
    return tuple(verified(asked.store, [as_hit(item) for item in found])[:k])


def _note(evidence: Evidence, verdict: Verdict, tokens: int) -> str:
    """All there is to know beside the answer."""
    parts = [verdict.reason]
    if verdict.num_dropped:
        parts.append(f"dropped citations that do not exist: {verdict.num_dropped}")
    if evidence.num_left_out:
        parts.append(
            f"{evidence.num_left_out} of {evidence.num_found} sentences that were found did not fit into {tokens} "
            "tokens of evidence (answers.evidence_tokens)"
        )
    if evidence.num_cut:
        parts.append(f"{evidence.num_cut} long sentences of the evidence were cut")
    return "; ".join(part for part in parts if part)
