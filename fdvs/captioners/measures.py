"""Measured picture facts of one clip, from its sampled pictures squeezed to 64×64 cells.

Numbers are rounded to 1e-3 before anything is decided on them, so that decisions are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fdvs.captioners.camera import camera_moves, moves, stands
from fdvs.captioners.changes import Steps, light_change
from fdvs.captioners.colour import PALETTE, colour_shares
from fdvs.captioners.facts import Change, Light, PictureFacts
from fdvs.captioners.motion import CELLS, measure_motion, region_sums, shrink
from fdvs.errors import ShapeError

__all__ = ["Change", "Light", "PictureFacts", "measure_clip"]

SIDE = 2 * CELLS  # cells across and down of the pictures that are measured

BLACK_LIGHT, BLACK_CONTRAST = 0.045, 0.03  # luma 0..1: a picture below both shows nothing; coded black is about 0.01
BAR_LUMA = 26  # rows and columns never lighter than this (of 255) at the edges are bars
MAX_BAR = 0.3  # of one side: more is picture content
QUIET_REGION = 0.06  # share of a region below which it counts as quiet: small things may move in it
MIN_COLOUR, CUT_COLOURS = 0.02, 3  # smaller shares are not worth keeping; names kept before and after a cut

_REGION_CELLS = region_sums(np.ones((CELLS, CELLS), np.float32))


def _rounded(values: NDArray[np.floating]) -> tuple[float, ...]:
    """[N] values rounded to 1e-3, without negative zeros."""
    return tuple((np.round(values.astype(np.float64), 3) + 0.0).tolist())


def _bars(luma: NDArray[np.uint8]) -> tuple[slice, slice]:
    """The rows and columns of `luma` [T, 64, 64] inside constant black bars (all of them when there are none)."""

    def inside(lightest: NDArray[np.uint8]) -> slice:
        lit = np.flatnonzero(lightest > BAR_LUMA)
        if len(lit) == 0:
            return slice(0, SIDE)
        low, high = int(lit[0]), SIDE - 1 - int(lit[-1])
        if max(low, high) > SIDE * MAX_BAR or min(low, high) < 1:  # bars come in pairs
            return slice(0, SIDE)
        return slice(low, SIDE - high)

    lightest = luma.max(axis=0)
    return inside(lightest.max(axis=1)), inside(lightest.max(axis=0))


def _layout(cells: NDArray[np.float32]) -> tuple[int, ...]:
    """[32, 32, 3] → 27 integers: mean Y, U, V of the 3×3 regions."""
    means = region_sums(np.moveaxis(cells, 2, 0)) / _REGION_CELLS  # [3, 9]
    return tuple(np.rint(means.T).astype(int).ravel().tolist())


def _named_colours(
    shares: NDArray[np.float64], black: Sequence[bool], limit: int = len(PALETTE)
) -> tuple[tuple[str, float], ...]:
    """The leading colours of samples with `shares` [T, 13]; black samples count only where there is nothing else."""
    seen = ~np.array(black)
    rounded = _rounded((shares[seen] if seen.any() else shares).mean(axis=0))
    order = sorted(range(len(PALETTE)), key=lambda index: (-rounded[index], index))
    return tuple((PALETTE[index], rounded[index]) for index in order[:limit] if rounded[index] >= MIN_COLOUR)


def _runs(flags: Sequence[bool], starts_ms: Sequence[int], ends_ms: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Runs of true flags, each from the start of its first to the end of its last."""
    found: list[tuple[int, int]] = []
    for i, flag in enumerate(flags):
        if flag and i and flags[i - 1]:
            found[-1] = (found[-1][0], ends_ms[i])
        elif flag:
            found.append((starts_ms[i], ends_ms[i]))
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
    if len(small) == 0:
        return PictureFacts()
    times = tuple(int(time) for time in times_ms)

    rows, columns = _bars(small[..., 0])
    active = small[:, rows, columns]
    luma = active[..., 0].astype(np.float32) / np.float32(255)
    light, contrast = _rounded(luma.mean(axis=(1, 2))), _rounded(luma.std(axis=(1, 2)))
    black = tuple(a < BLACK_LIGHT and b < BLACK_CONTRAST for a, b in zip(light, contrast, strict=True))
    shares = colour_shares(active[:, ::2, ::4])  # an eighth of the cells is enough for shares of 0.01
    cells = shrink(small.astype(np.float32))
    facts = PictureFacts(
        times_ms=times,
        light=light,
        contrast=contrast,
        colours=_named_colours(shares, black),
        black_ms=_runs(black, times, times),
        first_layout=_layout(cells[0]),
        last_layout=_layout(cells[-1]),
        bars=round(1 - active.shape[1] * active.shape[2] / SIDE**2, 3),
    )
    return facts if len(small) == 1 else _with_motion(facts, cells, shares, black)


def _with_motion(
    facts: PictureFacts, cells: NDArray[np.float32], shares: NDArray[np.float64], black: tuple[bool, ...]
) -> PictureFacts:
    """`facts` with everything that needs two pictures. `cells` [T, 32, 32, 3] YUV, `shares` [T, 13] of colours."""
    motion = measure_motion(cells)
    steps = range(len(facts.times_ms) - 1)
    moving = moves(motion)
    maps = np.where(moving[:, None, None], motion.changed, motion.changed_still)
    regions = np.round((region_sums(maps) / _REGION_CELLS).astype(np.float64), 3)
    measured = Steps(
        changed=_rounded(maps.mean(axis=(1, 2))),
        regions=tuple(map(tuple, regions.tolist())),
        alike=_rounded(motion.alike),
        colours=shares,
        light=facts.light,
        black=black,
        moving=tuple(moving.tolist()),
    )
    kinds = measured.kinds()
    quiet = (np.round(region_sums(motion.changed_still) / _REGION_CELLS, 3) < QUIET_REGION).sum(axis=1)
    view = np.stack((motion.right / CELLS, motion.down / CELLS, motion.zoom)) * moving
    right, down, zoom = (_rounded(axis) for axis in view)
    camera, speed = camera_moves(
        kinds,
        measured.moving,
        stands(motion, quiet).tolist(),
        [max(1, after - before) / 1000 for before, after in pairwise(facts.times_ms)],
        list(zip(right, down, zoom, strict=True)),
    )
    cuts = [i + 1 for i in steps if kinds[i] == Change.CUT]
    parts = (slice(0, cuts[0]), slice(cuts[0], None)) if len(cuts) == 1 else ()
    return replace(
        facts,
        right=right,
        down=down,
        zoom=zoom,
        changed=measured.changed,
        regions=measured.regions,
        kinds=tuple(kind.value for kind in kinds),
        camera=camera,
        camera_speed=speed,
        cut_colours=tuple(_named_colours(shares[part], black[part], CUT_COLOURS) for part in parts),
        light_change=light_change(measured, kinds).value,
        still_ms=_runs([kind == Change.STILL for kind in kinds], facts.times_ms[:-1], facts.times_ms[1:]),
    )
