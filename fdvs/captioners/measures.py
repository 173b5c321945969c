"""Measured picture facts of one clip, from its sampled pictures squeezed to 64×64 cells.

Numbers are rounded to 1e-3 before anything is decided on them, so that decisions are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fdvs.captioners.colour import PALETTE, colour_shares
from fdvs.captioners.facts import Change, Light, PictureFacts
from fdvs.captioners.motion import CELLS, Motion, measure_motion, region_sums, shrink
from fdvs.errors import ShapeError

__all__ = ["Change", "Light", "PictureFacts", "measure_clip"]

SIDE = 64  # cells across and down of the pictures that are measured

# Light. Luma 0..1, full range.
BLACK_LIGHT, BLACK_CONTRAST = 0.045, 0.03  # a picture below both shows nothing: coded black with noise is 0.01
LIGHT_CHANGE = 0.12  # change of mean luma within one shot that a viewer notices without looking for it
LIGHT_SEEN = 0.02  # change of mean luma between two samples that is not compression noise
LIT_CHANGE, LIT_RATIO, LIT_ALIKE = 0.04, 1.3, 0.9  # the same picture, in another light
FLASH_LIGHT = 0.18  # a sample this much lighter than both neighbours,
FLASH_ALIKE, FLASH_WHITE = 0.5, 0.9  # which shows the same picture or nothing but white
BAR_LUMA = 26  # rows and columns never lighter than this (of 255) at the edges are bars
MAX_BAR = 0.3  # of one side: more is picture content

# Changes between samples.
STILL_SHARE = 0.004  # four of 1024 cells: less is compression noise or a mouse pointer
STEP_SHARE = 0.01  # a step in a still picture: one new line of text on a slide
CUT_CHANGED = 0.4  # a cut changes at least so much,
CUT_REGION, CUT_REGIONS = 0.3, 7  # and that in (almost) all of the 3×3 regions; besides, one of:
CUT_ALIKE, CUT_COLOURS = 0.45, 0.22  # the aligned pictures do not look alike, and their colours differ somewhat
OTHER_ALIKE, OTHER_COLOURS = 0.7, 0.4  # their colours are quite other
LONE_ALIKE, LONE_COLOURS, LONE_RATIO = 0.6, 0.08, 2.0  # it changes at least twice as much as the steps around it
STEP_CUT_SHARE = 0.5  # so much new at once in a still picture is another picture (the next slide), not a step

# Camera.
SUPPORT = 0.5  # half of the textured regions must agree before the camera is said to move
CAMERA_ALIKE = 0.5  # and the aligned pictures must look alike
CLEAR_SUPPORT, CLEAR_ALIKE = 0.3, 0.9  # a third is enough when the aligned pictures are almost the same
SEEN_SHIFT = 0.005  # share of the picture: smaller shifts between samples are not seen as motion
QUIET_REGION, QUIET_REGIONS = 0.06, 4  # a camera stands still when at least four regions do
STANDING_ALIKE = 0.8  # or when the pictures fit well without any shift
PAN_SPEED = 0.008  # widths per second below which a drift is not worth a word
STEADY_DIRECTION = 0.7  # |sum| / sum of |shifts|: one direction
SECOND_MOVE = 0.5  # a second direction is named when it is at least half as strong
ZOOM_REACH = 0.38  # mean distance of a cell from the centre, in picture widths: makes zoom comparable to shifts
MOVING_PAIRS = 0.5  # share of the steps that must show a state before the clip is said to be in it

MIN_COLOUR = 0.02


def _rounded(values: NDArray[np.floating]) -> tuple[float, ...]:
    """[N] values rounded to 1e-3, without negative zeros."""
    return tuple((np.round(values.astype(np.float64), 3) + 0.0).tolist())


def _bars(luma: NDArray[np.uint8]) -> tuple[slice, slice]:
    """The rows and columns of `luma` [T, 64, 64] inside constant black bars (all of them when there are none)."""
    limit = int(SIDE * MAX_BAR)

    def inside(lightest: NDArray[np.uint8]) -> slice:
        lit = np.flatnonzero(lightest > BAR_LUMA)
        if len(lit) == 0:
            return slice(0, SIDE)
        low, high = int(lit[0]), SIDE - 1 - int(lit[-1])
        if max(low, high) > limit or min(low, high) < 1:  # bars come in pairs
            return slice(0, SIDE)
        return slice(low, SIDE - high)

    lightest = luma.max(axis=0)
    return inside(lightest.max(axis=1)), inside(lightest.max(axis=0))


def _layout(cells: NDArray[np.float32]) -> tuple[int, ...]:
    """[32, 32, 3] → 27 integers: mean Y, U, V of the 3×3 regions."""
    sums = region_sums(np.moveaxis(cells, 2, 0)).T
    count = region_sums(np.ones((1, CELLS, CELLS), np.float32)).T
    return tuple(int(value) for value in np.rint(sums / count).ravel())


def _named(shares: NDArray[np.float64], limit: int) -> tuple[tuple[str, float], ...]:
    rounded = _rounded(shares)
    order = sorted(range(len(PALETTE)), key=lambda index: (-rounded[index], index))
    return tuple((PALETTE[index], rounded[index]) for index in order[:limit] if rounded[index] >= MIN_COLOUR)


def _mean_colours(
    shares: NDArray[np.float64], black: Sequence[bool], part: slice, limit: int
) -> tuple[tuple[str, float], ...]:
    """The leading colours of the samples in `part`, those that are black left out where there are others."""
    seen = np.array([not dark for dark in black[part]])
    rows = shares[part]
    return _named((rows[seen] if seen.any() else rows).mean(axis=0), limit)


def _flashes(light: tuple[float, ...], alike: tuple[float, ...], shares: NDArray[np.float64]) -> list[int]:
    """Samples that are a flash: much lighter than both neighbours, which look alike, and the same picture or white."""
    found = []
    for i in range(1, len(light) - 1):
        lighter = light[i] - max(light[i - 1], light[i + 1])
        neighbours = 0.5 * float(np.abs(shares[i - 1] - shares[i + 1]).sum())
        same = min(alike[i - 1], alike[i]) >= FLASH_ALIKE or light[i] >= FLASH_WHITE
        if round(lighter, 3) >= FLASH_LIGHT and round(neighbours, 3) < CUT_COLOURS and same:
            found.append(i)
    return found


@dataclass(frozen=True, slots=True)
class _Steps:
    """What decides on the P steps between T samples; all numbers rounded.

    Attributes:
        changed, regions: as in `PictureFacts`, the camera's motion taken out where it is known.
        alike: [P] correlation after alignment. colours: [P] difference of the colour shares, 0..1.
        light: [T] mean luma. black: [T]. flashes: samples that are a flash.
        moving: [P] the camera is known to move.
    """

    changed: tuple[float, ...]
    regions: tuple[tuple[float, ...], ...]
    alike: tuple[float, ...]
    colours: tuple[float, ...]
    light: tuple[float, ...]
    black: tuple[bool, ...]
    flashes: tuple[int, ...]
    moving: tuple[bool, ...]

    def is_cut(self, i: int) -> bool:
        changed, alike, colours = self.changed[i], self.alike[i], self.colours[i]
        everywhere = sum(region >= CUT_REGION for region in self.regions[i]) >= CUT_REGIONS
        if changed < CUT_CHANGED or not everywhere:
            return False
        around = [self.changed[j] for j in (i - 1, i + 1) if 0 <= j < len(self.changed)]
        alone = bool(around) and changed >= LONE_RATIO * max(around)
        return (
            (alike < CUT_ALIKE and colours >= CUT_COLOURS)
            or (alike < OTHER_ALIKE and colours >= OTHER_COLOURS)
            or (alike < LONE_ALIKE and colours >= LONE_COLOURS and alone)
        )

    def kind(self, i: int) -> Change:
        low, high = sorted(self.light[i : i + 2])
        lit = round(high - low, 3)
        if self.black[i] and self.black[i + 1]:
            return Change.STILL
        if self.black[i] != self.black[i + 1] or i in self.flashes or i + 1 in self.flashes:
            return Change.LIGHT
        if self.is_cut(i):
            return Change.CUT
        if self.moving[i]:
            return Change.MOTION
        if lit >= LIT_CHANGE and high >= LIT_RATIO * low and self.alike[i] >= LIT_ALIKE:
            return Change.LIGHT
        if self.changed[i] < STILL_SHARE:
            return Change.LIGHT if lit >= LIGHT_SEEN else Change.STILL
        return Change.MOTION


def _with_steps(kinds: list[Change], changed: tuple[float, ...]) -> list[Change]:
    """Motion for one step only, in a clip that is otherwise still there, is a change at once."""
    result = list(kinds)
    for i, kind in enumerate(kinds):
        around = [kinds[j] for j in (i - 1, i + 1) if 0 <= j < len(kinds)]
        if kind == Change.MOTION and around and all(other == Change.STILL for other in around):
            if changed[i] >= STEP_CUT_SHARE:
                result[i] = Change.CUT
            elif changed[i] >= STEP_SHARE:
                result[i] = Change.STEP
    return result


def _moves(motion: Motion, i: int) -> bool:
    """The camera is known to move between samples i and i + 1, and visibly so."""
    support, alike = round(float(motion.support[i]), 3), round(float(motion.alike[i]), 3)
    known = support >= SUPPORT and alike >= CAMERA_ALIKE
    clear = support >= CLEAR_SUPPORT and alike >= CLEAR_ALIKE
    return (known or clear) and round(_reach(motion, i), 3) >= SEEN_SHIFT


def _stands(motion: Motion, i: int, quiet_regions: int) -> bool:
    """The camera is known to stand between samples i and i + 1: much is quiet, or the pictures fit without a shift."""
    fits = round(_reach(motion, i), 3) < SEEN_SHIFT and round(float(motion.alike[i]), 3) >= STANDING_ALIKE
    return quiet_regions >= QUIET_REGIONS or fits


def _reach(motion: Motion, i: int) -> float:
    """Mean shift of the picture's cells between samples i and i + 1, as a share of the picture."""
    return float(np.hypot(motion.right[i], motion.down[i]) / CELLS + abs(motion.zoom[i]) * ZOOM_REACH)


