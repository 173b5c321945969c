"""Which lines a summary keeps: central in their node, rare in the film, not like each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fdvs.stories.lines import Line
from fdvs.stories.words import Rarity, sparse_dot, words

_SAYS_MUCH_WORDS = 3  # content words from which a quote is worth a place of its own
_TOO_ALIKE = 0.8  # cosine of the word vectors from which two lines say the same
_POINTING = frozenset(
    ("he", "she", "it", "they", "his", "her", "its", "their", "this", "that", "these", "those", "both")
)
_UNLIKENESS = 0.6  # how much likeness to lines already chosen costs


@dataclass(frozen=True, slots=True)
class Weighed:
    """A line with its word vector and its worth for the node, 0..1."""

    line: Line
    vector: Mapping[str, float]
    worth: float


def word_sums(vectors: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Sum of word vectors: large for words that several of them share and the film otherwise seldom uses."""
    sums: dict[str, float] = {}
    for vector in vectors:
        for word, value in vector.items():
            sums[word] = sums.get(word, 0.0) + value
    return sums


def weigh(lines: Sequence[Line], rarity: Rarity) -> list[Weighed]:
    """Worth = cosine with the lines' centre, less for scraps, for unfinished speech and for a bare "he" or "it"."""
    vectors = [rarity.vector(line.plain) for line in lines]
    centre = word_sums(vectors)
    norm = sum(value * value for value in centre.values()) ** 0.5 or 1.0
    return [
        Weighed(line, vector, round(sparse_dot(vector, centre) / norm * _completeness(line), 3))
        for line, vector in zip(lines, vectors, strict=True)
    ]


def points_back(text: str) -> bool:
    """Whether a sentence begins with a word that needs the sentence before it."""
    return (words(text) or ("",))[0] in _POINTING


def _completeness(line: Line) -> float:
    num_words = len(words(line.plain))
    factor = min(1.0, (0.4, 0.4, 0.5, 0.7, 0.9)[num_words] if num_words < 5 else 1.0)
    if num_words > 60:
        factor *= 0.7
    if line.is_said:
        first, last = line.plain[:1], line.plain.rstrip("\"'”’»)]")[-1:]
        factor *= 0.85 if first.islower() or first in ".…-" else 1.0
        factor *= 0.85 if last not in ".!?…。！？" else 1.0
    elif points_back(line.plain):
        factor *= 0.8
    return factor


def choose(lines: Sequence[Line], count: int, rarity: Rarity) -> list[Line]:
    """Lines of about `count` sentences, in the order given; at least one of what is seen and, if it says something, one
    of what is said. Words say more than measured facts: where there are any, one line of facts is enough. Where there
    are none, a line of facts counts as the several sentences it is.

    Each next line is the one with the highest worth less its likeness to those chosen; ties go to the earlier one.
    """
    left = weigh(lines, rarity)
    order = {id(item.line): i for i, item in enumerate(left)}
    chosen: list[Weighed] = []
    spent = 0
    has_words = any(not item.line.is_measured for item in left)
    while left and spent < count:
        wanted = _wanted(left, chosen, count - spent)
        best = max(wanted, key=lambda item: (_gain(item, chosen), -order[id(item.line)]))
        left = [item for item in left if item is not best and not _alike(item, best)]
        if has_words and best.line.is_measured:
            left = [item for item in left if not item.line.is_measured]
        chosen.append(best)
        spent += 1 if has_words else best.line.num_sentences
    return sorted((item.line for item in chosen), key=lambda line: order[id(line)])


def _alike(a: Weighed, b: Weighed) -> bool:
    if not a.vector or not b.vector:
        return a.line.key == b.line.key
    return sparse_dot(a.vector, b.vector) >= _TOO_ALIKE


def _gain(item: Weighed, chosen: Sequence[Weighed]) -> float:
    return item.worth - _UNLIKENESS * max((sparse_dot(item.vector, other.vector) for other in chosen), default=0.0)


def _wanted(left: Sequence[Weighed], chosen: Sequence[Weighed], places: int) -> Sequence[Weighed]:
    """What the next line is taken from: when one place is left and a kind is still missing, only that kind."""
    have = {item.line.is_said for item in chosen}
    missing = [item for item in left if item.line.is_said not in have and (not item.line.is_said or _says_much(item))]
    return missing if chosen and missing and places <= 1 else left


def _says_much(item: Weighed) -> bool:
    return len(item.vector) >= _SAYS_MUCH_WORDS
