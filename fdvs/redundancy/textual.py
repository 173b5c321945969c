"""Textual redundancy: which of a row of texts (units) say something new.

Units are sentences, captions or whole chapters, in time order, each with its stems and its vector. A unit that says
nothing new goes in favour of a kept one, its neighbour, which from then on counts for both (multiplicity).

| mode              | a unit goes when                                                                              |
|-------------------|-----------------------------------------------------------------------------------------------|
| `none`            | never                                                                                         |
| `exact`           | a kept unit has the same stems in the same order                                              |
| `guard`           | its cosine to a kept unit is at least the threshold, and it has no stem that no kept unit has |
| `greedy`          | its cosine to a kept unit is at least the threshold                                           |
| `adaptive_causal` | it is more like the mean of the `memory` units before it than the units are on average        |
| `paper_literal`   | the same, with the unit itself in that mean                                                   |
| `fixed_threshold` | its cosine to the mean of the `memory` units before it is at least the threshold              |

The last three follow FDVS, section on textual redundancy: the mean is over all units before, kept or not; the first
unit stays and is not part of the average. A mean is a threshold of its own: where cosines vary, about half of the units
lie above it even if nothing repeats, and where they are all equal none does even if everything repeats.

Cosines are rounded to thousandths before anything is decided, so that machines that differ in the last bits agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import InputError, ShapeError
from fdvs.settings import TextMode

Floats = NDArray[np.float64]

PAPER_MODES: frozenset[TextMode] = frozenset({"adaptive_causal", "paper_literal", "fixed_threshold"})
_THRESHOLDS: dict[TextMode, float] = {"guard": 0.8, "greedy": 0.85, "fixed_threshold": 0.9}
_EPSILON = 1e-6  # a unit must lie above the mean by more than this; far below the rounding, so it only settles ties
_BLOCK = 256  # units compared with all kept ones in one matrix product


@dataclass(frozen=True, slots=True)
class TextRule:
    """A mode with its numbers: `threshold` 0 stands for the mode's own (guard 0.8, greedy 0.85, fixed_threshold 0.9);
    `memory` is how many units the means of the last three modes reach back."""

    mode: TextMode = "guard"
    threshold: float = 0.0
    memory: int = 35

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise InputError(f"a threshold lies in 0..1, got {self.threshold}")
        if self.memory < 1:
            raise InputError(f"the memory holds at least one unit, got {self.memory}")

    @property
    def least_cosine(self) -> float:
        return self.threshold or _THRESHOLDS.get(self.mode, 0.0)


@dataclass(frozen=True, slots=True)
class Removal:
    """A unit that went: by index, with the kept unit that stands for it and the cosine of the two."""

    unit: int
    neighbour: int
    similarity: float
    rule: TextMode


@dataclass(frozen=True, slots=True)
class Reduction:
    """What stayed and what went.

    Attributes:
        kept: indices of the units that stay, ascending.
        removed: the others, ascending; their neighbours are all in `kept`.
        multiplicity: for each of `kept`, how many units it stands for, itself included; they add up to the number of
            units (or to the sum of the weights that were given).
    """

    kept: tuple[int, ...]
    removed: tuple[Removal, ...]
    multiplicity: tuple[int, ...]

    def then(self, further: Reduction) -> Reduction:
        """This reduction and one of the units it kept, as one reduction of the original units.

        `further` counts in positions of `self.kept`. What stood for others and goes now hands them on to its own
        neighbour, with the similarity and the rule of that last step.
        """
        later = {self.kept[removal.unit]: removal for removal in further.removed}
        removed = [
            Removal(unit, self.kept[removal.neighbour], removal.similarity, removal.rule)
            for unit, removal in later.items()
        ]
        for removal in self.removed:
            step = later.get(removal.neighbour)
            handed_on = step and Removal(removal.unit, self.kept[step.neighbour], step.similarity, step.rule)
            removed.append(handed_on or removal)
        return Reduction(
            kept=tuple(self.kept[position] for position in further.kept),
            removed=tuple(sorted(removed, key=lambda removal: removal.unit)),
            multiplicity=further.multiplicity,
        )


def reduce_units(
    stems: Sequence[Sequence[str]],
    vectors: NDArray[np.float32] | None,
    rule: TextRule,
    *,
    weights: Sequence[int] | None = None,
) -> Reduction:
    """Decide which units stay.

    Args:
        stems: of each unit, in the order of the text. A unit without stems repeats any other such unit, so the caller
            gives a text without words itself as its stem.
        vectors: `[N, D]`, unit length; None is enough for `none` and `exact`, where the similarity of what goes is then
            given as 1 (the stems are equal).
        weights: how many units each one stands for already; default 1 each.

    Returns:
        The reduction. The first unit always stays.

    Raises:
        ShapeError: vectors or weights do not fit the units.
        InputError: a vector is not of length 1, or the mode needs vectors and there are none.
    """
    num_units = len(stems)
    held = [1] * num_units if weights is None else list(weights)
    if len(held) != num_units:
        raise ShapeError(f"weights: wanted {num_units}, got {len(held)}")
    if vectors is None and rule.mode not in ("none", "exact"):
        raise InputError(f"{rule.mode} compares vectors, and there are none")
    unit_vectors = None if vectors is None else _checked(vectors, num_units)
    removed: tuple[Removal, ...]
    if rule.mode == "none" or not num_units:
        removed = ()
    elif rule.mode == "exact":
        removed = tuple(_exact(stems, unit_vectors))
    else:
        assert unit_vectors is not None
        if rule.mode in PAPER_MODES:
            removed = tuple(_beside_history(unit_vectors, rule))
        else:
            removed = tuple(_beside_kept(stems, unit_vectors, rule))
    gone = {removal.unit for removal in removed}
    for removal in removed:
        held[removal.neighbour] += held[removal.unit]
    kept = tuple(unit for unit in range(num_units) if unit not in gone)
    return Reduction(kept, removed, tuple(held[unit] for unit in kept))


def history_cosines(vectors: NDArray[np.floating[Any]], memory: int, *, with_itself: bool) -> list[float]:
    """Cosine of each unit and the mean of the `memory` units before it (as many as there are), and of itself where
    asked for; rounded to 1e-3. The first unit has 1 with itself and 0 without."""
    wide = _checked(vectors, len(vectors))
    sums = np.concatenate([np.zeros((1, wide.shape[1])), np.cumsum(wide, axis=0)])
    cosines = []
    for i, row in enumerate(wide):
        history = sums[i + with_itself] - sums[max(0, i - memory)]
        norm = float(np.linalg.norm(history))
        cosines.append(round(float(row @ history) / norm, 3) if norm > 1e-9 else 0.0)
    return cosines


def _checked(vectors: NDArray[np.floating[Any]], num_units: int) -> Floats:
    if vectors.ndim != 2 or len(vectors) != num_units:
        raise ShapeError(f"vectors: wanted [{num_units}, D], got {list(vectors.shape)}")
    wide = vectors.astype(np.float64)
    if not np.allclose(np.linalg.norm(wide, axis=1), 1, atol=1e-3):
        raise InputError("text vectors are not of length 1")
    return wide


def _exact(stems: Sequence[Sequence[str]], vectors: Floats | None) -> Iterator[Removal]:
    first: dict[tuple[str, ...], int] = {}
    for unit, words in enumerate(stems):
        neighbour = first.setdefault(tuple(words), unit)
        if neighbour != unit:
            similarity = 1.0 if vectors is None else round(float(vectors[unit] @ vectors[neighbour]), 3)
            yield Removal(unit, neighbour, similarity, "exact")


def _beside_kept(stems: Sequence[Sequence[str]], vectors: Floats, rule: TextRule) -> Iterator[Removal]:
    """`guard` and `greedy`: each unit against the kept ones before it; the neighbour is the most similar of them, of
    equals the earliest."""
    kept: list[int] = []
    known: set[str] = set()
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        # [B, kept before this block + B]; of the block itself only what is kept and earlier stays above -2.
        cosines = np.round(np.concatenate([block @ vectors[kept].T, np.tril(block @ block.T + 2, -1) - 2], axis=1), 3)
        candidates = [*kept, *range(start, start + len(block))]
        for i in range(len(block)):
            unit = start + i
            nearest = int(np.argmax(cosines[i]))
            similarity = float(cosines[i, nearest])
            says_new = rule.mode == "guard" and not known.issuperset(stems[unit])
            if unit and similarity >= rule.least_cosine and not says_new:
                cosines[:, len(candidates) - len(block) + i] = -2
                yield Removal(unit, candidates[nearest], similarity, rule.mode)
            else:
                kept.append(unit)
                known.update(stems[unit])


def _beside_history(vectors: Floats, rule: TextRule) -> Iterator[Removal]:
    cosines = history_cosines(vectors, rule.memory, with_itself=rule.mode == "paper_literal")
    rest = cosines[1:]
    if not rest:
        return
    mean = sum(rest) / len(rest)
    kept = [0]
    for unit, cosine in enumerate(rest, 1):
        goes = cosine >= rule.least_cosine if rule.mode == "fixed_threshold" else cosine > mean + _EPSILON
        if goes:
            similar = np.round(vectors[kept] @ vectors[unit], 3)
            nearest = int(np.argmax(similar))
            yield Removal(unit, kept[nearest], float(similar[nearest]), rule.mode)
        else:
            kept.append(unit)
