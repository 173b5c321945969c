"""What happens between neighbouring samples: nothing, motion, a change at once, a cut, a change of light.

Thresholds were set on hard cuts found frame by frame in films, and on talks, fixed cameras and first-person video
without any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.captioners.facts import Change, Light

STILL_SHARE = 0.004  # four of 1024 cells: less is compression noise or a mouse pointer
STEP_SHARE = 0.01  # a step in a still picture: one new line of text on a slide
STEP_CUT_SHARE = 0.5  # so much new at once in a still picture is another picture, not a step

CUT_CHANGED = 0.4  # a cut changes at least so much,
CUT_REGION, CUT_REGIONS = 0.3, 7  # and that in (almost) all of the 3×3 regions; besides, one of:
CUT_ALIKE, CUT_COLOURS = 0.45, 0.22  # the aligned pictures do not look alike, and their colours differ somewhat
OTHER_ALIKE, OTHER_COLOURS = 0.7, 0.4  # their colours are quite other
LONE_ALIKE, LONE_COLOURS, LONE_RATIO = 0.6, 0.08, 2.0  # it changes at least twice as much as the steps around it,
UNLIKE = 0.3  # even in the same colours when nothing is alike

LIGHT_SEEN = 0.02  # change of mean luma (0..1) between two samples that is not compression noise
LIT_CHANGE, LIT_RATIO, LIT_ALIKE = 0.04, 1.3, 0.9  # the same picture, in another light
LIGHT_CHANGE = 0.12  # change of mean luma within one shot that a viewer notices without looking for it
FLASH_LIGHT = 0.18  # a sample this much lighter than both neighbours,
FLASH_ALIKE, FLASH_WHITE = 0.5, 0.9  # which shows the same picture or nothing but white
FLASH_COLOURS = 0.22  # and whose neighbours have the same colours


def colour_gap(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """How much two sets of colour shares differ: 0 equal, 1 no colour in common; rounded."""
    return round(0.5 * float(np.abs(first - second).sum()), 3)


@dataclass(frozen=True, slots=True)
class Steps:
    """The P steps between T samples; all numbers are rounded to 1e-3.

    Attributes:
        changed: [P] share of the picture that changes, the camera's motion taken out where it is known.
        regions: [P][9] the same for the 3×3 regions.
        alike: [P] correlation of the aligned pictures.
        colours: [T, 13] colour shares.
        light: [T] mean luma.
        black: [T] nothing can be seen.
        moving: [P] the camera is known to move.
    """

    changed: tuple[float, ...]
    regions: tuple[tuple[float, ...], ...]
    alike: tuple[float, ...]
    colours: NDArray[np.float64]
    light: tuple[float, ...]
    black: tuple[bool, ...]
    moving: tuple[bool, ...]

    def kinds(self) -> list[Change]:
        """[P] what happens in each step."""
        flashes = self.flashes()
        kinds = [Change.LIGHT if i in flashes or i + 1 in flashes else self._kind(i) for i in range(len(self.changed))]
        return self._with_dissolves(_with_steps(kinds, self.changed))

    def flashes(self) -> list[int]:
        """Samples that are a flash: much lighter than both neighbours, and the same picture or white."""
        found = []
        for i in range(1, len(self.light) - 1):
            lighter = round(self.light[i] - max(self.light[i - 1], self.light[i + 1]), 3)
            same = min(self.alike[i - 1], self.alike[i]) >= FLASH_ALIKE or self.light[i] >= FLASH_WHITE
            if lighter >= FLASH_LIGHT and same:
                around = colour_gap(self.colours[i - 1], self.colours[i + 1])
                found += [i] if around < FLASH_COLOURS else []
        return found

    def _kind(self, i: int) -> Change:
        if self.black[i] or self.black[i + 1]:
            return Change.STILL if self.black[i] and self.black[i + 1] else Change.LIGHT
        if self._is_cut(i):
            return Change.CUT
        low, high = sorted(self.light[i : i + 2])
        lit = round(high - low, 3)
        if not self.moving[i] and lit >= LIT_CHANGE and high >= LIT_RATIO * low and self.alike[i] >= LIT_ALIKE:
            return Change.LIGHT
        if self.moving[i] or self.changed[i] >= STILL_SHARE:
            return Change.MOTION
        return Change.LIGHT if lit >= LIGHT_SEEN else Change.STILL

    def _is_cut(self, i: int) -> bool:
        changed, alike = self.changed[i], self.alike[i]
        if changed < CUT_CHANGED or sum(region >= CUT_REGION for region in self.regions[i]) < CUT_REGIONS:
            return False
        colours = colour_gap(self.colours[i], self.colours[i + 1])
        around = [self.changed[j] for j in (i - 1, i + 1) if 0 <= j < len(self.changed)]
        alone = bool(around) and changed >= LONE_RATIO * max(around)
        return (
            (alike < CUT_ALIKE and colours >= CUT_COLOURS)
            or (alike < OTHER_ALIKE and colours >= OTHER_COLOURS)
            or (alone and (alike < UNLIKE or (alike < LONE_ALIKE and colours >= LONE_COLOURS)))
        )

    def _with_dissolves(self, kinds: list[Change]) -> list[Change]:
        """Two steps in a row between two pictures that stand are one cut where one of them changes most of the picture:
        a sample fell into a dissolve. The lesser step is put down to light."""
        result = list(kinds)
        for i in range(1, len(kinds) - 2):
            both = (i, i + 1)
            stands = kinds[i - 1] == kinds[i + 2] == Change.STILL
            turns = all(kinds[j] in (Change.MOTION, Change.CUT) for j in both)
            most = max(self.changed[j] for j in both) >= STEP_CUT_SHARE
            if stands and turns and most and colour_gap(self.colours[i], self.colours[i + 2]) >= LONE_COLOURS:
                cut = max(both, key=lambda j: self.changed[j])
                result[i], result[i + 1] = Change.LIGHT, Change.LIGHT
                result[cut] = Change.CUT
        return result


def _with_steps(kinds: list[Change], changed: tuple[float, ...]) -> list[Change]:
    """Motion in one step only, with nothing moving before and after, is a change at once."""
    result = list(kinds)
    for i, kind in enumerate(kinds):
        around = [kinds[j] for j in (i - 1, i + 1) if 0 <= j < len(kinds)]
        if kind == Change.MOTION and around and all(other == Change.STILL for other in around):
            if changed[i] >= STEP_CUT_SHARE:
                result[i] = Change.CUT
            elif changed[i] >= STEP_SHARE:
                result[i] = Change.STEP
    return result


def light_change(steps: Steps, kinds: Sequence[Change]) -> Light:
    """How the light goes within the shots of the clip; the first of fade, flash, brighter or darker that holds."""
    light, black = steps.light, steps.black
    if black[0] != black[-1]:
        return Light.FADE_IN if black[0] else Light.FADE_OUT
    if steps.flashes():
        return Light.FLASH
    start, largest = 0, 0.0
    for i in range(len(light)):
        if i == len(light) - 1 or kinds[i] == Change.CUT:
            largest = max(largest, round(light[i] - light[start], 3), key=abs)
            start = i + 1
    if abs(largest) < LIGHT_CHANGE:
        return Light.STEADY
    return Light.BRIGHTER if largest > 0 else Light.DARKER
