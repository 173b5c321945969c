"""What models and decoding took of each video: for the table at the end of a build, and for `fdvs status --costs`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fdvs.chat.base import Usage
from fdvs.chat.hosts import TokenEstimate, cost_of
from fdvs.settings import RunSettings
from fdvs.store.costs import CAPTIONS, FRAMES, Cost
from fdvs.store.library import Store


@dataclass(frozen=True, slots=True)
class VideoCosts:
    """What one video has taken.

    Attributes:
        stages: {stage: what it took}, of `frames`, `captions` and `story`; only where a model was asked.
    """

    video: str
    video_id: str
    stages: Mapping[str, Cost]

    @property
    def bound(self) -> str:
        """`model` where its captions were waited for longer than its pictures took to decode, else `decode`."""
        waited = self.stages.get(CAPTIONS, Cost()).waited_s
        return "model" if waited > self.stages.get(FRAMES, Cost()).seconds else "decode"

    @property
    def usage(self) -> Usage:
        return sum((cost.usage for cost in self.stages.values()), Usage())

    def to_json(self) -> dict[str, Any]:
        stages = {stage: _stage_to_json(cost) for stage, cost in self.stages.items()}
        return {"video": self.video, "video_id": self.video_id, "bound": self.bound, "stages": stages}


def _stage_to_json(cost: Cost) -> dict[str, Any]:
    usage = cost.usage
    return {
        "seconds": round(cost.seconds, 3),
        "waited_s": round(cost.waited_s, 3),
        "requests": usage.requests,
        "retries": usage.retries,
        "tokens_in": usage.tokens_in,
        "tokens_out": usage.tokens_out,
        "images": usage.images,
    }


def costs_of(store: Store) -> list[VideoCosts]:
    """What the videos of a library have taken in all runs, by name; those without a model are left out."""
    costs = store.costs()
    named = sorted((name, video_id) for video_id, name in store.video_names().items() if video_id in costs)
    return [VideoCosts(name, video_id, costs[video_id]) for name, video_id in named]


def spent_since(before: Iterable[VideoCosts], after: Iterable[VideoCosts]) -> tuple[VideoCosts, ...]:
    """What was spent between two looks; videos of which nothing was are left out."""
    known = {one.video_id: one.stages for one in before}
    spent = []
    for one in after:
        old = known.get(one.video_id, {})
        stages = {stage: cost - old.get(stage, Cost()) for stage, cost in one.stages.items()}
        stages = {stage: cost for stage, cost in stages.items() if cost != Cost()}
        if stages:
            spent.append(VideoCosts(one.video, one.video_id, stages))
    return tuple(spent)


def price_of(usage: Usage, run: RunSettings) -> float | None:
    """The estimated price of what was asked, in the currency of the prices; None where none is set."""
    if not run.price_in and not run.price_out:
        return None
    return cost_of(TokenEstimate(usage.tokens_in, usage.tokens_out), run.price_in, run.price_out)


def usage_to_json(spent: Iterable[VideoCosts], seconds: float, run: RunSettings) -> dict[str, Any]:
    """A whole build's use of models, for `summary.usage`."""
    costs = list(spent)
    total = sum((one.usage for one in costs), Usage())
    captions = sum((one.stages.get(CAPTIONS, Cost()).usage for one in costs), Usage())
    return {
        "requests": total.requests,
        "retries": total.retries,
        "images": total.images,
        "tokens_in": total.tokens_in,
        "tokens_out": total.tokens_out,
        "caption_tokens_per_s": round(captions.tokens_out / seconds, 3) if seconds else 0.0,
        "cost": price_of(total, run),
        "videos": [one.to_json() for one in costs],
    }
