"""A writing model's reply, read with mistrust: what of it is kept, what is mended, what is dropped and counted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fdvs.prompts.parsing import parse_object
from fdvs.prompts.writer import NAME_CHARS, WHAT_CHARS, KnownName
from fdvs.stories.words import ENDS, content_words, safe_text, same_text_key, split_sentences, words

TITLE_CHARS = 80
SENTENCE_CHARS = 500
"""A longer sentence is a model that does not find its end."""

_MAX_NAMES = 12
_SPECIAL = re.compile(r"<\|[^<>|]{0,40}\|>|</?(?:s|br|b|i|em|strong|p|think)\s*/?>")
_LEAD = re.compile(r"^(?:(?:#{1,6}|>|[-*+•]|\d{1,2}[.)])\s+)+")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")
_BOLD = re.compile(r"\*{2,}|`+")
_EMPHASIS = re.compile(r"(?<![\w*])\*(\S(?:[^*]*\S)?)\*(?![\w*])")
_NUMBERS = r"\d{1,4}(?:\s*(?:,|;|-|–|and)\s*\d{1,4})*"
_MARKER = re.compile(
    rf"\s*\[\s*(?:(?:sources?|lines?)\s*:?\s*)?{_NUMBERS}\s*\]|\s*[\[(](?:sources?|lines?)\s*:?\s*{_NUMBERS}\s*[\])]",
    re.IGNORECASE,
)
_ID = re.compile(r"\s*[\[(]?\b[a-z_]{2,12}-[0-9a-f]{16}\b[\])]?")
_REFUSAL = re.compile(
    r"(?:(?:i['’]m|i am) sorry|sorry,|as an ai\b|i (?:cannot|can['’]t|can not|won['’]t|am (?:not able|unable))\b)",
    re.IGNORECASE,
)
_QUOTES = "\"'“”„«»‚‘’"


@dataclass(frozen=True, slots=True)
class ReadSentence:
    """A sentence and the positions (from 0) of the lines it was made from."""

    text: str
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReadReply:
    """What is kept of a reply; at least one sentence, or else it says nothing.

    Attributes:
        invented_sources: numbers without a line, and what is no number.
        dropped_sentences: sentences without a source, without words, too long, said before, or beyond what was asked.
        cleaned_sentences: kept ones from which mark-up, numbers or ids were taken.
        dropped_names: names that stand in nothing the model was given.
    """

    title: str
    sentences: tuple[ReadSentence, ...]
    names: tuple[KnownName, ...]
    invented_sources: int = 0
    dropped_sentences: int = 0
    cleaned_sentences: int = 0
    dropped_names: int = 0


def clean(text: str) -> str:
    """Model text as one plain line: no control characters, mark-up, template marks, line numbers or ids."""
    text = _SPECIAL.sub(" ", safe_text(_SPECIAL.sub(" ", text)))
    text = _LINK.sub(r"\1", _LEAD.sub("", safe_text(text)))
    text = _ID.sub("", _MARKER.sub("", text))
    text = _EMPHASIS.sub(r"\1", _BOLD.sub("", text))
    return re.sub(r"\s+([.,;:!?])", r"\1", safe_text(text))


def clean_title(text: str) -> str:
    """A title of at most `TITLE_CHARS`, without quotes around it and without a full stop."""
    title = clean(text).strip(_QUOTES + " ").rstrip(".。 ")
    if len(title) <= TITLE_CHARS:
        return title
    cut = title[: TITLE_CHARS - 1]
    head = cut.rpartition(" ")[0] if " " in cut[TITLE_CHARS // 2 :] else cut
    return head.rstrip(" ,;:–-") + "…"


def read_reply(
    text: str, given: Sequence[str], max_sentences: int, known: Sequence[KnownName] = ()
) -> ReadReply | None:
    """The reply to a request for a node; None where it cannot be parsed.

    Args:
        given: the texts of the lines, in the order of their numbers.
        max_sentences: how many sentences were asked for; up to twice as many are kept.
        known: names the model was told.
    """
    data = parse_object(text, ("sentences",))
    if data is None or not isinstance(data["sentences"], list):
        return None
    kept: list[ReadSentence] = []
    seen: set[str] = set()
    invented = dropped = cleaned = 0
    for entry in data["sentences"]:
        raw, numbers = _sentence_parts(entry)
        lines, unknown = _line_positions(numbers, len(given))
        invented += unknown
        told = clean(raw)
        for sentence in split_sentences(told) or [""]:
            key = same_text_key(sentence)
            if not lines or not is_sound(sentence) or key in seen or len(kept) >= 2 * max_sentences:
                dropped += 1
                continue
            seen.add(key)
            cleaned += told != safe_text(raw)
            kept.append(ReadSentence(ended(sentence), lines))
    title = data.get("title")
    names, unheard = _names(data.get("names"), [*given, *(one.name for one in known)])
    return ReadReply(
        title=(clean_title(title) if isinstance(title, str) else "") or _title_from(kept),
        sentences=tuple(kept),
        names=names,
        invented_sources=invented,
        dropped_sentences=dropped,
        cleaned_sentences=cleaned,
        dropped_names=unheard,
    )


def read_paragraph(text: str, max_sentences: int, *, is_cut_off: bool) -> ReadReply:
    """A reply in plain text, all of it about one source (position 0).

    Where it was cut off at its length, the sentence it ends in is dropped, unless it is the only one.
    """
    told = split_sentences(clean(text))
    dropped = 0
    if is_cut_off and told and told[-1][-1:] not in ENDS:
        if len(told) > 1:
            told, dropped = told[:-1], 1
        else:
            told = [told[0].rstrip(" ,;:") + "…"]
    sound = list({same_text_key(one): one for one in reversed(told) if is_sound(one)}.values())[::-1][:max_sentences]
    sentences = tuple(ReadSentence(ended(one), (0,)) for one in sound)
    return ReadReply(
        title=_title_from(sentences),
        sentences=sentences,
        names=(),
        dropped_sentences=dropped + len(told) - len(sound),
        cleaned_sentences=int(bool(sound) and clean(text) != safe_text(text)),
    )


def refuses(text: str) -> bool:
    """Whether a reply in plain text begins as models do that refuse in words: speaking of themselves, which nobody does
    who says what happens in a clip."""
    return _REFUSAL.match(clean(text)) is not None


def is_sound(sentence: str) -> bool:
    """Whether it has words, an end, and is not the same few words over and over."""
    found = words(sentence)
    is_stuck = len(found) >= 12 and len(set(found)) * 3 < len(found)
    return bool(found) and len(sentence) <= SENTENCE_CHARS and not is_stuck


def ended(sentence: str) -> str:
    """The sentence with a full stop where it ends in a word."""
    return sentence + "." if sentence[-1:].isalnum() or sentence[-1:] in "%)" else sentence


def _sentence_parts(entry: Any) -> tuple[str, list[Any]]:
    if not isinstance(entry, dict):
        return "", []
    text, sources = entry.get("text"), entry.get("sources")
    return (text if isinstance(text, str) else ""), (sources if isinstance(sources, list) else [])


def _line_positions(numbers: Sequence[Any], count: int) -> tuple[tuple[int, ...], int]:
    """(positions of the lines that exist, ascending; how many of the numbers name none).

    A number may come as text, with or without its brackets.
    """
    found: set[int] = set()
    unknown = 0
    for number in numbers:
        digits = number.strip("[] ") if isinstance(number, str) else number
        if isinstance(digits, str) and digits.isascii() and digits.isdigit() and len(digits) < 9:
            digits = int(digits)
        if isinstance(digits, int) and not isinstance(digits, bool) and 1 <= digits <= count:
            found.add(digits - 1)
        else:
            unknown += 1
    return tuple(sorted(found)), unknown


def _names(entries: Any, given: Sequence[str]) -> tuple[tuple[KnownName, ...], int]:
    """Names of which a word stands in what the model was given, and how many others there were."""
    heard = {word for text in given for word in words(text)}
    kept: list[KnownName] = []
    dropped = 0
    for entry in entries if isinstance(entries, list) else []:
        name = entry.get("name") if isinstance(entry, dict) else None
        what = entry.get("what") if isinstance(entry, dict) else None
        plain = clean(name)[:NAME_CHARS].strip(_QUOTES + " ") if isinstance(name, str) else ""
        if not any(word in heard for word in content_words(plain)) or len(kept) >= _MAX_NAMES:
            dropped += 1
        else:
            kept.append(KnownName(plain, clean(what)[:WHAT_CHARS] if isinstance(what, str) else ""))
    return tuple(kept), dropped


def _title_from(sentences: Sequence[ReadSentence]) -> str:
    return clean_title(sentences[0].text) if sentences else ""
