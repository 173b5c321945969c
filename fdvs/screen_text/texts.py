"""Comparing what was read: the same words in spite of a misread letter, a lost space, a running clock."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from fdvs.languages.scripts import script_of

# A line is a counter when at least this share of its letters and digits are digits: clocks, scores, page numbers.
COUNTER_DIGITS = 0.4
# Texts this similar may be one line misread, when their longer words are this similar one by one.
SAME_TEXT, SAME_WORD, LONG_WORD = 0.7, 0.5, 3
# Scripts whose words the reader knows. Of Greek it knows the letters of formulas, not those with accents.
KNOWN_SCRIPTS = frozenset({"latin", "han", "kana"})
# A word of this many letters is no formula.
WORD_LETTERS = 3
_ENUMERATOR = re.compile(r"(?:\(?(?:\d{1,2}|[a-zA-Z]|[ivxIVX]{1,4})[.)]|[•‣▪■●○◦➢▶*–-])")
_WORD = re.compile(r"[^\W_]+")
_DIGITS = re.compile(r"\d+")
_SPACES = re.compile(r"\s+")


def tidy(text: str) -> str:
    """The text as it is kept: white space runs become one space, nothing else changes."""
    return _SPACES.sub(" ", text).strip()


@lru_cache(maxsize=65_536)
def essence(text: str) -> str:
    """What two readings of one line share: letters and digits in lower case, without spaces, signs and widths."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in folded if char.isalnum())


def num_letters(text: str) -> int:
    return sum(char.isalpha() for char in text)


def in_known_letters(text: str) -> bool:
    """Whether a line has no word in letters that the reader does not know: then it is a misreading."""
    unknown = (sum(script_of(char) not in KNOWN_SCRIPTS | {""} for char in word) for word in words(text))
    return all(letters < WORD_LETTERS for letters in unknown)


def is_enumerator(text: str) -> bool:
    """Whether a line is only the number or the bullet of the line beside it."""
    return _ENUMERATOR.fullmatch(text.strip()) is not None


def is_counter(text: str) -> bool:
    """Whether the line is mostly digits, such as a clock, a score or a page number."""
    kept = essence(text)
    return bool(kept) and round(sum(map(str.isdigit, kept)) / len(kept), 3) >= COUNTER_DIGITS


def pattern(text: str) -> str:
    """The text with every digit as 0: equal for the same clock at two times."""
    return "".join("0" if char.isdigit() else char for char in essence(text))


@lru_cache(maxsize=65_536)
def similarity(a: str, b: str) -> float:
    """1 minus the edit distance of the two essences over the longer one's length, rounded to thousandths, 0..1.

    Two lines of which neither has a letter or digit are alike only when they are equal.
    """
    left, right = essence(a), essence(b)
    longest = max(len(left), len(right))
    if not longest:
        return float(a == b)
    if left == right:
        return 1.0
    return round(1 - _edit_distance(left, right) / longest, 3)


def same_words(a: str, b: str) -> bool:
    """Whether two texts may be readings of one line: much alike, and no word or number of one is another in the other.

    A blurred word is still like itself; "part one" and "part two" are two texts, however many letters they share.
    """
    short, long = sorted((len(essence(a)), len(essence(b))))
    if short < SAME_TEXT * long or similarity(a, b) < SAME_TEXT or _DIGITS.findall(a) != _DIGITS.findall(b):
        return False
    left, right = words(a), words(b)
    return len(left) != len(right) or all(
        similarity(one, other) >= SAME_WORD or max(len(one), len(other)) < LONG_WORD
        for one, other in zip(left, right, strict=True)
    )


def words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def grows_into(short: str, long: str) -> bool:
    """Whether `long` is `short` with whole words added at its end, signs aside."""
    head, whole = words(short), words(long)
    return 0 < len(head) < len(whole) and whole[: len(head)] == head


def begins(short: str, long: str) -> bool:
    """Whether `long` begins with the letters and digits of `short`, be it in the middle of a word."""
    head = essence(short)
    return bool(head) and len(head) < len(essence(long)) and essence(long).startswith(head)


def _edit_distance(a: str, b: str) -> int:
    """Levenshtein distance, a column of the table at a time as the bits of two integers (Myers 1999, Hyyrö 2001)."""
    if not a or not b:
        return len(a) or len(b)
    places: dict[str, int] = {}
    for index, char in enumerate(a):
        places[char] = places.get(char, 0) | 1 << index
    mask, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    rises, falls, distance = mask, 0, len(a)
    for char in b:
        equal = places.get(char, 0)
        diagonal = (((equal & rises) + rises) ^ rises) | equal | falls
        up = falls | ~(diagonal | rises) & mask
        down = rises & diagonal
        distance += bool(up & last) - bool(down & last)
        up = (up << 1 | 1) & mask
        rises = (down << 1 | ~(diagonal | up)) & mask
        falls = up & diagonal
    return distance
