"""What a model is told that answers questions: rules, numbered evidence, the question, and the form of its reply.

Nothing of a video gets into a request but through `quoted`, which also escapes the square brackets that evidence is
numbered with. The question and the options are the user's own, but may be copied from anywhere: each is one line, with
the same escapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fdvs.chat.base import ChatRequest
from fdvs.prompts.letters import OPTION, letters
from fdvs.prompts.quoting import DATA_RULE, quoted
from fdvs.prompts.tokens import estimated_tokens
from fdvs.records import Level, Span, clock, clock_after, content_id

VERSION = 1
CITED, ANSWER, SUPPORTED = "cited", "answer", "supported"
MAX_SENTENCE_CHARS = 1000  # a longer one is cut
MAX_ALSO = 4  # other times at which a text is told again

_TASK = """You answer questions about videos for people who cannot look at them. You are given numbered pieces of \
evidence in the order of time: parts of written stories about the videos, from the summary of a whole video down to \
single clips. They are a selection; more may have happened.

Rules:
- Use the evidence alone. Add nothing from elsewhere; guess no names, numbers, places or reasons."""

SYSTEM_OPEN = f"""{_TASK}
- Answer in one or two short, complete sentences that name what the evidence shows, in the language of the question.
- "{CITED}" holds the numbers of the pieces that the answer rests on, those of the shortest times first. Never write \
these numbers into the answer.
- Where the evidence does not answer the question, "{SUPPORTED}" is false, "{ANSWER}" is empty and "{CITED}" is [].
- {DATA_RULE}

Reply with one JSON object and nothing else:
{{"{CITED}": [2, 3], "{SUPPORTED}": true, "{ANSWER}": "…"}}"""

SYSTEM_CHOICE = f"""{_TASK}
- Choose exactly one of the options: the one that the evidence speaks for most. There is always one that is better \
than the others; never reply that none is.
- "{CITED}" holds the numbers of the pieces that speak for it, those of the shortest times first.
- {DATA_RULE}

Reply with one JSON object and nothing else:
{{"{CITED}": [2, 3], "{OPTION}": "…"}}
where "{OPTION}" is the letter of the option."""

_LEVEL_NAMES = {Level.VIDEO: "whole video"}
_CITED_SCHEMA = {"type": "array", "items": {"type": "integer"}, "maxItems": 16}


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A piece of evidence as a model is given it: what a node of a story says, and where it stands.

    Attributes:
        video: which of the videos that the evidence is from, counted from 1.
        also: other times that say the same.
        title: of the node, where it says something that its sentences do not; untrusted, as they are.
    """

    video: int
    level: Level
    span: Span
    sentences: tuple[str, ...]
    title: str = ""
    also: tuple[Span, ...] = ()


def excerpt_line(number: int, excerpt: Excerpt, *, several_videos: bool) -> str:
    """`[3] video 1, chapter, 0:05–0:12, title "…": "…"`."""
    where = [f"video {excerpt.video}"] if several_videos else []
    where += [_LEVEL_NAMES.get(excerpt.level, str(excerpt.level)), times(excerpt.span)]
    if excerpt.also:
        more = " and more" if len(excerpt.also) > MAX_ALSO else ""
        where.append(f"again at {', '.join(times(span) for span in excerpt.also[:MAX_ALSO])}{more}")
    if excerpt.title:
        where.append(f"title {quoted(excerpt.title, MAX_SENTENCE_CHARS)}")
    return f"[{number}] {', '.join(where)}: {quoted(' '.join(map(cut, excerpt.sentences)))}"


def header_tokens(excerpt: Excerpt) -> int:
    """What a piece takes before any of its sentences, wherever it will stand: an estimate from above."""
    bare = Excerpt(999, excerpt.level, excerpt.span, (), excerpt.title, excerpt.also)
    return estimated_tokens(excerpt_line(9999, bare, several_videos=True)) + 1


def sentence_tokens(sentence: str) -> int:
    """What one more sentence adds to a piece: an estimate from above."""
    return estimated_tokens(quoted(cut(sentence)))


def video_tokens(name: str) -> int:
    """What the name of one more video adds: an estimate from above."""
    return estimated_tokens(_video_text(999, name)) + 1


def cut(sentence: str) -> str:
    """A sentence within the bound of one; what is cut ends in `…`."""
    return sentence if len(sentence) <= MAX_SENTENCE_CHARS else sentence[: MAX_SENTENCE_CHARS - 1].rstrip() + "…"


def times(span: Span) -> str:
    return f"{clock(span.start_ms)}–{clock_after(span.end_ms, span.start_ms)}"


def evidence_text(excerpts: Sequence[Excerpt], videos: Sequence[str]) -> str:
    """All evidence, numbered from 1; the names of the videos before it."""
    several = len(videos) > 1
    named = ", ".join(_video_text(i, name) for i, name in enumerate(videos, 1)) if several else quoted(videos[0])
    lines = [excerpt_line(i, excerpt, several_videos=several) for i, excerpt in enumerate(excerpts, 1)]
    return "\n".join([f"{'Videos' if several else 'Video'}: {named}", "", "Evidence:", *lines])


def open_request(evidence: str, question: str, max_tokens: int) -> ChatRequest:
    """A question in its own words; the evidence as `evidence_text` gives it."""
    parts = (f"{evidence}\n\nQuestion: {_plain(question)}",)
    return ChatRequest(SYSTEM_OPEN, parts, OPEN_SCHEMA, "answer", max_tokens)


def choice_request(evidence: str, question: str, options: Sequence[str], max_tokens: int) -> ChatRequest:
    """A question with options, which get letters in their order."""
    known = letters(len(options))
    lines = [f"{letter}. {_plain(option)}" for letter, option in zip(known, options, strict=True)]
    text = "\n".join([evidence, "", f"Question: {_plain(question)}", "", "Options:", *lines])
    return ChatRequest(SYSTEM_CHOICE, (text,), choice_schema(known), "choice", max_tokens)


OPEN_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {CITED: _CITED_SCHEMA, SUPPORTED: {"type": "boolean"}, ANSWER: {"type": "string"}},
    "required": [CITED, SUPPORTED, ANSWER],
    "additionalProperties": False,
}
"""What an answer rests on comes before the answer, so that a model looks before it speaks."""


def choice_schema(known: Sequence[str]) -> Mapping[str, Any]:
    """The reply to a question with these letters."""
    return {
        "type": "object",
        "properties": {CITED: _CITED_SCHEMA, OPTION: {"type": "string", "enum": list(known)}},
        "required": [CITED, OPTION],
        "additionalProperties": False,
    }


@cache
def fingerprint() -> str:
    """Changes with everything a model is told here, and with nothing else: of version, rules and sample requests."""
    excerpts = [
        Excerpt(1, Level.VIDEO, Span(0, 9000), ("a <b>",), "c"),
        Excerpt(2, Level.CLIP, Span(0, 900), ("d", "e"), also=(Span(1000, 2000),) * (MAX_ALSO + 1)),
    ]
    evidence = [evidence_text(excerpts[:1], ["f"]), evidence_text(excerpts, ["f", "g"])]
    requests = [open_request(evidence[0], "h?", 1), choice_request(evidence[1], "i?", ["j", "k"], 1)]
    return content_id("reader", VERSION, [[r.system, *r.parts, r.schema] for r in requests])


def _video_text(number: int, name: str) -> str:
    return f"{number} = {quoted(name)}"


def _plain(text: str) -> str:
    """The user's own words on one line: quoted as data are, but without the quotes, which would make data of them."""
    return quoted(text)[1:-1].replace('\\"', '"').replace("\\\\", "\\")
