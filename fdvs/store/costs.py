"""What each stage of a video has taken: time here, and what it asked of models."""

from __future__ import annotations

from dataclasses import dataclass, field

from fdvs.chat.base import NO_USAGE, Usage
from fdvs.store.database import Database

FRAMES, CAPTIONS, STORY = "frames", "captions", "story"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one stage has taken. Adds up.

    Attributes:
        seconds: wall-clock time of the stage's own work.
        waited_s: wall-clock time in which there was nothing to do but wait for a model.
        usage: what was asked of models; its `seconds` add up over requests that ran side by side.
    """

    seconds: float = 0.0
    waited_s: float = 0.0
    usage: Usage = field(default=NO_USAGE)

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.waited_s + other.waited_s, self.usage + other.usage)

    def __sub__(self, earlier: Cost) -> Cost:
        return Cost(self.seconds - earlier.seconds, self.waited_s - earlier.waited_s, self.usage - earlier.usage)


class CostRows(Database):
    """Operations on costs. `made_with` is the key of what the stage makes."""

    def add_cost(self, video_id: str, stage: str, made_with: str, cost: Cost) -> None:
        """Add to what a stage has taken; in the same transaction as what it made, so that a killed run counts too."""
        usage = cost.usage
        values = (
            cost.seconds,
            cost.waited_s,
            usage.requests,
            usage.retries,
            usage.tokens_in,
            usage.tokens_out,
            usage.images,
            usage.seconds,
        )
        with self.writing() as db:
            db.execute(
                "INSERT INTO costs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (video_id, stage, made_with) DO UPDATE SET seconds = seconds + excluded.seconds, "
                "waited_s = waited_s + excluded.waited_s, requests = requests + excluded.requests, "
                "retries = retries + excluded.retries, tokens_in = tokens_in + excluded.tokens_in, "
                "tokens_out = tokens_out + excluded.tokens_out, images = images + excluded.images, "
                "model_s = model_s + excluded.model_s",
                (video_id, stage, made_with, *values),
            )

    def costs(self) -> dict[str, dict[str, Cost]]:
        """{video id: {stage: what it has taken in all}}, over everything it was ever made with."""
        found: dict[str, dict[str, Cost]] = {}
        with self.reading() as db:
            for video_id, stage, seconds, waited_s, *usage in db.execute(
                "SELECT video_id, stage, sum(seconds), sum(waited_s), sum(requests), sum(retries), sum(tokens_in), "
                "sum(tokens_out), sum(images), sum(model_s) FROM costs "
                "GROUP BY video_id, stage ORDER BY video_id, stage"
            ):
                found.setdefault(video_id, {})[stage] = Cost(seconds, waited_s, Usage(*usage))
        return found
