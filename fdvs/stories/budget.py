"""Lines for a model within a number of tokens: grouped where they are too many, cut only where groups do not help.

What is cut is told: which node it is of, and how much of it went.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from fdvs.prompts.tokens import chars_within, estimated_tokens
from fdvs.prompts.writer import NumberedLine, line_text
from fdvs.records import Span

MAX_SECTIONS = 128
"""Sections that the lines of one node may fill: hours of film at a small context; what is more is shortened to fit."""

_LARGEST_NUMBER = 9999  # stands for every line's number, so that a line costs the same wherever it comes to stand


@dataclass(frozen=True, slots=True)
class Item:
    """A line for the model and the nodes that a sentence made from it came from."""

    line: NumberedLine
    nodes: tuple[str, ...]

    @property
    def tokens(self) -> int:
        return _line_tokens(self.line)


@lru_cache(maxsize=1 << 12)
def _line_tokens(line: NumberedLine) -> int:
    return estimated_tokens(line_text(_LARGEST_NUMBER, line)) + 1


@dataclass(frozen=True, slots=True)
class Cut:
    """What a model was not given of a line: `chars_left_out` of its `chars`."""

    nodes: tuple[str, ...]
    span: Span
    chars: int
    chars_left_out: int


def fits(items: Sequence[Item], room: int) -> bool:
    return sum(item.tokens for item in items) <= room


def sections(items: Sequence[Item], room: int) -> tuple[list[list[Item]], list[Cut]]:
    """Consecutive groups of `items`, each within `room` tokens, and what had to be cut.

    Groups are about equally large and, where they can, end with a node. A line that is longer than `room` is told in
    pieces. Lines that would fill more than `MAX_SECTIONS` groups are shortened first.
    """
    # Rounding and whole lines leave some of the room unused, so a little less than all of it is handed out.
    within, cuts = shortened(items, MAX_SECTIONS * room * 2 // 3)
    pieces = [piece for item in within for piece in _pieces(item, room)]
    wanted = -(-sum(item.tokens for item in pieces) // room)
    share = min(room, sum(item.tokens for item in pieces) // max(wanted, 1) + room // 8)
    groups: list[list[Item]] = []
    used = 0
    for i, item in enumerate(pieces):
        ends_node = i > 0 and item.nodes != pieces[i - 1].nodes
        is_full = used + item.tokens > room
        if not groups or is_full or (ends_node and used + _run_tokens(pieces, i, room) > share):
            groups.append([])
            used = 0
        groups[-1].append(item)
        used += item.tokens
    return groups, cuts


def _run_tokens(pieces: Sequence[Item], start: int, room: int) -> int:
    """Tokens of the lines from `start` on that are of the same node; no more are counted than `room`."""
    total = 0
    for item in pieces[start:]:
        if item.nodes != pieces[start].nodes or total > room:
            break
        total += item.tokens
    return min(total, room)


def _pieces(item: Item, room: int) -> list[Item]:
    """A line as it is, or in pieces within `room`, cut at blanks where there are some."""
    if item.tokens <= room:
        return [item]
    made: list[Item] = []
    rest, text_room = item.line.text, room - _overhead(item)
    while rest:
        length = max(1, chars_within(rest, text_room))
        # quoting may lengthen a text: brackets and the like are written as escapes
        while length > 1 and _with_text(item, rest[:length]).tokens > room:
            length = length * 3 // 4
        blank = rest.rfind(" ", length // 2, length) if length < len(rest) else -1
        end = blank if blank > 0 else length
        made.append(_with_text(item, rest[:end].strip()))
        rest = rest[end:].strip()
    return made


def shortened(items: Sequence[Item], room: int) -> tuple[list[Item], list[Cut]]:
    """`items` within `room` tokens: the longest lines are cut to one length, and where even short ones are too many,
    lines are left out at equal distances. What is cut is told in order."""
    if fits(items, room):
        return list(items), []
    least = sum(min(item.tokens, _overhead(item) + _LEAST_TOKENS) for item in items)
    kept = set(range(len(items)))
    if least > room:
        count = max(1, len(items) * room // least)
        kept = {i * len(items) // count for i in range(count)}
    limit = _common_length([items[i] for i in sorted(kept)], room)
    told: list[Item] = []
    cuts: list[Cut] = []
    for i, item in enumerate(items):
        text = item.line.text
        short = _cut_text(item, limit) if i in kept else ""
        if short:
            told.append(_with_text(item, short))
        if short != text:
            cuts.append(Cut(item.nodes, item.line.span, len(text), len(text) - max(0, len(short) - 1)))
    return told, cuts


_LEAST_TOKENS = 12  # of its text; a line that is cut shorter tells nothing


def _common_length(items: Sequence[Item], room: int) -> int:
    """The most tokens that each line may have so that all are within `room`."""
    low, high = 0, max(item.tokens for item in items)
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(item.tokens, middle) for item in items) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _cut_text(item: Item, tokens: int) -> str:
    """The item's text, cut so that its line takes at most `tokens`; empty where that leaves nothing."""
    if item.tokens <= tokens:
        return item.line.text
    length = chars_within(item.line.text, max(0, tokens - _overhead(item) - 1))
    while length and _with_text(item, item.line.text[:length] + "…").tokens > tokens:
        length = length * 3 // 4
    return item.line.text[:length].rstrip() + "…" if length else ""


def _overhead(item: Item) -> int:
    return _with_text(item, "").tokens


def _with_text(item: Item, text: str) -> Item:
    return replace(item, line=replace(item.line, text=text))
