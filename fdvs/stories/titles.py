"""Titles: a short phrase that stands in the node's own text, word for word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from fdvs.records import CaptionKind
from fdvs.stories.choose import weigh
from fdvs.stories.lines import Line, quote
from fdvs.stories.words import STOP_WORDS, Rarity, clock, same_text_key, words

_TITLE_CHARS = 60
_CLAUSE_BORDER = re.compile(r"[,;:]\s+|\s+[–—|-]\s+|\s*[()]\s*|[.!?…]+\s+")


def title_of(lines: Sequence[Line], rarity: Rarity, fallback: Iterable[str], used: set[str], start_ms: int) -> str:
    """The best title not in `used` (to which it is added).

    In this order: on-screen text, what a model or a person saw, a quoted phrase of speech, the `fallback` phrases (the
    rarest measured facts first), the built-in captioner's own sentences. When all are taken, the best one again with
    its time.
    """
    ranked = sorted(weigh(lines, rarity), key=lambda item: (_rank(item.line), -item.worth, item.line.start_ms))
    spoken_or_seen = [_phrase(item.line, rarity) for item in ranked if _rank(item.line) < 3]
    measured = [_phrase(item.line, rarity) for item in ranked if _rank(item.line) == 3]
    candidates = [text for text in [*spoken_or_seen, *fallback, *measured] if text]
    for text in candidates:
        if same_text_key(text) not in used:
            used.add(same_text_key(text))
            return text
    return f"{candidates[0]} ({clock(start_ms)})" if candidates else ""


def _rank(line: Line) -> int:
    if line.kind is CaptionKind.SCREEN_TEXT:
        return 0
    if line.kind is CaptionKind.SPEECH:
        return 2
    return 3 if line.backend == "builtin" else 1


def _phrase(line: Line, rarity: Rarity) -> str:
    text = line.plain.rstrip(".,;: ")
    if line.kind is CaptionKind.SPEECH:
        return quote(shorten(line.plain, rarity, mark=""))
    return shorten(text, rarity)


def shorten(text: str, rarity: Rarity, mark: str = "…") -> str:
    """At most `_TITLE_CHARS` of the text: all of it, else its most telling clause of three words or more, else its
    beginning with `mark` after it."""
    if len(text) <= _TITLE_CHARS:
        return text
    clauses = [part.strip(" .,;:\"'“”") for part in _CLAUSE_BORDER.split(text)]
    fitting = [part for part in clauses if len(part) <= _TITLE_CHARS and len(words(part)) >= 3]
    if fitting:
        return max(fitting, key=lambda part: round(sum(rarity(w) for w in set(words(part)) - STOP_WORDS), 3))
    kept = text[: _TITLE_CHARS - 1].rsplit(" ", 1)[0].split(" ")
    while len(kept) > 3 and same_text_key(kept[-1]) in STOP_WORDS:
        kept.pop()
    return " ".join(kept).rstrip(" .,;:") + mark


def rare_phrases(phrases: Sequence[str], in_video: Counter[str], num_clips: int) -> list[str]:
    """Distinct phrases of a node's clips, those that mark it out in the video first (share here less share there)."""
    here = Counter(phrase for phrase in phrases if phrase)
    total = max(1, len(phrases))

    def lift(phrase: str) -> float:
        return round(here[phrase] / total - in_video[phrase] / max(1, num_clips), 3)

    return sorted(here, key=lambda phrase: (-lift(phrase), -here[phrase], phrase))
