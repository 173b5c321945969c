"""Which lines a summary keeps: central in their node, rare in the film, not like each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fdvs.records import CaptionKind
from fdvs.stories.lines import Line
from fdvs.stories.words import Rarity, sparse_dot, words

_SAYS_MUCH_WORDS = 3  # content words from which a quote is worth a place of its own
_TOO_ALIKE = 0.8  # cosine of the word vectors from which two lines say the same
_POINTING = frozenset(
    ("he", "she", "it", "they", "his", "her", "its", "their", "this", "that", "these", "those", "both")
)
_SUBJECT = 0.5  # added to the worth of a slide with a heading, half of it to others
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


def once(_: Line) -> int:
    """Every line counts once."""
    return 1


def weigh(lines: Sequence[Line], rarity: Rarity, times: Callable[[Line], int] = once) -> list[Weighed]:
    """Worth = cosine with the lines' centre, less for scraps, for unfinished speech and for a bare "he" or "it"; in the
    centre a line counts as often as `times` says. What was measured has no words of its own to weigh: its worth is its
    weight beside the heaviest here."""
    vectors = [rarity.vector(line.plain) for line in lines]
    counts = [times(line) for line in lines]
    centre = word_sums({w: n * v for w, v in vector.items()} for vector, n in zip(vectors, counts, strict=True))
    norm = sum(value * value for value in centre.values()) ** 0.5 or 1.0
    heaviest = max((line.weight for line in lines if line.is_measured), default=0.0) or 1.0
    return [
        Weighed(line, vector, round(line.weight / heaviest, 3))
        if line.is_measured and line.weight
        else Weighed(line, vector, round(sparse_dot(vector, centre) / norm * _completeness(line) + _shown(line), 3))
        for line, vector in zip(lines, vectors, strict=True)
    ]


def _shown(line: Line) -> float:
    """What the screen shows as a whole is what the video is about then, whatever its words."""
    return (_SUBJECT if line.heading else _SUBJECT / 2) if line.weight else 0.0


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


def choose(lines: Sequence[Line], count: int, rarity: Rarity, times: Callable[[Line], int] = once) -> list[Line]:
    """Lines of about `count` sentences, in the order given; at least one of what is seen and, if it says something, one
    of what is said. Words say more than measured facts: a second line of facts comes after all words.

    Each next line is the one with the highest worth less its likeness to those chosen; ties go to the earlier one.
    """
    left = weigh(lines, rarity, times)
    order = {id(item.line): i for i, item in enumerate(left)}
    chosen: list[Weighed] = []
    while left and len(chosen) < count:
        wanted = _wanted(left, chosen, count - len(chosen))
        best = max(wanted, key=lambda item: (_gain(item, chosen), -order[id(item.line)]))
        left = [item for item in left if item is not best and not _alike(item, best)]
        chosen.append(best)
    return sorted((item.line for item in chosen), key=lambda line: order[id(line)])


def without_lists(lines: Sequence[Line], rarity: Rarity) -> list[Line]:
    """The lines without those that only list names, where sentences say what is seen; elsewhere with the most telling
    list, and with all where there is nothing but lists."""
    lists = [line for line in lines if line.is_list]
    if not lists or len(lists) == len(lines):
        return list(lines)
    is_described = any(
        not (line.is_list or line.is_said or line.is_measured) and line.kind is not CaptionKind.SCREEN_TEXT
        for line in lines
    )
    kept = [] if is_described else choose(lists, 1, rarity)
    return [line for line in lines if not line.is_list or line in kept]


def _alike(a: Weighed, b: Weighed) -> bool:
    if a.line.weight and b.line.weight:
        return False  # composed: each speaks of a time of its own
    if not a.vector or not b.vector:
        return a.line.key == b.line.key
    return sparse_dot(a.vector, b.vector) >= _TOO_ALIKE


def _gain(item: Weighed, chosen: Sequence[Weighed]) -> float:
    return item.worth - _UNLIKENESS * max((sparse_dot(item.vector, other.vector) for other in chosen), default=0.0)


def _wanted(left: Sequence[Weighed], chosen: Sequence[Weighed], places: int) -> Sequence[Weighed]:
    """What the next line is taken from: words, once there is a line of facts, or where somebody described what is seen;
    when one place is left and a kind is still missing, only that kind."""
    worded = [item for item in left if not item.line.is_measured]
    described = any(not item.line.is_said for item in worded)
    if worded and (described or any(item.line.is_measured for item in chosen)):
        left = worded
    have = {item.line.is_said for item in chosen}
    missing = [item for item in left if item.line.is_said not in have and (not item.line.is_said or _says_much(item))]
    return missing if chosen and missing and places <= 1 else left


def _says_much(item: Weighed) -> bool:
    return len(item.vector) >= _SAYS_MUCH_WORDS
