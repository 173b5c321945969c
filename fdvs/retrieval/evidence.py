"""How well a sentence of a story supports an answer.

Strength = cosine of question and sentence + 0.3 · share of the question's telling words found in it (weighted by how
rare they are; a word that occurs nowhere in the library counts as the rarest). It has to exceed a threshold that rises
with the number of nodes looked at, because the best of many lookalikes lies higher by chance alone.

How the threshold was chosen: on 300 videos with published human captions. Questions made to be answerable from them
("who hits the pinata?") reach 0.9 and more; questions about what no video shows ("where is the treasure buried") stay
below 0.48 in the best of 2,300 sentences. Among the published questions asked of the right video and of another one,
those whose answer can be read from the captions pass about twice as often as those asked of the wrong video; most of
the rest ask for colours and counts that no caption mentions, and abstaining is right for them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.store.postings import PostingIndex

OVERLAP_WEIGHT = 0.3
LEAST_STRENGTH = 0.30
LOOKALIKE_SPREAD = 0.05
SLOPE = 8.0


@dataclass(frozen=True, slots=True)
class Support:
    """Strength of one sentence and what it consists of; `similarity` is None where the encoder does not know the
    language, and then the words decide alone: half of what they tell has to be there, or a little more."""

    similarity: float | None
    overlap: float

    @property
    def strength(self) -> float:
        if self.similarity is None:
            return self.overlap
        return self.similarity + OVERLAP_WEIGHT * self.overlap


def threshold(num_nodes: int) -> float:
    """Strength that evidence must exceed when it is the best of so many nodes."""
    return LEAST_STRENGTH + LOOKALIKE_SPREAD * math.sqrt(2 * math.log(max(num_nodes, 1)))


def confidence(strength: float, num_nodes: int) -> float:
    """0..1; 0.5 exactly at the threshold, below which the reader abstains."""
    return (1 + math.tanh(SLOPE * (strength - threshold(num_nodes)) / 2)) / 2


def word_weights(words: PostingIndex, stems: Sequence[str]) -> dict[str, float]:
    """{stem: how much it tells} of a question's telling stems; a stem that no node has tells most."""
    return {stem: words.weight(stem) for stem in stems}


def overlap(weights: dict[str, float], stems: Sequence[str]) -> float:
    """Share of the weights whose stem is among `stems`; 0 where the question has no telling word."""
    total = sum(weights.values())
    present = set(stems)
    return sum(weight for stem, weight in weights.items() if stem in present) / total if total > 0 else 0.0


def supports(
    question: NDArray[np.float32],
    weights: dict[str, float],
    sentences: NDArray[np.float32],
    stems: Sequence[Sequence[str]],
    outside: Sequence[bool],
) -> list[Support]:
    """Support of each sentence.

    Args:
        question, sentences: unit vectors [D] and [N, D].
        weights: of the question's stems.
        stems: of each sentence.
        outside: whether the encoder does not know the language of question and sentence.
    """
    similarities = (sentences @ question).tolist()
    return [
        Support(None if by_words else round(similarity, 6), round(overlap(weights, words), 6))
        for similarity, words, by_words in zip(similarities, stems, outside, strict=True)
    ]
