"""What a model is told that writes a story: rules, numbered lines, and the form of its reply.

A request holds no text of a video but through `quoted`. Lines carry numbers of their own, from 1; what these stand for
is the caller's to know, so a reply can only name what it was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from fdvs.chat.base import ChatRequest
from fdvs.prompts.quoting import DATA_RULE, quoted
from fdvs.records import Span, clock, clock_after, content_id

VERSION = 1
TITLE_WORDS = 8
NAME_CHARS, WHAT_CHARS = 60, 120

SYSTEM = f"""You write summaries of a video for people who read, search and question it. You are given numbered lines \
about one stretch of the video, in the order of time: what is seen, what is said, what stands on the screen, or what \
was already told of a part of it.

Rules:
- Tell only what the lines say. Add nothing from elsewhere, guess no names, places, reasons or feelings.
- A line marked "measured" tells of colours and motion only. Never guess from it what or who is in the picture.
- What is said is somebody's words, not a fact: say that it is said.
- Plain, short, complete sentences in the present tense, in the order of time. No lists, no headings, no mark-up.
- Write in the language of most of the lines. Keep names and quoted words as they are.
- Give with every sentence the numbers of all lines that it rests on. Never write these numbers, or ids, into its text.
- Where known names are given, use them wherever the same people or things are meant.
- {DATA_RULE}

Reply with one JSON object and nothing else:
{{"title": "…", "sentences": [{{"text": "…", "sources": [1, 2]}}], "names": [{{"name": "…", "what": "…"}}]}}
"names" are people and things that the lines name or that come up again, as the lines name them, each with what it is \
in a few words; leave the list empty where there are none."""

SYSTEM_CHAPTER = f"""A user gives you what was recognised in one short clip of a video, as names and values; you say \
in one short paragraph what happens in the clip.

