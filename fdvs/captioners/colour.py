"""Colour names of small pictures: a fixed palette of thirteen names, decided in OKLab.

A table from quantised YUV to a name index is computed once; naming a picture is then one look-up per cell.
OKLab and its constants: Björn Ottosson, "A perceptual color space for image processing", 2020.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PALETTE = (
    "black",
    "grey",
    "white",
    "red",
    "orange",
    "yellow",
    "green",
    "teal",
    "blue",
    "purple",
    "pink",
    "brown",
    "beige",
)
"""All colour names, in the order of `colour_shares`. Beige is there because skin, sand and pale wood are neither
orange nor brown to a reader."""

# Limits in OKLab: lightness 0..1, chroma 0..0.32 for sRGB, hue in degrees.
BLACK_BELOW = 0.25  # lightness of sRGB (33, 33, 33): darker cells read as black whatever their hue
WHITE_FROM = 0.88  # lightness of sRGB (215, 215, 215), where paper in ordinary light begins
NEUTRAL_CHROMA = 0.025  # below it people say grey; twice the chroma noise of ordinary compression
BROWN_BELOW = 0.58  # orange and yellow hues darker than this are called brown
DARK_YELLOW_BELOW = 0.66  # yellow hues darker than this are not yellow but brown
OLIVE_HUE, OLIVE_BELOW = 104.0, 0.75  # greenish yellow hues that are not light are the green of grass and leaves
BEIGE_CHROMA = 0.10  # light orange and yellow hues paler than this are beige
PINK_FROM = 0.65  # red and purple hues at least this light are pink
HUE_RED, HUE_ORANGE, HUE_YELLOW, HUE_GREEN = 15.0, 40.0, 88.0, 118.0  # where each name begins
HUE_TEAL, HUE_BLUE, HUE_PURPLE, HUE_PINK = 168.0, 222.0, 290.0, 342.0

LUMA_STEP = 4  # luma is quantised to 64 levels, chroma to 33: at most 0.01 of chroma, well below NEUTRAL_CHROMA
CHROMA_STEP = 8
_LUMA_BINS, _CHROMA_BINS = 256 // LUMA_STEP, 256 // CHROMA_STEP + 1

_RGB_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LMS_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def yuv_to_oklab(yuv: NDArray[np.floating]) -> NDArray[np.float64]:
    """OKLab of full-range BT.601 YUV.

    Args:
        yuv: [..., 3], 0..255.

    Returns:
        [..., 3]: lightness 0..1, a, b. Colours outside sRGB are clipped to it first.
    """
    y, u, v = (np.asarray(yuv[..., channel], np.float64) for channel in range(3))
    u, v = u - 128.0, v - 128.0
    rgb = np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], axis=-1)
    rgb = np.clip(rgb / 255.0, 0.0, 1.0)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lab: NDArray[np.float64] = np.cbrt(linear @ _RGB_TO_LMS.T) @ _LMS_TO_LAB.T
    return lab


def palette_index(lab: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Index into `PALETTE` of OKLab colours.

    Args:
        lab: [..., 3] as from `yuv_to_oklab`.

    Returns:
        [...] uint8, 0..12.
    """
    lightness = lab[..., 0]
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360.0
    warm = (hue >= HUE_ORANGE) & (hue < HUE_GREEN)
    name = {colour: np.uint8(index) for index, colour in enumerate(PALETTE)}
    conditions = [  # the first that holds decides
        (lightness < BLACK_BELOW, "black"),
        ((chroma < NEUTRAL_CHROMA) & (lightness >= WHITE_FROM), "white"),
        (chroma < NEUTRAL_CHROMA, "grey"),
        ((hue < HUE_RED) & (lightness >= PINK_FROM), "pink"),
        ((hue < HUE_ORANGE) & (lightness >= PINK_FROM) & (chroma < BEIGE_CHROMA), "pink"),
        (hue < HUE_ORANGE, "red"),
        ((hue >= OLIVE_HUE) & (hue < HUE_GREEN) & (lightness < OLIVE_BELOW), "green"),
        (warm & (hue < HUE_YELLOW) & (lightness < BROWN_BELOW), "brown"),
        (warm & (lightness < DARK_YELLOW_BELOW) & (chroma < BEIGE_CHROMA), "brown"),
        (warm & (chroma < BEIGE_CHROMA), "beige"),
        (warm & (hue < HUE_YELLOW), "orange"),
        (warm & (lightness >= DARK_YELLOW_BELOW), "yellow"),
        (hue < HUE_TEAL, "green"),
        (hue < HUE_BLUE, "teal"),
        (hue < HUE_PURPLE, "blue"),
        ((hue < HUE_PINK) & ((lightness < PINK_FROM) | (hue < (HUE_PURPLE + HUE_PINK) / 2)), "purple"),
        (lightness >= PINK_FROM, "pink"),
    ]
    chosen = np.select([test for test, _ in conditions], [name[colour] for _, colour in conditions], name["red"])
    return chosen.astype(np.uint8)


@lru_cache(maxsize=1)
def _table() -> NDArray[np.uint8]:
    """[64 * 33 * 33] palette index of every quantised YUV colour."""
    luma = np.arange(_LUMA_BINS) * float(LUMA_STEP) + (LUMA_STEP - 1) / 2
    chroma = np.minimum(np.arange(_CHROMA_BINS) * float(CHROMA_STEP), 255.0)
    grid = np.stack(np.meshgrid(luma, chroma, chroma, indexing="ij"), axis=-1)
    return palette_index(yuv_to_oklab(grid)).ravel()


def name_cells(yuv: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Palette index of each cell.

    Args:
        yuv: [..., 3] full-range YUV.

    Returns:
        [...] uint8, index into `PALETTE`.
    """
    wide = yuv.astype(np.uint32)
    half = CHROMA_STEP // 2
    index = wide[..., 0] // LUMA_STEP * _CHROMA_BINS + (wide[..., 1] + half) // CHROMA_STEP
    index = index * _CHROMA_BINS + (wide[..., 2] + half) // CHROMA_STEP
    names: NDArray[np.uint8] = _table()[index]
    return names


def colour_shares(yuv: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of each palette colour in each picture.

    Args:
        yuv: [T, H, W, 3] full-range YUV.

    Returns:
        [T, 13] in 0..1, rows sum to 1 (to 0 for pictures without cells).
    """
    count, size = yuv.shape[0], len(PALETTE)
    names = name_cells(yuv).reshape(count, yuv.shape[1] * yuv.shape[2])
    offset = (np.arange(count, dtype=np.int64) * size)[:, None]
    counts = np.bincount((names + offset).ravel(), minlength=count * size).reshape(count, size)
    return counts / max(1, names.shape[1])
