"""Multiple choice without a language model: which option do the captions speak for?

Two features over the captions (units) of what is asked about, each centred over the options and divided by its typical
spread, so that only differences between the options count:

- `words`: cosine of the tf-idf vectors of the option and of all units together; the option's words that no unit has
  stay in its norm, so that an absent concept counts against it;
- `meaning`: mean of the five best cosines between question + option and the units, both with the library's mean taken
  out (what all captions share says nothing).

Measured on published captions, with 30 other videos in the library and with none: EgoSchema 58 % and 56 % (238
questions of five options), NExT-QA 53 % and 50 % (552 questions); with the captions of another video 26 % and 21 %.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.retrieval.pool import Query
from fdvs.store.search_rows import NodeRow

Floats = NDArray[np.float64]
Weight = Callable[[str], float]

NUM_BEST = 5
SPREAD = {"words": 0.045, "meaning": 0.055}
MIX = {"words": 1.0, "meaning": 0.6}
SHARPNESS = 0.7  # makes the softmax a probability: lowest log loss on the sets above


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The captions a choice is made from.

    Attributes:
        vectors: unit float32 [N, D].
        stems: telling stems of each.
        mean: [D], what the captions of other videos share: the library's mean vector, times (V - 1) / V for V videos.
        weight: how much a stem tells (idf).
    """

    vectors: NDArray[np.float32]
    stems: Sequence[Sequence[str]]
    mean: NDArray[np.float32]
    weight: Weight


def units_of(query: Query, rows: Sequence[NodeRow]) -> Units | None:
    """The units that these nodes make; None where none of them has a vector."""
    vectors = query.store.vectors_of([row.key for row in rows])
    rows = [row for row in rows if row.key in vectors]
    if not rows:
        return None
    words = query.pool.words
    num_videos = len(words.video_ids)
    return Units(
        vectors=np.stack([vectors[row.key] for row in rows]),
        stems=[query.pool.telling(row.text) for row in rows],
        mean=query.pool.vectors.statistics.mean * np.float32((num_videos - 1) / num_videos),
        weight=words.weight,
    )


def option_scores(
    together: NDArray[np.float32],
    option_stems: Sequence[Sequence[str]],
    units: Units,
) -> list[float]:
    """Probabilities of the options, in their order; they sum to 1.

    Args:
        together: unit vectors of question + option, [O, D].
        option_stems: telling stems of each option.
    """
    found = features(together, option_stems, units)
    total = np.zeros(len(option_stems))
    for name, weight in MIX.items():
        total += weight * (found[name] - found[name].mean()) / SPREAD[name]
    return softmax(SHARPNESS * total)


def features(
    together: NDArray[np.float32],
    option_stems: Sequence[Sequence[str]],
    units: Units,
) -> dict[str, Floats]:
    """{feature: value per option}, neither centred nor divided."""
    centred = _unit(units.vectors - units.mean)
    near = np.sort(_unit(together - units.mean) @ centred.T, axis=1)[:, -NUM_BEST:]
    return {
        "meaning": near.mean(axis=1),
        "words": _tfidf_cosines(option_stems, [stem for stems in units.stems for stem in stems], units.weight),
    }


def softmax(values: Floats) -> list[float]:
    powers = np.exp(values - values.max())
    return [float(value) for value in powers / powers.sum()]


def _unit(rows: NDArray[np.float32]) -> Floats:
    wide = rows.astype(np.float64)
    unit: Floats = wide / np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), 1e-9)
    return unit


def _tfidf_cosines(options: Sequence[Sequence[str]], text: Sequence[str], weight: Weight) -> Floats:
    whole = _tfidf(text, weight)
    norm = math.sqrt(sum(value * value for value in whole.values()))
    cosines = []
    for stems in options:
        option = _tfidf(stems, weight)
        size = math.sqrt(sum(value * value for value in option.values()))
        dot = sum(value * whole.get(stem, 0.0) for stem, value in option.items())
        cosines.append(dot / (size * norm) if size and norm else 0.0)
    return np.asarray(cosines)


def _tfidf(stems: Sequence[str], weight: Weight) -> dict[str, float]:
    return {stem: (1 + math.log(count)) * weight(stem) for stem, count in Counter(stems).items()}