def _camera(
    kinds: Sequence[Change],
    moving: Sequence[bool],
    standing: Sequence[bool],
    seconds: Sequence[float],
    shifts: Sequence[tuple[float, float, float]],
) -> tuple[tuple[str, ...], float]:
    """The camera's moves, strongest first, and the speed of the strongest per second.

    Args:
        kinds, moving, standing, seconds: [P] per step: what happens, whether the camera is known to move, known to
            stand, and how long the step lasts.
        shifts: [P] (right, down, zoom) as shares of the picture.
    """
    steps = [i for i, kind in enumerate(kinds) if kind in (Change.STILL, Change.MOTION, Change.STEP)]
    if not steps:
        return (), 0.0
    moved = [i for i in steps if moving[i]]
    if len(moved) < MOVING_PAIRS * len(steps):
        still = sum(standing[i] for i in steps) >= MOVING_PAIRS * len(steps)
        return (("still",), 0.0) if still else ((), 0.0)
    duration = sum(seconds[i] for i in moved)
    found = []
    largest = 0.0
    for axis, (less, more) in enumerate((("pan left", "pan right"), ("tilt up", "tilt down"), ("zoom out", "zoom in"))):
        reach = ZOOM_REACH if axis == 2 else 1.0
        total = sum(shifts[i][axis] for i in moved)
        path = sum(abs(shifts[i][axis]) for i in moved)
        largest = max(largest, reach * path / duration)
        speed = round(reach * abs(total) / duration, 3)
        if speed >= PAN_SPEED and round(abs(total), 3) >= round(STEADY_DIRECTION * path, 3):
            found.append((speed, -axis, more if total > 0 else less, abs(total) / duration))
    found.sort(reverse=True)
    if found and found[0][0] >= SECOND_MOVE * largest:
        named = tuple(name for speed, _, name, _ in found if speed >= SECOND_MOVE * found[0][0])
        return named[:2], round(found[0][3], 3)
    if largest < PAN_SPEED:
        return ("still",), 0.0
    return ("shake",), round(largest, 3)


