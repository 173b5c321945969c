"""The built-in picture descriptor: 256 numbers from a 64×64 picture, without a model.

What is kept of a picture is its coarse layout: the low frequencies of its brightness (a 32×32 picture's DCT) and of
its colour (8×8). Like a thumbnail seen from afar it tells shots apart and takes no notice of noise; unlike a learned
encoder it knows nothing of what is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fdvs.encoders.pictures import Picture
from fdvs.errors import ShapeError

SIZE, LUMA_SIZE, CHROMA_SIZE = 64, 32, 8
LUMA_COUNT, CHROMA_COUNT = 192, 32  # 192 + 2 * 32 = 256; the luma count includes the two numbers of the mean
# Grey levels; coefficients below it count in proportion, above it by their root. Low enough that slides on one
# background stay apart (all eight of the shared talk at 0.97), high enough that noise of two grey levels on an almost
# flat picture stays above 0.99.
NOISE = 0.5
MEAN_WEIGHT = 0.5


class BuiltinPictureEncoder:
    """`PictureEncoder` of 256 dimensions: deterministic, no model, about 0.03 ms per picture in batches of 8."""

    name = "builtin"
    dimension = LUMA_COUNT + 2 * CHROMA_COUNT

    def prepare(self, frame: Picture) -> NDArray[np.uint8]:
        return frame.small()

    def encode(self, prepared: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """`[N, 256]` float32 unit rows from N pictures `[64, 64, 3]` (uint8, full-range YUV).

        Raises:
            ShapeError: a picture has another shape.
        """
        if len(prepared) == 0:
            return np.empty((0, self.dimension), np.float32)
        for picture in prepared:
            if picture.shape != (SIZE, SIZE, 3):
                raise ShapeError(f"picture: wanted [{SIZE}, {SIZE}, 3], got {list(picture.shape)}")
        return describe(np.stack(prepared))


def describe(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """`[T, 64, 64, 3]` full-range YUV → `[T, 256]` unit rows.

    The mean brightness m enters as the pair (√m, √(255 - m)): black and white are at right angles, neighbouring greys
    are neighbours, and a uniform picture still has a direction. Every other coefficient c, in grey levels, enters as
    c / √(|c| + NOISE): the signed square root keeps one large contrast from hiding the rest, and the noise floor keeps
    the root from blowing up what is only compression noise.
    """
    planes = np.ascontiguousarray(np.moveaxis(pictures, 3, 0), np.float64)  # [3, T, 64, 64]
    luma = _low_frequencies(planes[0], LUMA_SIZE, LUMA_COUNT - 1)
    chroma = _low_frequencies(planes[1:] - 128, CHROMA_SIZE, CHROMA_COUNT)  # [2, T, 32]
    mean = np.clip(luma[:, :1], 0, 255)
    row = np.concatenate(
        [
            MEAN_WEIGHT * np.sqrt(mean),
            MEAN_WEIGHT * np.sqrt(255 - mean),
            _damped(luma[:, 1:]),
            _damped(chroma[0]),
            _damped(chroma[1]),
        ],
        axis=1,
    )
    unit: NDArray[np.float64] = row / np.sqrt(np.sum(row * row, axis=1, keepdims=True))
    return unit.astype(np.float32)


def _low_frequencies(planes: NDArray[np.float64], size: int, count: int) -> NDArray[np.float64]:
    """`[..., 64, 64]` → `[..., count]`: pool to size×size, DCT, the first `count` in zig-zag order, in grey levels."""
    rows, columns = _zigzag(size, count)
    matrix = _pooled_dct(size)[: max(rows.max(), columns.max()) + 1]
    spectrum = matrix @ planes @ matrix.T
    # Rounding removes what differs between matrix libraries; 1e-6 grey levels are far below the noise floor.
    return np.round(spectrum[..., rows, columns], 6)


def _damped(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    damped: NDArray[np.float64] = coefficients / np.sqrt(np.abs(coefficients) + NOISE)
    return damped


@cache
def _pooled_dct(size: int) -> NDArray[np.float64]:
    """`[size, 64]`: mean over blocks, then a DCT-II scaled so that coefficient 0 is the mean and the sum of squares of
    a picture's coefficients is its mean square."""
    pool = np.kron(np.eye(size), np.full(SIZE // size, size / SIZE))
    place, frequency = np.arange(size) + 0.5, np.arange(size)[:, None]
    dct = np.cos(np.pi * frequency * place / size) * np.where(frequency == 0, 1, np.sqrt(2)) / size
    matrix: NDArray[np.float64] = dct @ pool
    return matrix


@cache
def _zigzag(size: int, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the first `count` cells of a size×size square, by diagonals from the low frequencies up."""
    cells = sorted((row + column, row, column) for row in range(size) for column in range(size))[:count]
    _, rows, columns = zip(*cells, strict=True)
    return np.array(rows, np.intp), np.array(columns, np.intp)
