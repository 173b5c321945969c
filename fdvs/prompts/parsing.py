"""JSON out of a model's reply: strict about the object, lenient about what stands around it.

A server that binds a model to a schema sends the object alone. Others wrap it. Exactly this is tolerated:

- a block `<think>…</think>` before it, with or without its beginning: what stands after the last `</think>` is read
  first, and all of it only where that gives nothing;
- text before and after the object, code fences included;
- a comma before a closing bracket or brace.

Everything else is unparsable: an object that does not end, names in single quotes, comments, a name that stands twice
in one object, `NaN`, brackets nested deeper than `MAX_DEPTH`; and a reply with two objects that both could be meant,
for nobody can say which of them is the answer and which only repeats what stood in the data.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, NoReturn

MAX_DEPTH = 16
MAX_CHARS = 200_000  # a longer reply is none
_BRACES_TRIED = 64  # opening braces at which an object may begin; a reply with more of them in vain is unparsable
_END_OF_THOUGHT = "</think>"


def parse_object(text: str, required: Collection[str]) -> dict[str, Any] | None:
    """The one JSON object in `text` that has all names in `required`; None where there is none, or more than one.

    Objects inside it, and other objects around it that lack a required name, do not count.
    """
    if len(text) > MAX_CHARS:
        return None
    _, thought, rest = text.rpartition(_END_OF_THOUGHT)
    found = _the_one(rest, required)
    return found if found is not None or not thought else _the_one(text, required)


def _the_one(text: str, required: Collection[str]) -> dict[str, Any] | None:
    found: list[dict[str, Any]] = []
    at = text.find("{")
    for _ in range(_BRACES_TRIED):
        if at < 0:
            return found[0] if len(found) == 1 else None
        end, tidy = _bracketed(text, at)
        data = _decoded(tidy)
        if data is not None and all(name in data for name in required):
            found.append(data)
            at = text.find("{", end)
        else:
            at = text.find("{", at + 1)
    return None


def _bracketed(text: str, start: int) -> tuple[int, str]:
    """(end, text) from the opening brace at `start` to its closing one, without commas before closing brackets; no
    text where it does not close."""
    kept: list[str] = []
    depth, is_quoted, is_escaped = 0, False, False
    comma = -1  # where in `kept` a comma stands that only white space has followed so far
    for i in range(start, len(text)):
        char = text[i]
        kept.append(char)
        if is_quoted:
            is_quoted = is_escaped or char != '"'
            is_escaped = char == "\\" and not is_escaped
            continue
        if char in "}]" and comma >= 0:
            kept[comma] = ""
        if not char.isspace():
            comma = len(kept) - 1 if char == "," else -1
        is_quoted = char == '"'
        depth += (char in "{[") - (char in "}]")
        if depth > MAX_DEPTH:
            break
        if depth == 0:
            return i + 1, "".join(kept)
    return len(text), ""


def _decoded(text: str) -> dict[str, Any] | None:
    try:
        data = json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return made
