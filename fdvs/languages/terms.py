"""Text cut into the terms that search counts, whatever the script.

Where blanks separate words, a term is a word. Where nothing does (Chinese, Japanese, Thai …), the terms are pairs of
neighbouring characters: people often type two characters, which an index of triples cannot find, and pairs need no
dictionary. Single characters are indexed too, because some people type just one; a longer query is looked up by its
pairs alone, as most characters stand in many words.

Case, width and compatibility forms are folded here. Accents are kept: `families` decides that `ü`, `u` and `ue` may
be the same, for stemmers need the word as it is spelt.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

from fdvs.languages.scripts import UNSPACED, script_of

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_RUN = re.compile(r"(w[wm]*)|(?:um*)+")
_UNIT = re.compile(r"um*")
_ZERO_WIDTH_SPACE = "\u200b"  # separates words in Thai and Khmer, unlike all other format characters


class _Kinds(dict[int, str]):
    """Code point → `w` letter or digit of a spaced script, `u` of an unspaced one, `m` mark, blank for all others."""

    def __missing__(self, code: int) -> str:
        self[code] = kind = _kind(chr(code))
        return kind


class _Format(dict[int, str | None]):
    """Code point → itself, or None for soft hyphens, joiners and the like, which are inside words but no part."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        gone = unicodedata.category(character) == "Cf" and character != _ZERO_WIDTH_SPACE
        self[code] = found = None if gone else character
        return found


def _kind(character: str) -> str:
    if script_of(character) in UNSPACED:
        return "u"
    category = unicodedata.category(character)
    return "w" if category[0] in "LN" else "m" if category[0] == "M" else " "


_KINDS, _FORMAT = _Kinds(), _Format()


def terms(text: str, *, query: bool = False) -> list[str]:
    """The terms of a text in order, case-folded; of a query only those it is looked up by."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    # Case folding can undo a composition and the other way round; the second pass settles both.
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).translate(_FORMAT)
    return list(_cut(text, query))


def _cut(text: str, query: bool) -> Iterator[str]:
    kinds = text.translate(_KINDS)
    for run in _RUN.finditer(kinds):
        if run[1]:
            yield text[run.start() : run.end()]
            continue
        units = [text[unit.start() : unit.end()] for unit in _UNIT.finditer(kinds, run.start(), run.end())]
        if not query or len(units) == 1:
            yield from units
        yield from map("".join, pairwise(units))


def is_unspaced(term: str) -> bool:
    """Whether a term is a character, or two, of a script without blanks."""
    return _KINDS[ord(term[0])] == "u"
