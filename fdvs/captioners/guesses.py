"""What a model guesses, in words that claim no more than its score."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

BANDS = ((0.75, "most likely"), (0.5, "likely"), (0.25, "perhaps"), (0.0, "possibly"))
"""From which score on a guess is called what."""

MAX_LABEL_CHARS = 80


def sureness(score: float) -> str:
    """A score 0..1 as a word; never a stronger one than the score's own band."""
    return next(word for least, word in BANDS if score >= least or least == 0.0)


def plain(text: str, max_chars: int = MAX_LABEL_CHARS) -> str:
    """Text from a model or a checkpoint as part of a sentence: one line, no control or format characters, cut to
    `max_chars` with `…`."""
    clean = "".join(char if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co") else " " for char in text)
    line = " ".join(clean.split())
    return line if len(line) <= max_chars else line[: max_chars - 1].rstrip() + "…"


@dataclass(frozen=True, slots=True)
class Guess:
    """A name that a model gives to what it sees, and its score 0..1."""

    name: str
    score: float


def listed(guesses: Sequence[Guess]) -> str:
    """Guesses with word and score: `Guessed: a stove (likely, 0.62), a pan (perhaps, 0.31).`"""
    told = (f"{plain(guess.name)} ({sureness(guess.score)}, {guess.score:.2f})" for guess in guesses)
    return f"Guessed: {', '.join(told)}."
