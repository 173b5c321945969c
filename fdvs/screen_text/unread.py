"""Text that was seen and not read, though it was plain enough to be read: letters that the reader does not know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fdvs.records import clock
from fdvs.screen_text.boxes import ASPECT, Box, height, x_shared, y_shared
from fdvs.screen_text.gate import LOOK_EVERY_MS
from fdvs.screen_text.readings import Reading, ReadLine
from fdvs.screen_text.texts import in_known_letters

# Of letters it knows the reader is surer than this even when most are blurred, as in small credits that roll; of all
# others it is less sure (docs/languages.md).
READ_SCORE = 0.8
# A line read in a place lies in it by this share of the smaller of the two, in width and in height.
SAME_PLACE = 0.5
# In thousandths of the picture's height: what is lower may be unread for being small, what is higher is a drawn title
# or no text at all.
LEAST_HEIGHT, MOST_HEIGHT = 40, 250
# Width over height of a line of two or three words: what is shorter may be a logo, a number or a label.
LEAST_LENGTH = 4
# For less time in all it may be a sign at the roadside, or a pattern that the detector takes for text.
LEAST_MS = 10_000
# Of the time in which text is seen: where most is read, what is not is decoration.
LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Unread:
    """When text that could not be read was first seen, and how long there was such text in all."""

    first_ms: int
    duration_ms: int

    @property
    def warning(self) -> str:
        return (
            f"text on the screen could not be read: first at {clock(self.first_ms)}, "
            f"{round(self.duration_ms / 1000)} seconds in all. The reader knows Latin letters, Chinese and Japanese"
        )


@dataclass(frozen=True, slots=True)
class _Held:
    """A look and the time that it holds for: until the next one, of time that was skipped no more than between two
    looks at moving pictures."""

    look: Reading
    duration_ms: int


def unread_text(readings: Iterable[Reading]) -> Unread | None:
    """What could not be read in a video; None where that is little.

    Args:
        readings: of the whole video, in time order.
    """
    seen = [(held, _is_read(held.look)) for held in _held(readings) if _plain(held.look.places)]
    unread = [held for held, is_read in seen if not is_read]
    duration_ms = sum(held.duration_ms for held in unread)
    in_all_ms = sum(held.duration_ms for held, _ in seen)
    if duration_ms < LEAST_MS or duration_ms < LEAST_SHARE * in_all_ms:
        return None
    return Unread(unread[0].look.span.start_ms, duration_ms)


def _held(readings: Iterable[Reading]) -> list[_Held]:
    found: list[_Held] = []
    for reading in readings:
        lasts_ms = reading.span.duration_ms
        if reading.outcome in ("read", "no_text"):
            found.append(_Held(reading, lasts_ms))
        elif found:
            more_ms = min(lasts_ms, LOOK_EVERY_MS) if reading.outcome == "skipped" else lasts_ms
            found[-1] = replace(found[-1], duration_ms=found[-1].duration_ms + more_ms)
    return found


def _plain(places: Sequence[Box]) -> list[Box]:
    """The places of plain lines of text."""
    return [place for place in places if _is_plain(place)]


def _is_plain(place: Box) -> bool:
    high = height(place)
    return LEAST_HEIGHT <= high <= MOST_HEIGHT and ASPECT * (place[2] - place[0]) >= LEAST_LENGTH * high


def _is_read(look: Reading) -> bool:
    """Whether at least half of the plain lines were read."""
    places = _plain(look.places)
    return 2 * sum(any(_read_in(place, line) for line in look.lines) for place in places) >= len(places)


def _read_in(place: Box, line: ReadLine) -> bool:
    shared = min(x_shared(place, line.box), y_shared(place, line.box))
    return line.score >= READ_SCORE and in_known_letters(line.text) and shared >= SAME_PLACE
