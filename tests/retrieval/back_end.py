"""A back end of chat models for tests of what opens one: put it into `BACK_ENDS` under a name, and script it there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fdvs.chat.registry import BACK_ENDS, Serving
from tests.chat.scripted import Script, ScriptedChat

NAME = "scripted"


@dataclass
class Opened:
    """What was opened while the back end stood in the registry."""

    script: Script
    chats: list[ScriptedChat] = field(default_factory=list)
    made_with: list[tuple[str, str, Serving]] = field(default_factory=list)


_NOW: list[Opened] = []


def make(model: str, where: str, serving: Serving) -> ScriptedChat:
    """What the registry calls."""
    opened = _NOW[-1]
    opened.made_with.append((model, where, serving))
    opened.chats.append(ScriptedChat(opened.script, model=model))
    return opened.chats[-1]


@contextmanager
def scripted_back_end(script: Script) -> Iterator[Opened]:
    """The back end `scripted`, as long as this lasts."""
    _NOW.append(Opened(script))
    BACK_ENDS[NAME] = f"{__name__}:make"
    try:
        yield _NOW[-1]
    finally:
        del BACK_ENDS[NAME]
        _NOW.pop()
