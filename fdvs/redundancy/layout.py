"""The layout of a picture: where it is light, dark and coloured, in 288 bytes; and how alike two layouts are.

The picture descriptor answers whether two frames look alike as a whole. Whether one *repeats* the other is a stricter
question: a person at the back of a room, or another line on a slide, changes a small part of the picture and makes it
another picture. So a layout keeps means over 16×16 blocks of brightness and 4×4 blocks of each colour difference, and
two layouts are compared block by block with a norm that counts a strong difference in few blocks more than a faint one
everywhere.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import ShapeError

Layouts = NDArray[np.uint8]  # [N, SIZE]

SIDE, LUMA_SIDE, CHROMA_SIDE = 64, 16, 4
LUMA = LUMA_SIDE * LUMA_SIDE
SIZE = LUMA + 2 * CHROMA_SIDE * CHROMA_SIDE
SKETCH = 32

# Contrast is the standard deviation of the blocks of brightness, in grey levels. Below FLAT_CONTRAST a picture is
# black, white or nearly so: it is like any other such picture and proves nothing. Differences are measured in units of
# the contrast, so that dark scenes are not all alike; from FULL_CONTRAST on it is the grey level that counts, or black
# bars beside a slide would hide what is written on it.
FLAT_CONTRAST = 6.0
FULL_CONTRAST = 40.0
MIN_CONTRAST_RATIO = 0.7  # a picture half faded out is not yet, or no longer, the same picture


def layouts_of(small: NDArray[np.uint8]) -> Layouts:
    """`[T, 64, 64, 3]` full-range YUV → `[T, 288]`: block means, rounded; brightness, then each colour difference.

    Raises:
        ShapeError: the pictures have another shape.
    """
    if small.ndim != 4 or small.shape[1:] != (SIDE, SIDE, 3):
        raise ShapeError(f"pictures: wanted [T, {SIDE}, {SIDE}, 3], got {list(small.shape)}")
    planes = [_block_means(small[..., 0], LUMA_SIDE)]
    planes += [_block_means(small[..., channel], CHROMA_SIDE) for channel in (1, 2)]
    return np.concatenate(planes, axis=1)


def _block_means(plane: NDArray[np.uint8], side: int) -> Layouts:
    """`[T, 64, 64]` → `[T, side * side]`; whole numbers all the way, so that every machine gets the same."""
    size = SIDE // side
    sums = plane.reshape(len(plane), side, size, side, size).sum(axis=(2, 4), dtype=np.uint32)
    means: Layouts = ((sums + size * size // 2) // (size * size)).astype(np.uint8)
    return means.reshape(len(plane), side * side)


def contrasts(layouts: Layouts) -> NDArray[np.float64]:
    """`[N]`: standard deviation of the brightness of each layout, in grey levels."""
    contrast: NDArray[np.float64] = layouts[:, :LUMA].std(axis=1, dtype=np.float64)
    return contrast


def is_telling(layouts: Layouts) -> NDArray[np.bool_]:
    """`[N]`: whether a picture has anything in it by which it could be known again."""
    return contrasts(layouts) >= FLAT_CONTRAST


def similarities(one: Layouts, other: Layouts) -> NDArray[np.float64]:
    """`[N]`: how alike the pictures of each row are, rounded to 1e-3; 1 is equal, 0 or less is unlike (cut at 0).

    Both are brought to one brightness and contrast. The similarity is 1 minus the 4-norm (fourth root of the mean
    fourth power) of the differences; 0 where a picture is flat or the contrasts differ too much.

    Args:
        one, other: `[N, 288]` each.
    """
    if one.shape != other.shape or one.ndim != 2:
        raise ShapeError(f"layouts: wanted two of one shape [N, {SIZE}], got {list(one.shape)}, {list(other.shape)}")
    first, second = contrasts(one), contrasts(other)
    high, low = np.maximum(first, second), np.minimum(first, second)
    squares = np.square(_levelled(one, first) - _levelled(other, second))
    norms = np.sqrt(np.sqrt(np.mean(np.square(squares), axis=1, dtype=np.float64)))
    alike = 1 - norms * np.maximum(1, high / FULL_CONTRAST)
    alike[(low < FLAT_CONTRAST) | (low < MIN_CONTRAST_RATIO * high)] = 0
    rounded: NDArray[np.float64] = np.round(np.clip(alike, 0, 1), 3)
    return rounded


def sketches(layouts: Layouts) -> NDArray[np.float32]:
    """`[N, 32]`: the low frequencies of the levelled brightness, for a first search.

    Pictures with a similarity of at least s lie within `sketch_radius(s)` of each other, always: dropping frequencies
    only brings them nearer. So a search by sketches misses nothing, and what it finds is then compared in full.
    """
    luma = _levelled(layouts, contrasts(layouts))[:, :LUMA] / LUMA_SIDE
    return np.ascontiguousarray(luma @ _low_frequencies())


def sketch_radius(similarity: float) -> float:
    """The largest distance between sketches of pictures that are at least so similar (up to rounding)."""
    # The mean fourth power bounds the square of the mean square; half a thousandth is what rounding may have added.
    return float(np.sqrt(SIZE / LUMA)) * (1 - similarity + 5e-4) + 1e-4


def _levelled(layouts: Layouts, contrast: NDArray[np.float64]) -> NDArray[np.float32]:
    """`[N, 288]`: brightness without its mean, colour without grey, both in units of the contrast."""
    values = layouts.astype(np.float32)
    values[:, :LUMA] -= layouts[:, :LUMA].mean(axis=1, dtype=np.float64).astype(np.float32)[:, None]
    values[:, LUMA:] -= 128
    values /= np.maximum(contrast, FLAT_CONTRAST).astype(np.float32)[:, None]
    return values


@cache
def _low_frequencies() -> NDArray[np.float32]:
    """`[256, 32]`: orthonormal cosines over the blocks, by diagonals from the low frequencies up; without the mean,
    which is zero."""
    place, frequency = np.arange(LUMA_SIDE) + 0.5, np.arange(LUMA_SIDE)[:, None]
    waves = np.cos(np.pi * frequency * place / LUMA_SIDE) * np.sqrt(np.where(frequency == 0, 1, 2) / LUMA_SIDE)
    cells = sorted((row + column, row, column) for row in range(LUMA_SIDE) for column in range(LUMA_SIDE))
    columns = [np.outer(waves[row], waves[column]).ravel() for _, row, column in cells[1 : SKETCH + 1]]
    return np.stack(columns, axis=1).astype(np.float32)