def _light_change(
    light: tuple[float, ...], black: Sequence[bool], kinds: Sequence[Change], flashes: list[int]
) -> Light:
    """How the light goes within the shots of the clip; the first of fade, flash, brighter or darker that holds."""
    if not light or all(black):
        return Light.STEADY
    if black[0] and not black[-1]:
        return Light.FADE_IN
    if black[-1] and not black[0]:
        return Light.FADE_OUT
    if flashes:
        return Light.FLASH
    start = 0
    change = 0.0
    for i in range(len(light)):
        if i == len(light) - 1 or kinds[i] == Change.CUT:
            change = max(change, light[i] - light[start], key=abs)
            start = i + 1
    if round(abs(change), 3) < LIGHT_CHANGE:
        return Light.STEADY
    return Light.BRIGHTER if change > 0 else Light.DARKER


def _runs(times_ms: Sequence[int], first: Sequence[int], flags: Sequence[bool]) -> tuple[tuple[int, int], ...]:
    """Runs of true `flags`, as (time at first[run start], time at last index of the run)."""
    found: list[tuple[int, int]] = []
    start: int | None = None
    for i, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = i
        elif not flag and start is not None:
            found.append((times_ms[start], times_ms[first[i - 1]]))
            start = None
    return tuple(found)


def measure_clip(small: NDArray[np.uint8], times_ms: Sequence[int]) -> PictureFacts:
    """Measure the sampled pictures of one clip.

    Args:
        small: [T, 64, 64, 3] full-range YUV 4:4:4, the whole displayed picture squeezed to 64×64; T >= 0.
        times_ms: [T] published times, increasing.

    Returns:
        `PictureFacts`; empty for T = 0, without motion for T = 1.

    Raises:
        ShapeError: `small` has another shape or type, or not one time per picture.
    """
    if small.ndim != 4 or small.shape[1:] != (SIDE, SIDE, 3) or small.dtype != np.uint8:
        raise ShapeError(f"small must be uint8 [T, {SIDE}, {SIDE}, 3], got {small.dtype} {list(small.shape)}")
    if len(small) != len(times_ms):
        raise ShapeError(f"need one time per picture, got {len(small)} pictures and {len(times_ms)} times")
    count = len(small)
    if count == 0:
        return PictureFacts()
    times = tuple(int(time) for time in times_ms)

    rows, columns = _bars(small[..., 0])
    active = small[:, rows, columns]
    luma = active[..., 0].astype(np.float32) / np.float32(255)
    light, contrast = _rounded(luma.mean(axis=(1, 2))), _rounded(luma.std(axis=(1, 2)))
    black = tuple(a < BLACK_LIGHT and b < BLACK_CONTRAST for a, b in zip(light, contrast, strict=True))
    shares = colour_shares(active[:, ::2, ::2])
    cells = shrink(small.astype(np.float32))
    facts = PictureFacts(
        times_ms=times,
        light=light,
        contrast=contrast,
        colours=_mean_colours(shares, black, slice(None), len(PALETTE)),
        black_ms=_runs(times, range(count), black),
        first_layout=_layout(cells[0]),
        last_layout=_layout(cells[-1]),
        bars=round(1 - active.shape[1] * active.shape[2] / SIDE**2, 3),
    )
    return facts if count == 1 else _with_motion(facts, cells, shares, black)


