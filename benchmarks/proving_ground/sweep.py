"""Settings of each method, from the one that keeps most to the one that keeps least, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.proving_ground.evaluation import kept_share_of
from fdvs.kernels.methods.base import Method, Prompt
from fdvs.kernels.names import open_method

SHARES = (0.5, 0.25, 0.125, 0.06)
"""Shares of dense attention's pairs that a plan may compute, which every method is brought as near to as it goes."""

WINDOW = 64
"""Newest tokens that all methods with a window see: the questions of a prompt, and little else."""

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ladder:
    """One method in one variant.

    Attributes:
        method: its name.
        variant: in words, what is changed against the method as published; empty for nothing.
        steps: settings, the one that keeps most first.
        is_trained: whether the method was published as one to train a model with.
    """

    method: str
    variant: str
    steps: Sequence[Settings]
    is_trained: bool = False

    @property
    def label(self) -> str:
        return f"{self.method}, {self.variant}" if self.variant else self.method


@dataclass(frozen=True, slots=True)
class Setting:
    """One method with its settings, chosen for a share."""

    ladder: Ladder
    settings: Settings
    target: float

    def open(self) -> Method:
        return open_method(self.ladder.method, **self.settings)

    @property
    def words(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.settings.items())


def _groups(**common: Any) -> list[Settings]:
    sizes = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
    return [{"window": WINDOW, "group": size, **common} for size in sizes]


def _focal(**common: Any) -> list[Settings]:
    pairs = (
        (0.45, 8),
        (0.4, 8),
        (0.3, 8),
        (0.2, 8),
        (0.2, 16),
        (0.15, 16),
        (0.1, 16),
        (0.05, 16),
        (0.05, 32),
        (0.02, 32),
    )
    return [{"window": WINDOW, "focal_share": share, "group": size, **common} for share, size in pairs]


_PARTS = (0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.16, 0.12, 0.09, 0.06, 0.04, 0.02, 0.01)

_MASSES = (0.999, 0.99, 0.97, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
_TILES: Settings = {"block": 32}
"""Smaller than published: 2K tokens are sixteen of the published blocks, too few to choose among."""

LADDERS: tuple[Ladder, ...] = (
    Ladder("dense", "", [{}]),
    Ladder("tca", "", [{"window": WINDOW, "share": share} for share in _PARTS]),
    Ladder("hybrid", "", [{"window": WINDOW, "share": share} for share in _PARTS]),
    Ladder("hybrid", "by mass", [{"window": WINDOW, "select_by": "mass", "mass": mass} for mass in _MASSES]),
    Ladder("cca", "", _groups(), is_trained=True),
    Ladder("cca", "log-count", _groups(bias="log_count")),
    Ladder("lca", "", _groups(), is_trained=True),
    Ladder("lca", "matched weight", _groups(bias="matched")),
    Ladder("lca", "anchors only, matched", _groups(bias="matched", value_rule="anchor")),
    Ladder("dga", "", _focal(), is_trained=True),
    Ladder("dga", "log-count", _focal(bias="log_count")),
    Ladder("blocks", "", [{**_TILES, "local": 2, "sinks": 1, "share": share} for share in _PARTS]),
    Ladder(
        "blocks",
        "no mean correction",
        [{**_TILES, "local": 2, "sinks": 1, "share": share, "corrects_mean": False} for share in _PARTS],
    ),
    Ladder("flexprefill", "", [{**_TILES, "min_budget": 64, "gamma": mass} for mass in _MASSES]),
    Ladder("xattention", "", [{**_TILES, "threshold": mass} for mass in _MASSES]),
    Ladder(
        "grid", "", [{"block": 16, "window": WINDOW, "sinks": 16, "stride": stride} for stride in (2, 4, 8, 16, 32)]
    ),
)


def choose(ladder: Ladder, prompt: Prompt, shares: Sequence[float] = SHARES) -> list[Setting]:
    """For each share the settings whose plan of `prompt` comes nearest to it; those that serve two shares once."""
    kept = [(kept_share_of(open_method(ladder.method, **step), prompt), step) for step in ladder.steps]
    chosen: list[Setting] = []
    for target in shares:
        _, settings = min(kept, key=lambda pair: abs(pair[0] - target))
        if all(settings is not other.settings for other in chosen):
            chosen.append(Setting(ladder, settings, target))
    return chosen
