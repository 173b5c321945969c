"""How the camera moves, told from the measured motion between samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fdvs.captioners.facts import Change
from fdvs.captioners.motion import CELLS, Motion, region_sums, spread

SUPPORT = 0.5  # half of the textured regions must agree before the camera is said to move
CAMERA_ALIKE = 0.5  # and the aligned pictures must look alike
CLEAR_SUPPORT, CLEAR_ALIKE = 0.3, 0.9  # a third is enough when the aligned pictures are almost the same
EXPLAINED = 0.33  # so is a move that takes two thirds of all change out of the picture
EXPLAINED_CELLS = 2  # of a region, for it to count among those in which that happens
SEEN_SHIFT = 0.005  # share of the picture: smaller shifts between samples are not seen as motion
QUIET_REGIONS = 4  # a camera stands still when at least four of the nine regions do
STANDING_ALIKE = 0.8  # or when the pictures fit well without any shift

PAN_SPEED = 0.008  # widths per second below which a drift is not worth a word
STEADY_DIRECTION = 0.7  # |sum| / sum of |shifts|: one direction
SECOND_MOVE = 0.5  # a second direction is named when it is at least half as strong
ZOOM_REACH = 0.38  # mean distance of a cell from the centre, in picture widths: makes zoom comparable to shifts
MOVING_STEPS = 0.5  # share of the steps that must show a state before the clip is said to be in it

DIRECTIONS = (("pan left", "pan right"), ("tilt up", "tilt down"), ("zoom out", "zoom in"))
"""Names of negative and positive (right, down, zoom)."""


def reach(motion: Motion) -> NDArray[np.float64]:
    """[P] mean shift of the picture's cells, as a share of the picture, rounded."""
    shift = np.hypot(motion.right, motion.down) / CELLS + np.abs(motion.zoom) * ZOOM_REACH
    rounded: NDArray[np.float64] = np.round(shift, 3)
    return rounded


def moves(motion: Motion) -> NDArray[np.bool_]:
    """[P] the camera is known to move, and visibly so."""
    support, alike = np.round(motion.support, 3), np.round(motion.alike, 3)
    known = (support >= SUPPORT) & (alike >= CAMERA_ALIKE)
    clear = (support >= CLEAR_SUPPORT) & (alike >= CLEAR_ALIKE)
    left = motion.changed.sum(axis=(1, 2)) / np.maximum(motion.changed_still.sum(axis=(1, 2)), 1)
    gained = region_sums(motion.changed_still & ~motion.changed) >= EXPLAINED_CELLS
    explained = (np.round(left, 3) <= EXPLAINED) & (alike >= CLEAR_ALIKE) & spread(gained)
    moving: NDArray[np.bool_] = (known | clear | explained) & (reach(motion) >= SEEN_SHIFT)
    return moving


def stands(motion: Motion, quiet_regions: NDArray[np.integer]) -> NDArray[np.bool_]:
    """[P] the camera is known to stand: much of the picture is quiet, or the pictures fit without a shift."""
    fits = (reach(motion) < SEEN_SHIFT) & (np.round(motion.alike, 3) >= STANDING_ALIKE)
    standing: NDArray[np.bool_] = (quiet_regions >= QUIET_REGIONS) | fits
    return standing


def camera_moves(
    kinds: Sequence[Change],
    moving: Sequence[bool],
    standing: Sequence[bool],
    seconds: Sequence[float],
    shifts: Sequence[tuple[float, float, float]],
) -> tuple[tuple[str, ...], float]:
    """The camera's moves in one clip, strongest first, and the speed of the strongest per second.

    Args:
        kinds: [P] what happens in each step; cuts and changes of light say nothing about the camera.
        moving, standing: [P] the camera is known to move, to stand.
        seconds: [P] how long the step lasts.
        shifts: [P] (right, down, zoom): shares of the picture, and natural logarithm.

    Returns:
        Names as in `PictureFacts.camera`; none when it cannot be told.
    """
    steps = [i for i, kind in enumerate(kinds) if kind not in (Change.CUT, Change.LIGHT)]
    moved = [i for i in steps if moving[i]]
    if not moved or len(moved) < MOVING_STEPS * len(steps):
        still = steps and sum(standing[i] for i in steps) >= MOVING_STEPS * len(steps)
        return (("still",), 0.0) if still else ((), 0.0)
    duration = sum(seconds[i] for i in moved)
    found = []
    busiest = 0.0
    for axis, names in enumerate(DIRECTIONS):
        scale = ZOOM_REACH if names[0].startswith("zoom") else 1.0
        total = sum(shifts[i][axis] for i in moved)
        path = sum(abs(shifts[i][axis]) for i in moved)
        busiest = max(busiest, round(scale * path / duration, 3))
        speed = round(scale * abs(total) / duration, 3)
        if speed >= PAN_SPEED and round(abs(total), 3) >= round(STEADY_DIRECTION * path, 3):
            found.append((speed, names[total > 0], round(abs(total) / duration, 3)))
    found.sort(key=lambda move: -move[0])
    if found and found[0][0] >= SECOND_MOVE * busiest:
        named = [name for speed, name, _ in found if speed >= SECOND_MOVE * found[0][0]]
        return tuple(named[:2]), found[0][2]
    return (("still",), 0.0) if busiest < PAN_SPEED else (("shake",), busiest)
