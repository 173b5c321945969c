"""Signs that captions speak for an option, each a value per option.

| feature      | is                                                                                                    |
|--------------|-------------------------------------------------------------------------------------------------------|
| `tfidf`      | cosine of the tf-idf vectors of the option and of all distinct captions; the option's words that no   |
|              | caption has stay in its norm, so that an absent concept counts against it                             |
| `likelihood` | how much likelier the option's words are in this video than anywhere                                  |
| `softword`   | how near the option's words come to words of the video, rare words first                              |
| `mean`       | cosine of the option and the video's mean, beside what it reaches on other videos                     |
| `best`       | best cosine of the option and a caption, beside what it reaches on other videos                       |
| `closest`    | mean of the five best cosines of question with option and captions, without what all videos share     |
| `distinct`   | best cosine of a caption and what sets question with option apart from the other options              |

A caption counts as often as its multiplicity says, except where only distinct captions or the best one count.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fdvs.retrieval.background import Background, Floats, Units, standardised, unit

NUM_BEST = 5
MAX_WORDS = 1000  # words of a video that are compared by meaning: the most frequent ones

Stems = Sequence[Sequence[str]]


def tfidf(options: Stems, captions: Stems, rarity: Callable[[str], float]) -> Floats:
    distinct = dict.fromkeys(map(tuple, captions))
    whole = _tfidf([stem for stems in distinct for stem in stems], rarity)
    norm = math.sqrt(sum(value * value for value in whole.values()))
    cosines = []
    for stems in options:
        option = _tfidf(stems, rarity)
        size = math.sqrt(sum(value * value for value in option.values()))
        dot = sum(value * whole.get(stem, 0.0) for stem, value in option.items())
        cosines.append(dot / (size * norm) if size and norm else 0.0)
    return np.asarray(cosines)


def _tfidf(stems: Sequence[str], rarity: Callable[[str], float]) -> dict[str, float]:
    return {stem: (1 + math.log(count)) * rarity(stem) for stem, count in Counter(stems).items()}


def likelihood(options: Stems, units: Units, share: Callable[[str], float]) -> Floats:
    """Sum over the option's words of ln((half their share here + half their share anywhere) / share anywhere), divided
    by the root of their number; 0 for an option without words."""
    counts = units.counts()
    total = max(counts.total(), 1)
    values = []
    for stems in options:
        gains = (math.log(0.5 * counts[stem] / total / share(stem) + 0.5) for stem in stems)
        values.append(sum(gains) / math.sqrt(max(len(stems), 1)))
    return np.asarray(values)


def softword(
    options: Stems, units: Units, rarity: Callable[[str], float], encode: Callable[[Sequence[str]], NDArray[np.float32]]
) -> Floats:
    """Mean over the option's words of the cube of their best cosine to a word of the video, weighed by rarity; words
    are encoded alone, and what the video's words have in common is taken out."""
    counts = units.counts()
    here = sorted(counts, key=lambda stem: (-counts[stem], stem))[:MAX_WORDS]
    asked = sorted({stem for stems in options for stem in stems})
    if not here or not asked:
        return np.zeros(len(options))
    known = encode(here).astype(np.float64)
    common = known.mean(axis=0)
    cosines = (unit(encode(asked) - common) @ unit(known - common).T).max(axis=1)
    near = {stem: 1.0 if stem in counts else max(0.0, float(value)) for stem, value in zip(asked, cosines, strict=True)}
    values = []
    for stems in options:
        weights = [rarity(stem) for stem in stems]
        total = sum(weights)
        told = sum(weight * near[stem] ** 3 for stem, weight in zip(stems, weights, strict=True))
        values.append(told / total if total > 0 else 0.0)
    return np.asarray(values)


def mean_cosine(options: NDArray[np.float32], units: Units, background: Background) -> Floats:
    here = unit(options) @ unit(units.mean())
    return standardised(here, background.mean_cosines(options))


def best_cosine(options: NDArray[np.float32], units: Units, background: Background) -> Floats:
    here: Floats = (options @ units.vectors.T).max(axis=1).astype(np.float64)
    return standardised(here, background.best_cosines(options))


def closest(together: NDArray[np.float32], units: Units, background: Background) -> Floats:
    cosines = unit(together - background.shared) @ unit(units.vectors - background.shared).T
    return np.asarray([_mean_of_best(row, units.weights) for row in cosines])


def distinct(together: NDArray[np.float32], units: Units, background: Background) -> Floats:
    apart = unit(together - together.mean(axis=0, dtype=np.float64))
    best: Floats = (apart @ unit(units.vectors - background.shared).T).max(axis=1)
    return best


def _mean_of_best(cosines: Floats, weights: Sequence[int]) -> float:
    """Mean of the `NUM_BEST` highest, each counted as often as its weight."""
    total, left = 0.0, NUM_BEST
    for place in np.argsort(-cosines, kind="stable")[:NUM_BEST].tolist():
        times = min(left, weights[place])
        total += times * float(cosines[place])
        left -= times
    return total / (NUM_BEST - left)