def _with_motion(
    facts: PictureFacts, cells: NDArray[np.float32], shares: NDArray[np.float64], black: tuple[bool, ...]
) -> PictureFacts:
    motion = measure_motion(cells)
    pairs = len(facts.times_ms) - 1
    moving = [_moves(motion, i) for i in range(pairs)]
    maps = np.where(np.array(moving)[:, None, None], motion.changed, motion.changed_still)
    size = region_sums(np.ones((1, CELLS, CELLS), np.float32))
    alike = _rounded(motion.alike)
    flashes = _flashes(facts.light, alike, shares)
    steps = _Steps(
        changed=_rounded(maps.mean(axis=(1, 2))),
        regions=tuple(_rounded(row) for row in region_sums(maps) / size),
        alike=alike,
        colours=_rounded(0.5 * np.abs(np.diff(shares, axis=0)).sum(axis=1)),
        light=facts.light,
        black=black,
        flashes=tuple(flashes),
        moving=tuple(moving),
    )
    kinds = _with_steps([steps.kind(i) for i in range(pairs)], steps.changed)
    quiet = (np.round(region_sums(motion.changed_still) / size, 3) < QUIET_REGION).sum(axis=1)
    standing = [_stands(motion, i, int(quiet[i])) for i in range(pairs)]
    seconds = [max(1, b - a) / 1000 for a, b in pairwise(facts.times_ms)]
    shifts = [
        (float(motion.right[i]) / CELLS, float(motion.down[i]) / CELLS, float(motion.zoom[i]))
        if moving[i]
        else (0.0,) * 3
        for i in range(pairs)
    ]
    cuts = [i for i, kind in enumerate(kinds) if kind == Change.CUT]
    at_cut = (
        tuple(_mean_colours(shares, black, part, 3) for part in (slice(0, cuts[0] + 1), slice(cuts[0] + 1, None)))
        if len(cuts) == 1
        else ()
    )
    camera, speed = _camera(kinds, moving, standing, seconds, shifts)
    return replace(
        facts,
        right=_rounded(np.array([shift[0] for shift in shifts])),
        down=_rounded(np.array([shift[1] for shift in shifts])),
        zoom=_rounded(np.array([shift[2] for shift in shifts])),
        changed=steps.changed,
        regions=steps.regions,
        kinds=tuple(kind.value for kind in kinds),
        camera=camera,
        cut_colours=at_cut,
        camera_speed=speed,
        light_change=_light_change(facts.light, black, kinds, flashes).value,
        still_ms=_runs(facts.times_ms, range(1, pairs + 1), [kind == Change.STILL for kind in kinds]),
    )
