"""Which option a model chose, by its letter: strict, so that what it did not clearly choose stays unchosen.

A choice is one of

- a JSON object with the letter as its `option`;
- a line of its own that says so: `Answer: B`, `The answer is (B).`, alone or after other lines;
- a first line that is the letter (`B`, `(B)`, `**B**`, `B.`), or begins with it and a mark (`B. the milk`, `B) …`).

A letter inside prose is never one ("A woman pours milk" chooses nothing), nor are several letters, a letter that no
option has, or `none`. What stands before the end of a `<think>` block is left out.
"""

from __future__ import annotations

import re

from fdvs.prompts.parsing import parse_object

MAX_OPTIONS = 26
OPTION = "option"
_END_OF_THOUGHT = "</think>"

_OPEN, _CLOSE = r"[*_`\"'(\[]{0,4}", r"[*_`\"')\]]{0,4}"
_SAID = re.compile(
    rf"{_OPEN}(?:(?:the|my)\s+)?(?:(?:correct|best|final|right)\s+)?(?:answer|option|choice)(?:\s+is\s*:?|\s*:|\s){_CLOSE}\s*"
    rf"(?P<rest>\S.*)",
    re.I,
)
_ALONE = re.compile(rf"{_OPEN}(?P<letter>[A-Z]){_CLOSE}[.):]?{_CLOSE}")
_ALONE_SMALL = re.compile(r"\(?(?P<letter>[a-z])\)?\.?")
_MARKED = re.compile(
    r"[*_`\"']{0,4}(?:\((?P<in_brackets>[A-Z])\)|(?P<before>[A-Z])[.):])[*_`\"']{0,4}[.:]?\s+(?P<text>\S.*)"
)
_AND_MORE = re.compile(r"(?:or|and|nor)\b|[/&,|]", re.I)


def letters(num_options: int) -> tuple[str, ...]:
    """A, B, C … for so many options, at most 26."""
    assert 0 < num_options <= MAX_OPTIONS
    return tuple(chr(ord("A") + i) for i in range(num_options))


def without_thought(text: str) -> str:
    """What a reply says once its thinking is over: an option or an object that was only considered does not count."""
    return text.rpartition(_END_OF_THOUGHT)[2]


def parse_letter(text: str, num_options: int) -> int | None:
    """Index of the option that a reply chooses; None where it does not clearly choose one."""
    text = without_thought(text)
    data = parse_object(text, (OPTION,))
    if data is not None:
        value = data[OPTION]
        return _index(_letter_alone(value.strip()), num_options) if isinstance(value, str) else None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    rests = [found["rest"] for line in lines if (found := _SAID.fullmatch(line))]
    chosen = {_letter_alone(rest) or _letter_of(rest) for rest in rests} if rests else _leading(lines)
    return _index(chosen.pop(), num_options) if len(chosen) == 1 else None


def _leading(lines: list[str]) -> set[str]:
    """The letter of the first line, and those that other lines begin with: more than one is a list, not a choice."""
    if len(lines) == 1:
        return {_letter_alone(lines[0]) or _letter_of(lines[0])}
    return {_letter_of(line) for line in lines[:1]} | {letter for line in lines[1:] if (letter := _letter_of(line))}


def _letter_alone(text: str) -> str:
    """The letter that is all of a text, a small one too; empty where there is more, or another thing."""
    found = _ALONE.fullmatch(text) or _ALONE_SMALL.fullmatch(text)
    return found["letter"].upper() if found else ""


def _letter_of(line: str) -> str:
    """The capital letter that a line is, or begins with and a mark; empty where it does neither."""
    if found := _ALONE.fullmatch(line):
        return found["letter"]
    found = _MARKED.fullmatch(line)
    if found is None or _AND_MORE.match(found["text"]):
        return ""
    return found["in_brackets"] or found["before"]


def _index(letter: str, num_options: int) -> int | None:
    known = letters(num_options)
    return known.index(letter) if letter in known else None
