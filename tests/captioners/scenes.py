"""Rendered pictures with known camera, movement, light and colours: [T, 64, 64, 3] full-range YUV as films are sampled.

A scene is looked at through a square window of a large random world (smooth as nature is, no edges of its own), so that
shifts below one cell and zooms are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

Clip = NDArray[np.uint8]  # [T, 64, 64, 3]
Luma = NDArray[np.float64]  # [64, 64]

SIDE = 64
WORLD = 1024
WINDOW = 512.0  # of the world, in its pixels: one picture width
OVERSAMPLING = 4
NOISE = 1.5  # standard deviation in luma and chroma levels: more than compression leaves after averaging to 64 cells


@cache
def world(seed: int = 1) -> Luma:
    """[1024, 1024] luma with a 1/f spectrum, mean 128."""
    random = np.random.default_rng(seed)
    waves = np.hypot(*np.meshgrid(np.fft.fftfreq(WORLD), np.fft.fftfreq(WORLD)))
    spectrum = np.fft.fft2(random.standard_normal((WORLD, WORLD))) / (waves + 0.004) ** 1.5
    luma = np.real(np.fft.ifft2(spectrum))
    scaled: Luma = np.clip((luma - luma.mean()) / luma.std() * 45 + 128, 0, 255)
    return scaled


def window(x: float, y: float, size: float = WINDOW, seed: int = 1) -> Luma:
    """[64, 64] picture of the world: a square of `size` around (x, y), in pixels of the world, which repeats."""
    cells = SIDE * OVERSAMPLING
    grid = ((np.arange(cells) + 0.5) / cells - 0.5) * size
    columns, rows = x + grid, y + grid
    left, top = np.floor(columns).astype(int), np.floor(rows).astype(int)
    across, along = columns - left, (rows - top)[:, None]

    def at(down: int, right: int) -> Luma:
        part: Luma = world(seed)[np.ix_((top + down) % WORLD, (left + right) % WORLD)]
        return part

    upper = at(0, 0) * (1 - across) + at(0, 1) * across
    lower = at(1, 0) * (1 - across) + at(1, 1) * across
    fine = upper * (1 - along) + lower * along
    mean: Luma = fine.reshape(SIDE, OVERSAMPLING, SIDE, OVERSAMPLING).mean(axis=(1, 3))
    return mean


def times(count: int, step_ms: int = 250) -> list[int]:
    return [1000 + i * step_ms for i in range(count)]


def film(
    picture: Callable[[int], Luma], count: int = 8, noise: float = NOISE, tint: tuple[int, int] = (128, 128)
) -> Clip:
    """`count` pictures with luma `picture(i)`, chroma `tint` and fresh noise on each."""
    random = np.random.default_rng(7)
    planes = np.empty((count, SIDE, SIDE, 3))
    for i in range(count):
        planes[i, ..., 0] = picture(i)
    planes[..., 1:] = tint
    return np.clip(np.rint(planes + random.normal(0, noise, planes.shape)), 0, 255).astype(np.uint8)


def pan(right: float = 0.0, down: float = 0.0, count: int = 8) -> Clip:
    """The view moves by (right, down) picture widths per step."""
    return film(lambda i: window(300 + i * right * WINDOW, 400 + i * down * WINDOW), count)


def zoom(step: float, count: int = 8) -> Clip:
    """The view closes in by the factor exp(step) per step; out when `step` is negative."""
    first = 700 if step > 0 else 350
    return film(lambda i: window(512, 512, first * np.exp(-step * i)), count)


def with_square(size: int, where: Callable[[int], tuple[int, int]], luma: int = 250, count: int = 8) -> Clip:
    """A still scene with a plain square of `size` cells, its top left corner at `where(i)` = (column, row)."""

    def picture(i: int) -> Luma:
        scene = window(300, 400).copy()
        column, row = where(i)
        scene[row : row + size, column : column + size] = luma
        return scene

    return film(picture, count)


def plain(yuv: tuple[int, int, int], count: int = 8, noise: float = 0.0) -> Clip:
    """Pictures of one colour."""
    return film(lambda _: np.full((SIDE, SIDE), float(yuv[0])), count, noise, (yuv[1], yuv[2]))


def from_rgb(red: int, green: int, blue: int) -> tuple[int, int, int]:
    """Full-range BT.601 YUV."""
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    return round(y), round(128 + (blue - y) / 1.772), round(128 + (red - y) / 1.402)
