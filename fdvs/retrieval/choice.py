"""Multiple choice without a language model: which option do the captions speak for?

Every feature is taken for each option, centred over the options and divided by its typical spread, so that only
differences between the options count. Which features count depends on the options (`option_features`): long ones are
statements, in which the words decide; short ones name something, and meaning finds it.

Measured on published captions, against the other videos of the set: EgoSchema 63 % (238 questions of five options),
NExT-QA 57 % (2,482); see benchmarks/results/redundancy_modes.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.retrieval import option_features
from fdvs.retrieval.background import Background, Floats, Units

LONG_STEMS = 4.0  # options of so many telling stems on average are statements
SPREAD = {
    "tfidf": 0.042,
    "likelihood": 0.9,
    "softword": 0.11,
    "mean": 0.58,
    "closest": 0.047,
    "best": 1.0,
    "distinct": 0.11,
}


@dataclass(frozen=True, slots=True)
class Mix:
    """Which features count how much, and what makes the softmax over their sum a probability."""

    weights: Mapping[str, float]
    sharpness: float


# Sharpness: of 0.3 to 1.0 in steps of 0.1 the one of lowest log loss, on EgoSchema (long) and NExT-QA (short).
LONG = Mix({"tfidf": 0.5, "likelihood": 0.5, "softword": 0.5, "mean": 0.5}, 0.7)
SHORT = Mix({"closest": 1.0, "best": 1.0, "distinct": 0.5, "likelihood": 0.25}, 0.4)


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """Options to choose from.

    Attributes:
        alone: unit float32 [O, D], the options encoded alone.
        together: unit float32 [O, D], each encoded with the question before it.
        stems: telling stems of each.
    """

    alone: NDArray[np.float32]
    together: NDArray[np.float32]
    stems: Sequence[Sequence[str]]

    @property
    def mix(self) -> Mix:
        """What decides between options of this length."""
        return LONG if sum(map(len, self.stems)) >= LONG_STEMS * len(self.stems) else SHORT


def option_scores(
    options: Options, units: Units, background: Background, encode: Callable[[Sequence[str]], NDArray[np.float32]]
) -> list[float]:
    """Probabilities of the options, in their order; they sum to 1.

    Args:
        units: of the video that is asked about, at least one.
        background: of the other videos.
        encode: the text encoder; single words are encoded where the mix compares words by meaning.
    """
    total = np.zeros(len(options.stems))
    for name, weight in options.mix.weights.items():
        found = feature(name, options, units, background, encode)
        total += weight * (found - found.mean()) / SPREAD[name]
    return softmax(options.mix.sharpness * total)


def feature(
    name: str,
    options: Options,
    units: Units,
    background: Background,
    encode: Callable[[Sequence[str]], NDArray[np.float32]],
) -> Floats:
    """One feature by name: a value per option, neither centred nor divided."""
    words = background.words
    by_name: dict[str, Callable[[], Floats]] = {
        "tfidf": lambda: option_features.tfidf(options.stems, units.stems, words.rarity),
        "likelihood": lambda: option_features.likelihood(options.stems, units, words.share),
        "softword": lambda: option_features.softword(options.stems, units, words.rarity, encode),
        "mean": lambda: option_features.mean_cosine(options.alone, units, background),
        "best": lambda: option_features.best_cosine(options.alone, units, background),
        "closest": lambda: option_features.closest(options.together, units, background),
        "distinct": lambda: option_features.distinct(options.together, units, background),
    }
    return by_name[name]()


def softmax(values: Floats) -> list[float]:
    powers = np.exp(values - values.max())
    return [float(value) for value in powers / powers.sum()]
