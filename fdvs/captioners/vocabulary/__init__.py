"""The names that zero-shot tags are chosen from: our own lists, one file a kind, and sentences to ask for them in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

KINDS = ("views", "places", "light", "weather", "objects", "actions")
"""In the order in which a caption tells them."""

# Several ways to say the same: what a text vector owes to one wording averages out. `{}` is a name of the list.
TEMPLATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "views": ("{}.", "this picture is {}.", "a video frame that is {}."),
        "places": (
            "a photo of {}.",
            "a photo taken at the scene of {}.",
            "a video frame that shows {}.",
            "this is {}.",
        ),
        "light": ("a photo taken {}.", "a scene {}.", "a video filmed {}."),
        "weather": ("a photo with {}.", "outdoors, {}.", "a video frame that shows {}."),
        "objects": ("a photo of {}.", "a picture in which {} can be seen.", "a video frame that shows {}.", "{}."),
        "actions": ("a photo of someone {}.", "a person is {}.", "a video of somebody {}.", "people {}."),
    }
)
# Rivals are whole pictures whatever they are compared with, so all kinds ask for them alike.
RIVAL_TEMPLATES = ("a photo of {}.", "a video frame that shows {}.", "{}.")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names of one kind.

    Attributes:
        names: with their article, as a sentence takes them.
        rivals: what a picture may show instead of any of them; compared, never told.
    """

    kind: str
    names: tuple[str, ...]
    rivals: tuple[str, ...]

    def prompts(self) -> list[list[str]]:
        """The sentences of each name, then of each rival."""
        asked = [(name, TEMPLATES[self.kind]) for name in self.names] + [(it, RIVAL_TEMPLATES) for it in self.rivals]
        return [[template.format(name) for template in templates] for name, templates in asked]


def parse(kind: str, text: str) -> Vocabulary:
    """The vocabulary that a file holds: a name a line, `-` before rivals, `#` before remarks."""
    lines = [line.strip() for line in text.splitlines()]
    names = [line for line in lines if line and line[0] not in "#-"]
    rivals = [line[1:].strip() for line in lines if line.startswith("-")]
    return Vocabulary(kind, tuple(names), tuple(rivals))


@cache
def vocabulary(kind: str) -> Vocabulary:
    """The shipped names of one of `KINDS`."""
    return parse(kind, (files(__name__) / f"{kind}.txt").read_text(encoding="utf-8"))


@cache
def bare_names() -> tuple[str, ...]:
    """The objects without their article, each once: what a detector is asked for."""
    return tuple(dict.fromkeys(_bare(name) for name in vocabulary("objects").names))


def _bare(name: str) -> str:
    article, _, rest = name.partition(" ")
    return rest.lower() if article in ("a", "an", "the") else name.lower()


@cache
def fingerprint() -> str:
    """8 hex digits over all names and sentences: another vocabulary, other captions."""
    told = [[kind, vocabulary(kind).prompts()] for kind in KINDS]
    return hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).hexdigest()[:8]
