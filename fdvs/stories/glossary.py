"""Names of people and things that a story has used so far, so that the levels above call them the same.

Names come from the model's replies, are added level by level in the order of time, and are told from the level above
on: nodes of one level are written at once and know nothing of each other, so the order of replies plays no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fdvs.prompts.tokens import estimated_tokens
from fdvs.prompts.writer import KnownName, name_text
from fdvs.records import Span
from fdvs.stories.words import words

MAX_NAMES = 400
"""Names that are remembered of one video."""

MAX_TOLD = 16
"""Names that one request is told at most."""

_ARTICLE_WORDS = "a an the der die das den dem des ein eine einen einem einer le la les l un une el los las"
_ARTICLES = frozenset(_ARTICLE_WORDS.split())


def name_key(name: str) -> str:
    """Equal for names that differ only in case, punctuation and a leading article."""
    parts = list(words(name))
    while len(parts) > 1 and parts[0] in _ARTICLES:
        parts = parts[1:]
    return " ".join(parts)


@dataclass(slots=True)
class _Entry:
    known: KnownName
    first_ms: int
    spans: list[Span] = field(default_factory=list)


class Glossary:
    """Names by key; the first form of a name and the first words on what it is stay."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def add(self, span: Span, names: Sequence[KnownName]) -> None:
        """Names that a node over `span` used. To be called in the order of time within a level."""
        for key, known in {name_key(one.name): one for one in reversed(names)}.items():
            if key:
                entry = self._entries.setdefault(key, _Entry(known, span.start_ms))
                entry.spans.append(span)
        if len(self._entries) > MAX_NAMES:
            self._forget()

    def _forget(self) -> None:
        ranked = sorted(self._entries.items(), key=lambda item: (-len(item[1].spans), item[1].first_ms, item[0]))
        self._entries = dict(ranked[:MAX_NAMES])

    def told(self, span: Span, max_tokens: int) -> list[KnownName]:
        """What a node over `span` is told: names used within it first, then the others, the most used first, as many
        as go into `max_tokens`."""

        def rank(item: tuple[str, _Entry]) -> tuple[int, int, int, str]:
            key, entry = item
            inside = sum(span.start_ms <= one.start_ms and one.end_ms <= span.end_ms for one in entry.spans)
            return -inside, -len(entry.spans), entry.first_ms, key

        told: list[KnownName] = []
        left = max_tokens
        for _, entry in sorted(self._entries.items(), key=rank)[:MAX_TOLD]:
            left -= estimated_tokens(name_text(entry.known)) + 1
            if left < 0:
                break
            told.append(entry.known)
        return told
