"""Which lines a summary keeps: central in their node, rare in the film, not like each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fdvs.records import CaptionKind
from fdvs.stories.lines import Line
from fdvs.stories.words import Rarity, sparse_dot, words

_TOO_ALIKE = 0.8  # cosine of the word vectors from which two lines say the same
_UNLIKENESS = 0.6  # how much likeness to lines already chosen costs


@dataclass(frozen=True, slots=True)
class Weighed:
    """A line with its word vector and its worth for the node, 0..1."""

    line: Line
    vector: Mapping[str, float]
    worth: float


def weigh(lines: Sequence[Line], rarity: Rarity) -> list[Weighed]:
    """Worth = cosine with the node's centre in rarity-weighted word space, less for scraps and unfinished speech."""
    vectors = [rarity.vector(line.plain) for line in lines]
    centre: dict[str, float] = {}
    for vector in vectors:
        for word, value in vector.items():
            centre[word] = centre.get(word, 0.0) + value
    norm = sum(value * value for value in centre.values()) ** 0.5 or 1.0
    return [
        Weighed(line, vector, round(sparse_dot(vector, centre) / norm * _completeness(line), 3))
        for line, vector in zip(lines, vectors, strict=True)
    ]


def _completeness(line: Line) -> float:
    num_words = len(words(line.plain))
    factor = min(1.0, (0.4, 0.4, 0.5, 0.7, 0.9)[num_words] if num_words < 5 else 1.0)
    if num_words > 60:
        factor *= 0.7
    if line.kind is CaptionKind.SPEECH:
        first, last = line.plain[:1], line.plain.rstrip("\"'”’»)]")[-1:]
        factor *= 0.85 if first.islower() or first in ".…-" else 1.0
        factor *= 0.85 if last not in ".!?…。！？" else 1.0
    return factor


def choose(lines: Sequence[Line], count: int, rarity: Rarity) -> list[Line]:
    """At most `count` lines in time order; at least one of what is seen and one of what is said, where there are any.

    Each next line is the one with the highest worth less its likeness to those chosen; ties go to the earlier one.
    """
    left = weigh(lines, rarity)
    chosen: list[Weighed] = []
    while left and len(chosen) < count:
        best = max(left, key=lambda item: (_gain(item, chosen, lines, count), -item.line.start_ms))
        left = [item for item in left if item is not best and not _alike(item, best)]
        chosen.append(best)
    return sorted((item.line for item in chosen), key=lambda line: line.start_ms)


def _alike(a: Weighed, b: Weighed) -> bool:
    if not a.vector or not b.vector:
        return a.line.key == b.line.key
    return sparse_dot(a.vector, b.vector) >= _TOO_ALIKE


def _gain(item: Weighed, chosen: Sequence[Weighed], lines: Sequence[Line], count: int) -> float:
    likeness = max((sparse_dot(item.vector, other.vector) for other in chosen), default=0.0)
    said = item.line.kind is CaptionKind.SPEECH
    kinds = {line.kind is CaptionKind.SPEECH for line in lines}
    have = {other.line.kind is CaptionKind.SPEECH for other in chosen}
    missing = kinds - have
    forced = said in missing and count - len(chosen) <= len(missing)
    return item.worth - _UNLIKENESS * likeness + (10.0 if forced else 0.0)
