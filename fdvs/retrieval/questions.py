"""What a question is about: its telling words, and whether it asks about a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from fdvs.store.postings import Stemmer

# Words that ask, refer or join, and words that are true of any video: they tell nothing about what is asked.
_EMPTY_WORDS = """
a an and any anyone are as at be been being but by can could did do does doing done for from had has have he her here
him his how i if in into is it its many may me might much must my of on or our please shall she should so some someone
something tell than that the their them then there these they this those to us was we were what whatever when where
which while who whom whose why will with would you your
happen happens happened happening going place scene clip video film movie footage show shown shows showing see seen
about describe explain summarise summarize story content people person
"""

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


@cache
def empty_stems() -> frozenset[str]:
    """The stems of words that tell nothing."""
    return frozenset(stem for stems in Stemmer()([_EMPTY_WORDS]) for stem in stems)


def telling(stems: Sequence[str]) -> list[str]:
    """The stems that tell something, each once, in order."""
    return [stem for stem in dict.fromkeys(stems) if stem not in empty_stems()]