Rules:
- Tell only what the values say, together as one event. They come from programs that look at single frames and can be \
wrong: what most of them agree on counts more than what one of them says.
- A value marked "measured" tells of colours and motion only. Never guess from it what or who is in the picture.
- Plain, complete sentences in the present tense. No lists, no headings, no mark-up, no mention of frames or programs.
- {DATA_RULE}"""

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "sentences": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "text": {"type": "string"},
                    "sources": {"type": "array", "items": {"type": "integer"}},
                },
                "required": ["text", "sources"],
                "additionalProperties": False,
            },
        },
        "names": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "what": {"type": "string"}},
                "required": ["name", "what"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["title", "sentences", "names"],
    "additionalProperties": False,
}

REMINDER = (
    "Your last reply could not be read. Reply with the JSON object alone, as described, and give with every sentence "
    "the numbers of the lines it rests on."
)
REMINDER_SHORTER = "Your last reply was too long and was cut off. Reply with fewer and shorter sentences."
REMINDER_PLAIN = "Your last reply held no sentence. Reply with one or two sentences of plain text."


@dataclass(frozen=True, slots=True)
class NumberedLine:
    """One line a model is given.

    Attributes:
        span: the time it speaks of.
        label: where it comes from, in a word or two: `seen`, `said`, `on screen`, `told`.
        text: words of the video or of a model; untrusted.
        phrase: in which quarter of the video it begins, where that is told.
    """

    span: Span
    label: str
    text: str
    phrase: str = ""


@dataclass(frozen=True, slots=True)
class KnownName:
    """Somebody or something that comes up in the story, and what it is; both a model's words, untrusted."""

    name: str
    what: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a model is to tell of.

    Attributes:
        what: `scene`, `chapter`, `part`, or `video` for all of it.
        number, of: its place among its like, from 1.
        span: its time in a video of `duration_ms`.
        max_sentences: how many sentences it gets.
        in_order: whether words of time are to lead from sentence to sentence.
        section, of_sections: where its lines are too many for one request: which of them these are; 0: all of them.
    """

    what: str
    number: int
    of: int
    span: Span
    duration_ms: int
    max_sentences: int
    in_order: bool = False
    section: int = 0
    of_sections: int = 0


def line_text(number: int, line: NumberedLine) -> str:
    """`[3] Early on, 0:05–0:12 said: "…"`."""
    phrase = f"{line.phrase}, " if line.phrase else ""
    return f"[{number}] {phrase}{_range(line.span)} {line.label}: {quoted(line.text)}"


def name_text(known: KnownName) -> str:
    what = f", which is {quoted(known.what, WHAT_CHARS)}" if known.what else ""
    return f"- name {quoted(known.name, NAME_CHARS)}{what}"


def story_request(
    stretch: Stretch,
    lines: Sequence[NumberedLine],
    known: Sequence[KnownName],
    *,
    max_tokens: int,
    reminder: str = "",
) -> ChatRequest:
    """The request for title and sentences of one node, or of a section of its lines."""
    text = "\n".join(
        [
            head_text(stretch),
            *(["", "Known names:", *map(name_text, known)] if known else []),
            "",
            "Lines:",
            *(line_text(number, line) for number, line in enumerate(lines, 1)),
            "",
            task_text(stretch),
        ]
    )
    return ChatRequest(
        SYSTEM, (f"{text}\n\n{reminder}" if reminder else text,), SCHEMA, "story_node", max_tokens=max_tokens
    )


def head_text(stretch: Stretch) -> str:
    """What the stretch is and where in the video it stands."""
    lasts = clock(stretch.duration_ms)
    if stretch.what == "video":
        head = f"A whole video that lasts {lasts}."
    else:
        named = f"{stretch.what.capitalize()} {stretch.number} of {stretch.of}"
        head = f"{named}: {_range(stretch.span)} of a video that lasts {lasts}."
    if stretch.of_sections:
        head += f" These are the lines of section {stretch.section} of {stretch.of_sections} of it."
    return head


def task_text(stretch: Stretch) -> str:
    """What is wanted of it."""
    count = stretch.max_sentences
    sentences = "one sentence that tells" if count == 1 else f"at most {count} sentences that tell"
    whole = "this section" if stretch.of_sections else f"the {stretch.what}"
    task = f"Write a title of at most {TITLE_WORDS} words, and {sentences} what matters most in {whole}."
    if stretch.in_order:
        task += " Lead through it in the order of time with words such as first, then, after that, finally."
    return task


def chapter_request(facts: Sequence[NumberedLine], *, max_tokens: int, reminder: str = "") -> ChatRequest:
    """The paper's first hop: one clip's perception as names and values with their times, to be told in a paragraph.

    The reply is plain text: a clip has one source, itself.
    """
    rows = [f"{_frame_time(fact.span)} {fact.label}: {quoted(fact.text)}" for fact in facts]
    text = "\n".join(["Clip:", *rows, "", "Say what happens in this clip."])
    return ChatRequest(
        SYSTEM_CHAPTER, (f"{text}\n\n{reminder}" if reminder else text,), schema_name="chapter", max_tokens=max_tokens
    )


def _range(span: Span) -> str:
    return f"{clock(span.start_ms)}–{clock_after(span.end_ms, span.start_ms)}"


def _frame_time(span: Span) -> str:
    return f"at {span.start_s:.2f} s"


@cache
def fingerprint() -> str:
    """Changes with everything a model is told here, and with nothing else: of version, rules and sample requests."""
    line = NumberedLine(Span(0, 1000), "seen", "a <b>", "Early on")
    known = [KnownName("a", "b")]
    stretches = [
        Stretch("scene", 1, 2, Span(0, 1000), 2000, 1),
        Stretch("video", 1, 1, Span(0, 2000), 2000, 3, in_order=True, section=1, of_sections=2),
    ]
    requests = [story_request(stretch, [line], known, max_tokens=1) for stretch in stretches]
    requests.append(chapter_request([line], max_tokens=1))
    told = [[request.system, *request.parts, request.schema] for request in requests]
    return content_id("writer", VERSION, told, REMINDER, REMINDER_SHORTER, REMINDER_PLAIN)
