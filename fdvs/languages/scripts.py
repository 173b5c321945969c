"""Writing systems: which one each character belongs to."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter

# First and last code point, script. Letters outside of these belong to no script that is told apart here.
_RANGES = (
    (0x0041, 0x024F, "latin"), (0x0250, 0x02AF, "latin"), (0x0370, 0x03FF, "greek"), (0x0400, 0x052F, "cyrillic"),
    (0x0530, 0x058F, "armenian"), (0x0590, 0x05FF, "hebrew"), (0x0600, 0x06FF, "arabic"), (0x0750, 0x077F, "arabic"),
    (0x08A0, 0x08FF, "arabic"), (0x0900, 0x097F, "devanagari"), (0x0980, 0x09FF, "bengali"),
    (0x0A00, 0x0A7F, "gurmukhi"), (0x0A80, 0x0AFF, "gujarati"), (0x0B00, 0x0B7F, "odia"), (0x0B80, 0x0BFF, "tamil"),
    (0x0C00, 0x0C7F, "telugu"), (0x0C80, 0x0CFF, "kannada"), (0x0D00, 0x0D7F, "malayalam"),
    (0x0D80, 0x0DFF, "sinhala"), (0x0E00, 0x0E7F, "thai"), (0x0E80, 0x0EFF, "lao"), (0x0F00, 0x0FFF, "tibetan"),
    (0x1000, 0x109F, "myanmar"), (0x10A0, 0x10FF, "georgian"), (0x1100, 0x11FF, "hangul"),
    (0x1200, 0x139F, "ethiopic"), (0x1780, 0x17FF, "khmer"), (0x1C90, 0x1CBF, "georgian"), (0x1E00, 0x1EFF, "latin"),
    (0x1F00, 0x1FFF, "greek"), (0x2E80, 0x2FDF, "han"), (0x3005, 0x3007, "han"), (0x3041, 0x30FF, "kana"),
    (0x3130, 0x318F, "hangul"), (0x31F0, 0x31FF, "kana"), (0x3400, 0x4DBF, "han"), (0x4E00, 0x9FFF, "han"),
    (0xAC00, 0xD7AF, "hangul"), (0xF900, 0xFAFF, "han"), (0xFB50, 0xFDFF, "arabic"), (0xFE70, 0xFEFC, "arabic"),
    (0xFF21, 0xFF5A, "latin"), (0xFF66, 0xFF9F, "kana"), (0x20000, 0x3134F, "han"),
)  # fmt: skip
_STARTS = [first for first, _, _ in _RANGES]

# Written without blanks between words (or, Hangul, with endings glued to them): nothing tells where a word ends.
UNSPACED = frozenset({"han", "kana", "hangul", "thai", "lao", "khmer", "myanmar"})


def script_of(character: str) -> str:
    """The script of a letter; empty for what is no letter of a known script."""
    if not (character.isalpha() or character == "〇"):
        return ""
    code = ord(character)
    at = bisect_right(_STARTS, code) - 1
    return _RANGES[at][2] if at >= 0 and code <= _RANGES[at][1] else ""


def count_scripts(text: str) -> Counter[str]:
    """{script: number of its letters in the text}."""
    counts: Counter[str] = Counter()
    for character, times in Counter(text).items():
        script = script_of(character)
        if script:
            counts[script] += times
    return counts
