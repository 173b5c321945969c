"""What captions of other videos say: against it, what one video says stands out.

A word that every video has tells nothing, and an option that is like everything is like this video too. So words are
weighed by how few other videos have them, vectors lose what all videos share, and a cosine counts by how far it lies
above what the same option reaches on other videos.

Where there are no other videos every word weighs the same, nothing is taken from the vectors, and a cosine counts as it
is; with a few of them it lies in between (`standardised`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
T = TypeVar("T")

MAX_VIDEOS = 100  # others that means and cosines are taken from
MAX_UNITS = 100  # of each of them
_DOUBT = 1000.0  # stems' worth of doubt in how common a stem is
_TYPICAL_SPREAD = 0.1  # of an option's cosines from video to video; measured 0.09 to 0.11 on two sets of captions
_PRIOR_VIDEOS = 4  # so many imagined videos stand beside the real ones when mean and spread are taken


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The captions (units) of one video that a choice is made from.

    Attributes:
        vectors: unit float32 [N, D].
        stems: telling stems of each.
        weights: [N] how many captions each stands for (multiplicity); it counts that often.
    """

    vectors: NDArray[np.float32]
    stems: Sequence[Sequence[str]]
    weights: Sequence[int]

    def counts(self) -> Counter[str]:
        """{stem: occurrences}, multiplicity included."""
        counted: Counter[str] = Counter()
        for stems, weight in zip(self.stems, self.weights, strict=True):
            for stem in stems:
                counted[stem] += weight
        return counted

    def mean(self) -> Floats:
        """[D] mean of the vectors, multiplicity included."""
        mean: Floats = np.average(self.vectors.astype(np.float64), axis=0, weights=self.weights)
        return mean

    def thinned(self, most: int) -> Units:
        """At most so many of the units, evenly spread."""
        places = evenly(range(len(self.vectors)), most)
        stems = [self.stems[place] for place in places]
        return Units(self.vectors[list(places)], stems, [self.weights[place] for place in places])


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """How common stems are in other videos.

    Attributes:
        num_videos, total: how many other videos there are, and stems in them.
        having: how many of these videos have a stem.
        count: how often the stem occurs in them.
    """

    num_videos: int
    total: int
    having: Callable[[str], int]
    count: Callable[[str], int]

    def rarity(self, stem: str) -> float:
        """How much a stem tells: ln((V + 1) / (v + 0.5)) where v of V videos have it."""
        return math.log((self.num_videos + 1) / (self.having(stem) + 0.5))

    def share(self, stem: str) -> float:
        """How likely a stem is anywhere; above 0 also for one that was never seen."""
        return (self.count(stem) + 0.5) / (self.total + _DOUBT)


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """Statistics of V other videos; V may be 0.

    Attributes:
        means: [V, D] mean vector of each video's units.
        vectors: [N, D] the units of all of them, one video after the other.
        starts: [V] where each video's units begin.
        words: what is known of single stems.
    """

    means: Floats
    vectors: NDArray[np.float32]
    starts: NDArray[np.int64]
    words: Words

    @property
    def shared(self) -> Floats:
        """[D] what all videos have in common: the mean of their means, zeros where there are none."""
        return self.means.mean(axis=0) if len(self.means) else np.zeros(self.means.shape[1])

    def mean_cosines(self, options: NDArray[np.float32]) -> Floats:
        """[O, V] cosine of each option and the mean of each other video."""
        return unit(options) @ unit(self.means).T

    def best_cosines(self, options: NDArray[np.float32]) -> Floats:
        """[O, V] best cosine of each option and any unit of each other video."""
        if not len(self.starts):
            return np.zeros((len(options), 0))
        best: Floats = np.maximum.reduceat(options @ self.vectors.T, self.starts, axis=1).astype(np.float64)
        return best


def background_of(others: Sequence[Units], dimension: int, words: Words) -> Background:
    """The background that these videos make; at most `MAX_VIDEOS` of them are looked at, and `MAX_UNITS` units of
    each, evenly spread over the order given. `words` may count more videos than these."""
    some = [one.thinned(MAX_UNITS) for one in evenly(others, MAX_VIDEOS) if len(one.vectors)]
    if not some:
        return Background(np.zeros((0, dimension)), np.zeros((0, dimension), np.float32), np.zeros(0, np.int64), words)
    starts = np.cumsum([0, *(len(one.vectors) for one in some[:-1])]).astype(np.int64)
    means = np.stack([one.mean() for one in some])
    return Background(means, np.concatenate([one.vectors for one in some]), starts, words)


def evenly(items: Sequence[T], most: int) -> Sequence[T]:
    """At most so many of the items, evenly spread, the first among them."""
    return items if len(items) <= most else [items[i * len(items) // most] for i in range(most)]


def standardised(here: Floats, elsewhere: Floats) -> Floats:
    """How far each option's value lies above what it reaches on other videos, in spreads.

    `_PRIOR_VIDEOS` more, on which all options do equally well with a typical spread, count beside the real ones, so
    that two or three other videos do not decide by chance; without any, differences are in typical spreads.

    Args:
        here: [O] values on this video.
        elsewhere: [O, V] values on the others.
    """
    num_videos = elsewhere.shape[1]
    total = num_videos + _PRIOR_VIDEOS
    usual = float(elsewhere.mean()) if elsewhere.size else 0.0
    means = (elsewhere.sum(axis=1) + _PRIOR_VIDEOS * usual) / total
    squares = ((elsewhere - elsewhere.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) if num_videos else 0.0
    spreads = np.sqrt((squares + _PRIOR_VIDEOS * _TYPICAL_SPREAD**2) / total)
    result: Floats = (here - means) / spreads
    return result


def unit(rows: NDArray[np.floating[Any]]) -> Floats:
    """The rows at length 1, in float64; a row of zeros stays one."""
    wide = rows.astype(np.float64)
    lengthened: Floats = wide / np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), 1e-9)
    return lengthened
