"""What is spotted of shot borders while the pictures of a film go by: plain times, as they are stored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signs:
    """Display times (pts), each tuple in time order.

    Attributes:
        cuts: pictures that show something else than the one before.
        mixtures: sampled pictures that are a mixture of those a moment before and after: inside a fade or dissolve.
        darkness: (pts, black) of the first picture, and of each at which black begins or ends.
    """

    cuts: tuple[int, ...] = ()
    mixtures: tuple[int, ...] = ()
    darkness: tuple[tuple[int, bool], ...] = ()
