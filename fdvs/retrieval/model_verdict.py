"""What a model's reply to a question is worth: read strictly, and held against the evidence it was given.

A number that no piece of evidence has is dropped. An answer that cites nothing is none, and neither is one whose
numbers and names, or whose words, stand nowhere in what it cites (`grounding.py`).

Confidence, open questions: 0.5 + 0.45 · support, support as in `grounding.py`; 0 where there is no answer.
Confidence, n options: 1/n + (1 - 1/n) · q, with q = 0.5 + 0.4 · support of the option by what is cited for it, and 0.4
where nothing is cited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fdvs.chat.base import ChatReply, Finish
from fdvs.prompts.letters import OPTION, parse_letter, without_thought
from fdvs.prompts.parsing import parse_object
from fdvs.prompts.reader import ANSWER, CITED, SUPPORTED, times
from fdvs.records import Span
from fdvs.retrieval.grounding import Grounding, ground
from fdvs.retrieval.model_evidence import Piece
from fdvs.stories.words import one_line

_ANSWERED, _BY_SUPPORT = 0.5, 0.45
_BARE_LETTER, _CITED_LETTER, _LETTER_BY_SUPPORT = 0.4, 0.5, 0.4
_MOST_NAMED = 5  # claims that a note names

Telling = Callable[[str], Sequence[str]]


class Ending(StrEnum):
    """How reading a question ended; all but `ANSWERED` abstain."""

    ANSWERED = "answered"
    NO_EVIDENCE = "no evidence"
    UNSUPPORTED = "not supported"
    UNCITED = "no valid citation"
    UNGROUNDED = "not in what it cites"
    UNPARSABLE = "unparsable reply"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a question.

    Attributes:
        reason: why there is no answer, or what to know of the one there is; for people.
        text: the answer; None where there is none.
        cited: the pieces it rests on, as the model orders them.
        num_dropped: numbers the model gave that no piece of evidence has.
    """

    ending: Ending
    reason: str = ""
    text: str | None = None
    cited: tuple[Piece, ...] = ()
    num_dropped: int = 0
    confidence: float = 0.0
    option_index: int | None = None


def judge_answer(reply: ChatReply, question: str, pieces: Sequence[Piece], telling: Telling) -> Verdict:
    """The verdict on a reply to `open_request`.

    Args:
        pieces: the evidence, in the order of its numbers.
        telling: a text → the stems of its telling words.
    """
    if (ended := _not_a_reply(reply)) is not None:
        return ended
    data = parse_object(without_thought(reply.text), (CITED, SUPPORTED, ANSWER))
    if data is None or not _fits(data):
        return Verdict(Ending.UNPARSABLE, _unparsable(reply, "is not the JSON object that was asked for"))
    cited, num_dropped = _cited(data[CITED], pieces)
    text = one_line(data[ANSWER].encode("utf-8", "replace").decode())
    if not data[SUPPORTED] or not text:
        return Verdict(Ending.UNSUPPORTED, "the model finds no answer in the evidence", None, cited, num_dropped)
    if not cited:
        return Verdict(
            Ending.UNCITED, "the model's answer cites no piece of evidence that exists", None, (), num_dropped
        )
    grounding = ground(text, [_as_told(piece) for piece in cited], question, telling)
    if grounding.support == 0:
        reason = f"the model's answer does not stand in what it cites{_missing(grounding)}"
        return Verdict(Ending.UNGROUNDED, reason, None, cited, num_dropped)
    reason = f"what it cites does not have all of the answer{_missing(grounding)}" if grounding.missing else ""
    sure = _ANSWERED + _BY_SUPPORT * grounding.support
    return Verdict(Ending.ANSWERED, reason, text, cited, num_dropped, round(sure, 6))


def judge_choice(
    reply: ChatReply, question: str, options: Sequence[str], pieces: Sequence[Piece], telling: Telling
) -> Verdict:
    """The verdict on a reply to `choice_request`; what `judge_answer` takes, and the options."""
    if (ended := _not_a_reply(reply)) is not None:
        return ended
    index = parse_letter(reply.text, len(options))
    if index is None:
        return Verdict(Ending.UNPARSABLE, _unparsable(reply, "does not clearly name one option"))
    data = parse_object(without_thought(reply.text), (OPTION,)) or {}
    given = data.get(CITED)
    cited, num_dropped = _cited(given if isinstance(given, list) else [], pieces)
    sure, reason = _BARE_LETTER, "the model cites nothing for its choice; shown is what search finds for it"
    if cited:
        support = ground(options[index], [_as_told(piece) for piece in cited], question, telling).support
        sure, reason = _CITED_LETTER + _LETTER_BY_SUPPORT * support, ""
    chance = 1 / len(options)
    confidence = round(chance + (1 - chance) * sure, 6)
    return Verdict(Ending.ANSWERED, reason, options[index], cited, num_dropped, confidence, index)


def option_scores(verdict: Verdict, num_options: int) -> tuple[float, ...]:
    """How likely each option is, in their order, sum 1: the chosen one as its confidence says, the others equally; all
    equally where none was chosen, because nothing tells them apart."""
    if verdict.option_index is None:
        return (1 / num_options,) * num_options
    rest = (1 - verdict.confidence) / (num_options - 1)
    return tuple(verdict.confidence if i == verdict.option_index else rest for i in range(num_options))


def _not_a_reply(reply: ChatReply) -> Verdict | None:
    if reply.finish is Finish.REFUSED:
        return Verdict(Ending.REFUSED, f"the model refused to answer: {reply.reason or 'it did not say why'}")
    if reply.finish is Finish.FAILED:
        return Verdict(Ending.FAILED, f"the model could not be asked: {reply.reason or 'it is not known why'}")
    return None


def _unparsable(reply: ChatReply, what: str) -> str:
    cut = "; it was cut at answers.max_tokens" if reply.finish is Finish.LENGTH else ""
    return f"unparsable: the model's reply {what}{cut}"


def _fits(data: dict[str, Any]) -> bool:
    """Whether the values have the types that the schema says."""
    return isinstance(data[CITED], list) and isinstance(data[SUPPORTED], bool) and isinstance(data[ANSWER], str)


def _cited(numbers: Sequence[Any], pieces: Sequence[Piece]) -> tuple[tuple[Piece, ...], int]:
    """The pieces with these numbers, each once, and how many of what was given is no number of a piece."""
    valid = [number for number in numbers if type(number) is int and 1 <= number <= len(pieces)]
    return tuple(pieces[number - 1] for number in dict.fromkeys(valid)), len(numbers) - len(valid)


def _as_told(piece: Piece) -> str:
    """All that the model could read of a piece, with its times in every way an answer may tell them."""
    row = piece.row
    spans = [other.span for other in piece.found.same] or [row.span]
    return " ".join([row.video, piece.title, *map(_times, spans), *piece.sentences])


def _times(span: Span) -> str:
    """`1:06–1:10`, and both ends and the length as seconds, and as minutes and seconds."""
    seconds = [span.start_ms // 1000, span.end_ms // 1000, round(span.duration_ms / 1000)]
    parts = [str(part) for whole in seconds for part in (whole, whole // 60, whole % 60)]
    return f"{times(span)} {' '.join(parts)}"


def _missing(grounding: Grounding) -> str:
    return f" (not there: {', '.join(grounding.missing[:_MOST_NAMED])})" if grounding.missing else ""
