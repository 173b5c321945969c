"""What each served layer kept of the latest batch of prompts, and what came of all prompts so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fdvs.kernels.plugs.transformers.cache import KeptRow


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer and the latest batch.

    Attributes:
        layer: its index.
        kept_share: query–key and query–entry pairs computed for the prompts, over those of causal attention.
        retained_mass: mean attention weight on tokens seen as they are, in 0…1; None where it was not measured.
        logical_entries: tokens that the cache was given per KV head, over all rows.
        physical_entries: entries that it holds.
    """

    layer: int
    kept_share: float
    retained_mass: float | None
    logical_entries: int
    physical_entries: int


@dataclass(frozen=True, slots=True)
class Totals:
    """All prompts since the plug was put in. Those of several layers add up to `pairs` only.

    Attributes:
        planned, dense: prompts that were planned, and those too short for it.
        pairs, dense_pairs: of the planned ones: pairs computed, and those of causal attention.
    """

    planned: int = 0
    dense: int = 0
    pairs: int = 0
    dense_pairs: int = 0

    def words(self) -> str:
        """For people: how many prompts were planned, and what of them was computed."""
        share = f", {self.pairs / self.dense_pairs:.0%} of their pairs computed" if self.dense_pairs else ""
        return f"{self.planned} prompts attended by plan{share}; {self.dense} shorter ones in full"


class LayerRecord:
    """Counts while a layer works; plain numbers, so that no cache is kept alive by them."""

    def __init__(self, layer: int) -> None:
        self._layer = layer
        self.totals = Totals()
        self.begin()

    def begin(self) -> None:
        """A new batch of prompts: what was counted before is of the past."""
        self._pairs = self._dense_pairs = self._logical = self._physical = 0
        self._masses: list[float] = []

    def add(self, *, is_planned: bool, pairs: int, dense_pairs: int, retained_mass: float | None) -> None:
        """One prompt."""
        self._pairs += pairs
        self._dense_pairs += dense_pairs
        was = self.totals
        if is_planned:
            self.totals = Totals(was.planned + 1, was.dense, was.pairs + pairs, was.dense_pairs + dense_pairs)
        else:
            self.totals = replace(was, dense=was.dense + 1)
        if retained_mass is not None:
            self._masses.append(retained_mass)

    def keeps(self, rows: Sequence[KeptRow | None]) -> None:
        """What the cache holds now."""
        self._logical = sum(row.num_tokens for row in rows if row is not None)
        self._physical = sum(row.num_entries for row in rows if row is not None)

    def holds(self, num_tokens: int, *, are_more: bool = False) -> None:
        """A cache that keeps every token was given so many, in all or more."""
        self._logical = self._physical = num_tokens + (self._logical if are_more else 0)

    @property
    def is_empty(self) -> bool:
        return not self._dense_pairs

    def report(self) -> LayerReport:
        return LayerReport(
            self._layer,
            self._pairs / max(self._dense_pairs, 1),
            sum(self._masses) / len(self._masses) if self._masses else None,
            self._logical,
            self._physical,
        )
