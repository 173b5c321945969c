"""How many tokens a text takes of a model whose tokenizer is not at hand: an estimate from above, by script.

The weights are tokens per character, well above what tokenizers of current models need for running text, so that what
is estimated to fit does fit. A text that is nothing like language (long random strings) can still take more; a server
then refuses the request, which is an outcome like any other.
"""

from __future__ import annotations

import math
import re

# In this order; a character counts for the first class that has it. White space goes with the word after it.
_CLASSES: tuple[tuple[float, str], ...] = (
    (0.0, r"\s"),
    (0.4, r"[A-Za-z]"),
    (1.0, r"[\x00-\x7f]"),  # digits and punctuation
    (1.0, r"[\u00a0-\u024f\u0370-\u052f]"),  # Latin beyond ASCII, Greek, Cyrillic
    (1.75, r"[\u0590-\u1fff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]"),
    (3.0, r"."),  # symbols, emoji, rare scripts: up to a token per byte
)
_COUNTED = re.compile("|".join(f"({pattern})" for _, pattern in _CLASSES), re.DOTALL)
_WORD = re.compile(r"[A-Za-z]+")
_MESSAGE = 16  # what a chat template puts around a message, at most


def estimated_tokens(text: str) -> int:
    """Tokens of `text`, rather too many than too few; 0 of no text. Every word counts for one at least."""
    if text.isascii():
        letters = sum(map(len, words := _WORD.findall(text)))
        spaces = sum(map(text.count, " \n\t\r"))
        return math.ceil(sum(max(1.0, 0.4 * len(word)) for word in words) + (len(text) - letters - spaces))
    total = sum(max(1.0, 0.4 * len(word)) for word in _WORD.findall(text))
    for match in _COUNTED.finditer(text):
        weight = _CLASSES[(match.lastindex or 1) - 1][0]
        total += 0.0 if weight == 0.4 else weight
    return math.ceil(total)


def estimated_message_tokens(*texts: str) -> int:
    """Tokens of a chat's messages with what a template puts around each."""
    return sum(estimated_tokens(text) + _MESSAGE for text in texts)


def chars_within(text: str, tokens: int) -> int:
    """How many characters from the start of `text` are estimated to take at most `tokens`."""
    high = 4 * tokens + 1
    while high < len(text) and estimated_tokens(text[:high]) <= tokens:  # blanks take none
        high *= 2
    low, high = 0, min(high, len(text))
    while low < high:
        middle = (low + high + 1) // 2
        if estimated_tokens(text[:middle]) <= tokens:
            low = middle
        else:
            high = middle - 1
    return low
