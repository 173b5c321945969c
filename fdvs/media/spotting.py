"""Signs of shot borders, spotted while the pictures of a film go by once.

Every sign is decided from the pictures at most half a second (or four pictures) away, so it does not matter where
reading began. What the signs mean together is decided later, in `shots`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median_low

from fdvs.media.replaced import Thumb, difference, is_mixture, replaced
from fdvs.media.signs import Signs

# How far a verdict looks to either side: this long, and this many pictures where fewer fall into it.
REACH_MS = 500
REACH_PICTURES = 4
# A picture that comes back within this time was never left: a flash, a dropped picture, a blink to black.
RETURN_MS = 250
# All in thousandths. Where things move, a cut replaces two thirds of the structure, and the pictures differ twice as
# much as those around; where next to nothing moves (slides, screens) a smaller part will do that stands out clearly.
_MOST_OF_IT = 667
_TWICE = 2
_SOME_OF_IT = 150
_ALONE = 8
_STILL_LEVEL = 250  # of a code value: what a still picture differs by from coding alone
_MOVES = 20  # pictures with less replaced repeat the one before (held drawings, converted frame rates): no neighbours
_FEWEST_NEIGHBOURS = 3  # on either side
_SAMPLE_MS = 100
# A mixture is one of the pictures so many samples before and after it: short dissolves, and those of some seconds.
_MIXTURE_SAMPLES = (3, 8)


@dataclass(slots=True)
class _Seen:
    pts: int
    time_ms: int
    small: Thumb
    replaced: int  # thousandths, against the picture before
    difference: int


class Spotter:
    """Takes one picture after another (`see`) in time order; `signs` after the last."""

    def __init__(self) -> None:
        self._seen: deque[_Seen] = deque()
        self._judged = 0  # entries of `_seen` that have their verdict
        self._samples: deque[_Seen] = deque(maxlen=2 * _MIXTURE_SAMPLES[-1] + 1)
        self._cuts: list[int] = []
        self._mixtures: set[int] = set()
        self._darkness: list[tuple[int, bool]] = []
        self._before_black: _Seen | None = None

    def see(self, pts: int, time_ms: int, small: Thumb, *, black: bool) -> None:
        """Take in the next picture."""
        last = self._seen[-1] if self._seen else None
        one = _Seen(pts, time_ms, small, 0, 0)
        if last is not None:
            one.replaced, one.difference = replaced(last.small, small), difference(last.small, small)
        self._note_darkness(one, last, black=black)
        self._seen.append(one)
        while self._is_ready(time_ms):
            self._judge()
        self._sample(one, last)

    def signs(self) -> Signs:
        """All that was spotted; ends the film."""
        while self._judged < len(self._seen):
            self._judge()
        return Signs(tuple(self._cuts), tuple(sorted(self._mixtures)), tuple(self._darkness))

    def _is_ready(self, time_ms: int) -> bool:
        """Whether the next picture to be judged has all its later neighbours."""
        later = len(self._seen) - 1 - self._judged
        return later >= REACH_PICTURES and time_ms - self._seen[self._judged].time_ms > REACH_MS

    def _judge(self) -> None:
        at = self._judged
        if self._stands_out(at) and not self._returns(at):
            self._cuts.append(self._seen[at].pts)
        self._judged += 1
        # Keep what the next verdict looks back to.
        next_ms = self._seen[min(self._judged, len(self._seen) - 1)].time_ms
        while self._judged > REACH_PICTURES + 1 and next_ms - self._seen[1].time_ms > REACH_MS:
            self._seen.popleft()
            self._judged -= 1

    def _stands_out(self, at: int) -> bool:
        one = self._seen[at]
        if one.replaced < _SOME_OF_IT:
            return False
        around = [*self._neighbours(at, -1), *self._neighbours(at, 1)]
        level = median_low(around) if around else 0
        if one.replaced >= _MOST_OF_IT and one.difference >= _TWICE * level:
            return True
        return one.difference >= _ALONE * max(level, _STILL_LEVEL)

    def _neighbours(self, at: int, step: int) -> list[int]:
        """Differences of the nearest moving pictures on one side. Still ones make up for missing ones, so that a single
        other cut nearby is not taken for movement."""
        near = list(self._within(at, step, REACH_MS, REACH_PICTURES))
        moving = [one.difference for one in near if one.replaced >= _MOVES][:REACH_PICTURES]
        still = [one.difference for one in near if one.replaced < _MOVES]
        return moving + still[: max(0, _FEWEST_NEIGHBOURS - len(moving))]

    def _returns(self, at: int) -> bool:
        """Whether the picture before comes back soon after, or the picture itself was there a moment before."""
        one, before = self._seen[at], self._seen[at - 1]
        most = one.replaced * 2 // 3
        if any(replaced(before.small, later.small) < most for later in self._within(at, 1, RETURN_MS, 1)):
            return True
        earlier = list(self._within(at - 1, -1, RETURN_MS, 1))
        return any(replaced(one.small, other.small) < most for other in earlier)

    def _within(self, at: int, step: int, reach_ms: int, at_least: int) -> Iterator[_Seen]:
        """Pictures after (`step` 1) or before (-1) number `at`: those within `reach_ms`, and never fewer than
        `at_least` of them."""
        time_ms = self._seen[at].time_ms
        count = 0
        near = at + step
        while 0 <= near < len(self._seen):
            one = self._seen[near]
            count += 1
            if count > at_least and abs(one.time_ms - time_ms) > reach_ms:
                return
            yield one
            near += step

    def _note_darkness(self, one: _Seen, last: _Seen | None, *, black: bool) -> None:
        if not self._darkness:
            self._darkness.append((one.pts, black))
            return
        if black == self._darkness[-1][1]:
            return
        if black:
            self._before_black = last
        elif self._blinked(one):
            self._darkness.pop()
            return
        self._darkness.append((one.pts, black))

    def _blinked(self, one: _Seen) -> bool:
        """Whether the black that ends at `one` was but a blink: short, and the same is seen after it."""
        before = self._before_black
        if before is None or one.time_ms - before.time_ms > RETURN_MS:
            return False
        return replaced(before.small, one.small) < _MOST_OF_IT // 2

    def _sample(self, one: _Seen, last: _Seen | None) -> None:
        """Every first picture of a tenth of a second is a sample, wherever reading began."""
        if last is not None and last.time_ms // _SAMPLE_MS == one.time_ms // _SAMPLE_MS:
            return
        self._samples.append(one)
        for apart in _MIXTURE_SAMPLES:
            if len(self._samples) > 2 * apart and self._is_mixture(apart):
                self._mixtures.add(self._samples[-1 - apart].pts)

    def _is_mixture(self, apart: int) -> bool:
        """Whether the sample `apart` samples ago is a mixture of the latest and the one as far in front of it."""
        first, middle, latest = self._samples[-1 - 2 * apart], self._samples[-1 - apart], self._samples[-1]
        before_ms, after_ms = middle.time_ms - first.time_ms, latest.time_ms - middle.time_ms
        if abs(before_ms - after_ms) > _SAMPLE_MS or max(before_ms, after_ms) > (apart + 1) * _SAMPLE_MS:
            return False  # pictures are missing, or too few: the middle one is none
        return is_mixture(first.small, middle.small, latest.small)
