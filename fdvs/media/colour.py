"""High dynamic range to ordinary brightness: small documented formulas, evaluated once into tables.

A PQ or HLG picture shown without conversion looks grey and dim, and every measure of brightness on it is wrong. What
follows is a plain tone map for describing pictures, not for mastering them:

1. code value → light relative to reference white (203 cd/m², ITU-R BT.2408): the PQ curve of SMPTE ST 2084, or the
   inverse HLG curve of ITU-R BT.2100 with system gamma 1.2 for a 1000 cd/m² display;
2. x → x (1 + x / w²) / (1 + x) with w = 1000 / 203 (Reinhard's curve with a white point), scaled by 1.5 and clipped,
   so that reference white lands at 78 % of full light and nothing below it changes its order;
3. for RGB: BT.2020 → BT.709 primaries on linear light;
4. light → code value with a display gamma of 2.2.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

PQ = 16  # ITU-T H.273 transfer characteristics
HLG = 18
_REFERENCE_WHITE = 203.0
_PEAK = 1000.0
_SCALE = 1.5
_GAMMA = 2.2
_TABLE_SIZE = 4096

# Rows: BT.709 red, green, blue from BT.2020 red, green, blue (ITU-R BT.2087, inverse matrix).
_TO_709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]],
    dtype=np.float32,
)
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)


def is_hdr(transfer: int) -> bool:
    """True for the two transfer curves that need a tone map."""
    return transfer in (PQ, HLG)


def _light(code: NDArray[np.float64], transfer: int) -> NDArray[np.float64]:
    """Light relative to reference white of code values in 0..1."""
    if transfer == PQ:
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        root = code ** (1 / m2)
        nits = 10000.0 * (np.maximum(root - c1, 0.0) / (c2 - c3 * root)) ** (1 / m1)
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
        nits = _PEAK * scene**1.2
    return np.asarray(nits / _REFERENCE_WHITE)


def _compress(light: NDArray[np.floating]) -> NDArray[np.floating]:
    """Step 2 of the module's description: light relative to reference white → 0..1."""
    white = _PEAK / _REFERENCE_WHITE
    return np.asarray(np.minimum(_SCALE * light * (1 + light / white**2) / (1 + light), 1.0))


@cache
def luma_table(transfer: int) -> NDArray[np.uint8]:
    """`[256]` full-range HDR luma code → ordinary luma code."""
    light = _light(np.arange(256) / 255, transfer)
    return np.asarray(np.rint(255 * _compress(light) ** (1 / _GAMMA)), dtype=np.uint8)


@cache
def _light_table(transfer: int) -> NDArray[np.float32]:
    return _light(np.arange(_TABLE_SIZE) / (_TABLE_SIZE - 1), transfer).astype(np.float32)


@cache
def _gamma_table() -> NDArray[np.uint8]:
    light = np.arange(_TABLE_SIZE) / (_TABLE_SIZE - 1)
    return np.asarray(np.rint(255 * light ** (1 / _GAMMA)), dtype=np.uint8)


def tone_map_rgb(rgb: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """`[H, W, 3]` full-range 16-bit BT.2020 RGB with a PQ or HLG curve → 8-bit BT.709 RGB.

    The curve is applied to each pixel's luminance and all three channels are scaled alike, so hues stay.
    """
    light = _light_table(transfer)[rgb >> 4]  # [H, W, 3]
    luminance = light @ _LUMA_2020  # [H, W]
    scale = _compress(luminance) / np.maximum(luminance, 1e-6)
    ordinary = np.clip((light * scale[..., None]) @ _TO_709.T, 0.0, 1.0)
    return np.asarray(_gamma_table()[np.rint(ordinary * (_TABLE_SIZE - 1)).astype(np.uint16)])
