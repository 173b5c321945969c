"""How much of a film is looked at: a slide that stands is, a film that moves is looked at every few seconds.

Asking the detector costs a tenth of reading. Both are paid for in seconds of film, so that a film's cost is bounded
whatever it shows. What is left out for that is told as `skipped`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fdvs.screen_text.boxes import Box

# In moving pictures, where every sample differs from the next, the least time between two looks.
LOOK_EVERY_MS = 3000
# A reading is paid for with this much of the film; so much can be saved up where little is read.
READING_MS = 3000
SAVED_AT_MOST_MS = 30_000
# A place that is text is at least this many times as long as it is wide.
LEAST_LENGTH = 1.5


@dataclass(frozen=True, slots=True)
class Pace:
    """When the detector last looked (None: never), and the film time saved up for readings until `at_ms`."""

    looked_ms: int | None = None
    saved_ms: int = SAVED_AT_MOST_MS
    at_ms: int = 0

    def may_look(self, time_ms: int, *, stands: bool) -> bool:
        """Whether to look at a sample. `stands`: the sample before it shows the same."""
        return stands or self.looked_ms is None or time_ms - self.looked_ms >= LOOK_EVERY_MS

    def looked(self, time_ms: int) -> Pace:
        saved_ms = min(SAVED_AT_MOST_MS, self.saved_ms + max(0, time_ms - self.at_ms))
        return Pace(time_ms, saved_ms, time_ms)

    @property
    def may_read(self) -> bool:
        return self.saved_ms >= READING_MS

    def read(self) -> Pace:
        return replace(self, saved_ms=self.saved_ms - READING_MS)


def is_line(box: Box, width: int, height: int) -> bool:
    """Whether a place in a picture of this size may hold a word: clearly longer than wide, lying or standing. What the
    detector takes for one letter in a landscape is none."""
    wide, high = (box[2] - box[0]) * width, (box[3] - box[1]) * height
    return max(wide, high) >= LEAST_LENGTH * min(wide, high)


def is_news(found: tuple[Box, ...], known: tuple[Box, ...], same_in: Callable[[tuple[Box, ...]], bool]) -> bool:
    """Whether a picture must be read.

    Args:
        found: where the detector sees text in it.
        known: where text was read, or seen and not read, in the picture before.
        same_in: whether nothing changed between the two inside these boxes.

    Nothing is new where all text that there was is untouched, and all text that there is was there before: then only
    the rest of the picture moves.
    """
    return not (known and same_in((*known, *found)))
