"""A scripted model that tells again what it is given, and what requests of the writer say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from fdvs.chat.base import ChatRequest
from tests.chat.scripted import text_of

_LINE = re.compile(r'^\[(\d+)\] (.*?) (\w[\w ]*): (".*")$')
_HEAD = re.compile(r"^(Scene|Chapter|Part) (\d+) of \d+:|^A whole video")


def reply_of(
    sentences: Iterable[tuple[str, Sequence[object]]],
    title: str = "A title",
    names: Iterable[tuple[str, str]] = (),
) -> str:
    """A reply as the rules want it."""
    return json.dumps(
        {
            "title": title,
            "sentences": [{"text": text, "sources": list(sources)} for text, sources in sentences],
            "names": [{"name": name, "what": what} for name, what in names],
        }
    )


def lines_of(request: ChatRequest) -> list[tuple[int, str, str, str]]:
    """(number, time with its phrase, label, text) of each line a request holds."""
    found = [_LINE.match(line) for line in text_of(request).splitlines()]
    return [(int(m[1]), m[2], m[3], json.loads(m[4])) for m in found if m]


def what_of(request: ChatRequest) -> str:
    """`scene 2`, `video`; or `chapter of the paper`."""
    match = _HEAD.match(text_of(request))
    if match is None:
        return "chapter of the paper"
    return f"{match[1].lower()} {match[2]}" if match[1] else "video"


def retell(request: ChatRequest) -> str:
    """The first and the last line again, each with its number; the title says which node it is."""
    if request.schema is None:
        return f"It is told that {json.loads(text_of(request).splitlines()[1].split(': ', 1)[1])}"
    lines = lines_of(request)
    chosen = [lines[0], *([lines[-1]] if len(lines) > 1 else [])]
    return reply_of(
        [(f"Told: {text.removeprefix('Told: ')[:150]}", [number]) for number, _, _, text in chosen],
        f"On {what_of(request)}",
    )
