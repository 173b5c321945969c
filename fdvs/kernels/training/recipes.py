"""How the trained methods were trained: what is published of each recipe, and what is our choice where nothing is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fdvs.errors import UnknownBackendError


@dataclass(frozen=True, slots=True)
class Recipe:
    """A fine-tuning of one method.

    Attributes:
        steps: optimiser steps.
        length: tokens of a sequence.
        sequences_per_step: sequences that one optimiser step sees, over all devices.
        data: what was trained on.
        published: which of these the paper or its summaries state; all else is ours.
        unknown: what no source says.
        settings: of the method while it is trained, in place of its defaults.
    """

    steps: int
    length: int
    sequences_per_step: int
    data: str
    published: tuple[str, ...]
    unknown: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)


_SLIMPAJAMA = "SlimPajama, longer documents drawn more often within each of its sources"

RECIPES: dict[str, Recipe] = {
    # CCA 2412.12465 and its README: all weights, or the projections of queries, keys and values alone.
    "cca": Recipe(
        steps=1000,
        length=32_768,
        sequences_per_step=8,
        data=_SLIMPAJAMA,
        published=("steps", "data"),
        unknown=("learning rate", "optimiser", "sequences per step", "length of the sequences it was trained on"),
    ),
    # DGA 2505.22107: eight devices, one sequence each at a time, eight times before a step.
    "dga": Recipe(
        steps=1000,
        length=32_768,
        sequences_per_step=64,
        data=_SLIMPAJAMA,
        published=("steps", "sequences_per_step", "data"),
        unknown=("learning rate", "optimiser", "length of the sequences it was trained on"),
    ),
    # LCA 2604.12452: one summary says sequences of 32K, another up to 64K.
    "lca": Recipe(
        steps=1000,
        length=32_768,
        sequences_per_step=8,
        data=_SLIMPAJAMA,
        published=("steps", "length", "data"),
        unknown=("learning rate", "optimiser", "sequences per step"),
    ),
}
"""Recipes by method. The methods that are not here were published for models as they are and need no training."""

LEARNING_RATE = 2e-5
"""Ours: none of the papers' texts that are known to us names one. It is what continued training of models of seven
thousand million weights on long text usually takes; small models take more."""


def recipe_of(method: str) -> Recipe:
    """The recipe of a method.

    Raises:
        UnknownBackendError: the method has none; the message lists those that have.
    """
    if method not in RECIPES:
        raise UnknownBackendError("recipe for a method", method, sorted(RECIPES))
    return RECIPES[method]
