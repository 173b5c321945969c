"""What a question is about, and whether it asks about a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_ORDER = re.compile(
    r"\b(?P<order>right after|just after|right before|just before|after|before)\b\s+(?P<event>.+)$", re.I
)
_START = re.compile(r"\b(?:(?:at|in) the (?:very )?(?:beginning|start)|at first)\b(?: of (?:the|this) \w+)?", re.I)
_END = re.compile(r"\b(?:(?:at|in) the (?:very )?end|at last|finally)\b(?: of (?:the|this) \w+)?", re.I)

When = Literal["start", "end", "after", "before"]


@dataclass(frozen=True, slots=True)
class Question:
    """A question taken apart.

    Attributes:
        text: the question without its words of time; what evidence is compared with.
        when: the time it asks about, where it says so in a way that is understood.
        event: what it asks to look after or before; empty for the others.
    """

    text: str
    when: When | None = None
    event: str = ""


def parse_question(text: str) -> Question:
    """Find "at the beginning", "at the end", "after …" and "before …"; everything else stays as it is."""
    plain = " ".join(text.split())
    for pattern, when in ((_START, "start"), (_END, "end")):
        if pattern.search(plain):
            return Question(pattern.sub("", plain).strip(" ,"), "start" if when == "start" else "end")
    found = _ORDER.search(plain)
    if found and plain[: found.start()].strip():
        order = found["order"].lower().split()[-1]
        event = found["event"].strip(" ?.!")
        return Question(plain[: found.start()].strip(" ,"), "after" if order == "after" else "before", event)
    return Question(plain)
