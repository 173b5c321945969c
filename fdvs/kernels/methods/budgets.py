"""How many tokens each head keeps: distributions over what a block may keep, and their file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from fdvs.errors import InputError, ShapeError
from fdvs.kernels.methods.selection import Selection

PUBLISHED_SHARE = 0.39
"""Share of columns that TCA keeps on average at 128K: its published cache is 61 % smaller."""

UNIFORM_SPREAD = 2.0
"""sigma, in octaves of kept tokens, of the one distribution that all heads share in `Budgets.uniform`. Our choice."""


@dataclass(frozen=True, slots=True)
class HeadBudget:
    """What one KV head keeps.

    Attributes:
        proportions: for each of the counts 1, 2, 4, …, b, the fraction of blocks that keep that many tokens; sums to 1.
        retained_mass: share of the attention that was measured to stay, in 0…1, or None where nothing was measured.
    """

    proportions: tuple[float, ...]
    retained_mass: float | None = None

    def __post_init__(self) -> None:
        if (
            not self.proportions
            or min(self.proportions) < 0
            or not math.isclose(sum(self.proportions), 1, abs_tol=1e-6)
        ):
            raise InputError(f"proportions are at least 0 and sum to 1, got {list(self.proportions)}")

    @property
    def share(self) -> float:
        """Share of the tokens that is kept, rho: the sum of k × p_k, over b."""
        counts = [1 << power for power in range(len(self.proportions))]
        return sum(count * p for count, p in zip(counts, self.proportions, strict=True)) / counts[-1]


@dataclass(frozen=True, slots=True)
class Budgets:
    """Budgets of all heads of a model, or one for all of them.

    A budget belongs to a KV head, not to a query head: a cache shrinks only if the query heads of a KV head share one
    selection. Our choice; the paper's budgets are for heads, and it does not say how they meet grouped queries.

    Attributes:
        selection: how tokens are selected, which a budget was measured with or is meant for.
        heads: for each attention layer, by its number in the model, one budget for each KV head. Empty: `shared` holds
            for all.
        shared: the budget of every head of every layer, where nothing was calibrated.
        window: newest tokens that were seen as they are when this was measured; None where nothing was.
        target: retained mass that was asked for; None where nothing was measured.
        model: name of the model it was measured on; None where nothing was.
        settings: further settings of the measurement, kept for the record.
    """

    selection: Selection
    heads: Mapping[int, Sequence[HeadBudget]] = field(default_factory=dict)
    shared: HeadBudget | None = None
    window: int | None = None
    target: float | None = None
    model: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.heads) == (self.shared is not None):
            raise InputError("budgets are either for each head or one for all of them")
        num_counts = len(self.selection.counts)
        for budget in self.all():
            if len(budget.proportions) != num_counts:
                raise ShapeError(
                    f"a block of {self.selection.block} has {num_counts} proportions, got {len(budget.proportions)}"
                )

    @classmethod
    def uniform(cls, share: float, selection: Selection | None = None) -> Budgets:
        """Every head keeps the same share, measured on nothing: for tests, sweeps and models not yet calibrated.

        The proportions are log-Gaussian with a spread of `UNIFORM_SPREAD`, its centre put where rho is `share`.

        Raises:
            InputError: `share` is more than 1 or less than one token of a block.
        """
        selection = Selection() if selection is None else selection
        least = 1 / selection.block
        if not least <= share <= 1:
            raise InputError(f"a block of {selection.block} keeps a share of {least:.4g} … 1, got {share}")
        return cls(selection, shared=HeadBudget(_proportions_of_share(share, len(selection.counts))))

    @property
    def is_calibrated(self) -> bool:
        """Whether the budgets were measured on a model."""
        return bool(self.heads)

    def all(self) -> list[HeadBudget]:
        """Every budget there is."""
        if self.shared is not None:
            return [self.shared]
        return [budget for layer in sorted(self.heads) for budget in self.heads[layer]]

    def of_layer(self, layer: int, heads_k: int) -> Tensor:
        """`[Hk, K]` float64 on the CPU, or `[1, K]` where all heads share one: the proportions of a layer.

        Raises:
            InputError: the layer was not calibrated.
            ShapeError: the layer has another number of KV heads.
        """
        if self.shared is not None:
            return torch.tensor([self.shared.proportions], dtype=torch.float64)
        if layer not in self.heads:
            raise InputError(f"no budgets for layer {layer}; there are some for {_listed(self.heads)}")
        if len(self.heads[layer]) != heads_k:
            raise ShapeError(f"layer {layer} has {heads_k} KV heads, the budgets are for {len(self.heads[layer])}")
        return torch.tensor([budget.proportions for budget in self.heads[layer]], dtype=torch.float64)


def log_gaussian(centre: float, spread: float, num_counts: int) -> tuple[float, ...]:
    """Proportions p_k of the counts 1, 2, 4, …: exp(-(log2 k - centre)² / (2 spread²)), made to sum to 1.

    Args:
        centre: mu, log2 of the most frequent count; it may lie outside the counts there are.
        spread: sigma, in octaves.
    """
    if not spread > 0:
        raise InputError(f"the spread has to be positive, got {spread}")
    logs = [-((power - centre) ** 2) / (2 * spread**2) for power in range(num_counts)]
    highest = max(logs)  # a centre far outside would make every term underflow
    weights = [math.exp(value - highest) for value in logs]
    return tuple(weight / sum(weights) for weight in weights)


@cache
def _proportions_of_share(share: float, num_counts: int) -> tuple[float, ...]:
    """Log-Gaussian proportions with this rho; the two ends are all blocks at one count, which no centre reaches."""
    for power, is_end in ((0, share * (1 << (num_counts - 1)) <= 1), (num_counts - 1, share >= 1)):
        if is_end:
            return tuple(float(n == power) for n in range(num_counts))
    low, high = -100.0 * num_counts, 100.0 * num_counts
    for _ in range(100):
        middle = (low + high) / 2
        if HeadBudget(log_gaussian(middle, UNIFORM_SPREAD, num_counts)).share < share:
            low = middle
        else:
            high = middle
    return log_gaussian((low + high) / 2, UNIFORM_SPREAD, num_counts)


def _listed(numbers: Mapping[int, object]) -> str:
    return ", ".join(str(number) for number in sorted(numbers))
