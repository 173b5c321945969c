"""How the picture moves between neighbouring samples: camera shift and zoom, and what changes after taking them out.

Works on 32×32 cells. A pair of pictures A, B is modelled as B(x) = gain · A(x + shift + zoom · (x - centre)) + offset.
The whole-picture shift comes from phase correlation (large moves), shift and zoom are then refined by robust least
squares on the picture gradient, first on 16×16 and then on 32×32 cells. Warps without rotation are separable, so each is
two small matrix products. All pairs of a clip are handled at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

CELLS = 32  # side of the pictures that motion is measured on
REGIONS = 3  # the picture is divided into 3 × 3 regions

MAX_SHIFT = 10  # cells; a third of the picture. Longer shifts leave too little overlap to be told from a cut
MAX_ZOOM = 0.35  # per pair, for the same reason
COARSE_STEPS, FINE_STEPS = 3, 2  # more steps change the result by less than a tenth of a cell
OUTLIER_LUMA = 8.0  # luma difference from which a cell counts less and less in the fit: it moves by itself
RIDGE = 30.0  # keeps directions without texture at zero motion
STATIC_LUMA = 1.2  # mean absolute difference of two pictures that differ by compression noise only
LIGHT_STEP = 3.0  # median luma difference from which the light itself is taken to have changed
MAX_GAIN = 4.0  # of contrast between two pictures of one fade

CHANGED_LUMA = 9.0  # a cell has changed when luma differs more than this: four times the noise seen after averaging
CHANGED_CHROMA = 9.0  # the same for either chroma
GRADIENT_SLACK = 0.5  # cells of warp error allowed at edges while the camera moves

VISIBLE_LUMA = 1.5  # mean luma difference a region must show for a shift to be checked there
GAINED = 0.65  # a region agrees with the camera when its residual falls below this share


@dataclass(frozen=True, slots=True)
class Motion:
    """Motion of P neighbouring pairs. Shifts are the camera's: positive when the view moves right, down, in.

    Attributes:
        right, down: [P] shift in cells (1/32 of the picture).
        zoom: [P] natural logarithm of the magnification, positive when the view closes in.
        support: [P] 0..1, share of textured regions that agree with this camera motion.
        changed: [P, 32, 32] bool, cells that differ after taking the camera motion out.
        changed_still: [P, 32, 32] bool, cells that differ when the camera is taken to stand still.
        alike: [P] correlation of the two pictures after alignment, -1..1.
    """

    right: NDArray[np.float64]
    down: NDArray[np.float64]
    zoom: NDArray[np.float64]
    support: NDArray[np.float64]
    changed: NDArray[np.bool_]
    changed_still: NDArray[np.bool_]
    alike: NDArray[np.float64]


def shrink(pictures: Array) -> Array:
    """[T, 2H, 2W, ...] → [T, H, W, ...], mean of 2×2 cells."""
    rows = pictures[:, 0::2] + pictures[:, 1::2]
    return (rows[:, :, 0::2] + rows[:, :, 1::2]) * np.float32(0.25)


_HANN = np.hanning(CELLS + 2)[1:-1].astype(np.float32)
_WINDOW: Array = _HANN[:, None] * _HANN[None, :]
_REGION_OF_CELL = np.arange(CELLS) * REGIONS // CELLS
_REGION_ROWS: Array = (np.arange(REGIONS)[:, None] == _REGION_OF_CELL[None, :]).astype(np.float32)


def region_sums(maps: NDArray[np.generic]) -> Array:
    """[P, 32, 32] → [P, 9] sums over the 3×3 regions, row by row from the top left."""
    sums = _REGION_ROWS @ maps.astype(np.float32) @ _REGION_ROWS.T
    return sums.reshape(len(maps), REGIONS * REGIONS)


def _phase_shift(luma: Array) -> tuple[Array, Array]:
    """Whole-picture shift (right, down) in whole cells of each pair of `luma` [T, 32, 32]; [P] each."""
    spectrum = np.fft.rfft2((luma - luma.mean(axis=(1, 2), keepdims=True)) * _WINDOW)
    cross = spectrum[:-1] * np.conj(spectrum[1:])
    cross /= np.abs(cross) + 1e-3
    peaks = np.fft.irfft2(cross, s=(CELLS, CELLS))
    near = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)
    window = peaks[:, near[:, None], near[None, :]].reshape(len(peaks), -1)
    best = np.argmax(np.round(window, 6), axis=1)
    down, right = np.divmod(best, len(near))
    return (right - MAX_SHIFT).astype(np.float32), (down - MAX_SHIFT).astype(np.float32)


def _sampling(shift: Array, zoom: Array, cells: int) -> Array:
    """[P, cells, cells] matrices that read one axis at x + shift + zoom · (x - centre), linearly interpolated."""
    axis = np.arange(cells, dtype=np.float32)
    centre = np.float32((cells - 1) / 2)
    at = axis + shift[:, None] + zoom[:, None] * (axis - centre)
    return np.maximum(0, 1 - np.abs(at[:, :, None] - axis)).astype(np.float32)


def _warp(pictures: Array, right: Array, down: Array, zoom: Array) -> tuple[Array, Array]:
    """Pictures [P, n, n] or [P, C, n, n] seen by the moved camera, and the [P, n, n] weight of cells inside them."""
    cells = pictures.shape[-1]
    across, along = _sampling(right, zoom, cells), _sampling(down, zoom, cells)
    inside = along.sum(axis=2)[:, :, None] * across.sum(axis=2)[:, None, :]
    if pictures.ndim == 4:
        across, along = across[:, None], along[:, None]
    return along @ pictures @ across.swapaxes(-1, -2), inside


def _refine(first: Array, second: Array, right: Array, down: Array, zoom: Array, steps: int) -> tuple[Array, ...]:
    """Robust least-squares refinement of (right, down, zoom), [P] each in cells of `first`, `second` [P, n, n]."""
    pairs, cells = first.shape[0], first.shape[1]
    slope_y = np.zeros_like(second)
    slope_x = np.zeros_like(second)
    slope_y[:, 1:-1] = (second[:, 2:] - second[:, :-2]) * np.float32(0.5)
    slope_x[:, :, 1:-1] = (second[:, :, 2:] - second[:, :, :-2]) * np.float32(0.5)
    offset = np.arange(cells, dtype=np.float32) - np.float32((cells - 1) / 2)
    spread = slope_x * offset + slope_y * offset[:, None]
    half = np.float32(cells / 2)
    jacobian = np.stack([slope_x, slope_y, spread / half], axis=1).reshape(pairs, 3, -1)
    ridge = np.eye(3, dtype=np.float32) * np.float32(RIDGE * (cells / CELLS) ** 2)
    limit = np.float32(MAX_SHIFT * cells / CELLS)
    for _ in range(steps):
        seen, inside = _warp(first, right, down, zoom)
        rest = ((second - seen) * inside).reshape(pairs, -1)
        weight = inside.reshape(pairs, -1) / (1 + (rest / np.float32(OUTLIER_LUMA)) ** 2)
        weighted = jacobian * weight[:, None]
        normal = weighted @ jacobian.swapaxes(1, 2) + ridge
        step = np.linalg.solve(normal, weighted @ rest[:, :, None])[:, :, 0]
        step = np.clip(step, -2, 2)
        right = np.clip(right + step[:, 0], -limit, limit)
        down = np.clip(down + step[:, 1], -limit, limit)
        zoom = np.clip(zoom + step[:, 2] / half, -MAX_ZOOM, MAX_ZOOM)
    return right, down, zoom


def _match_light(luma: Array) -> tuple[Array, Array]:
    """Gain and offset [P] that bring each picture of `luma` [T, 32, 32] to the light of the next; 1 and 0 unless the
    light of most of the picture has changed."""
    first, second = luma[:-1].reshape(len(luma) - 1, -1), luma[1:].reshape(len(luma) - 1, -1)
    lit = np.abs(np.median(second - first, axis=1)) >= LIGHT_STEP
    mean_first, mean_second = first.mean(axis=1), second.mean(axis=1)
    contrast_first, contrast_second = first.std(axis=1) + 1, second.std(axis=1) + 1
    gain = np.clip(contrast_second / contrast_first, 1 / MAX_GAIN, MAX_GAIN)
    gain = np.where(lit, gain, 1).astype(np.float32)
    offset = np.where(lit, mean_second - gain * mean_first, 0).astype(np.float32)
    return gain, offset


def _correlation(first: Array, second: Array, inside: Array) -> Array:
    """[P] correlation of pictures [P, n, n] over the cells weighted by `inside`; 0 where one of them is plain."""
    total = inside.sum(axis=(1, 2)) + np.float32(1e-6)

    def centred(picture: Array) -> Array:
        mean = (picture * inside).sum(axis=(1, 2)) / total
        return (picture - mean[:, None, None]) * inside

    a, b = centred(first), centred(second)
    scale = np.sqrt((a * a).sum(axis=(1, 2)) * (b * b).sum(axis=(1, 2)))
    return np.where(scale > total, (a * b).sum(axis=(1, 2)) / np.maximum(scale, 1), 0).astype(np.float32)


def _differs(first: Array, second: Array, slack: Array) -> NDArray[np.bool_]:
    """[P, n, n] cells of `first`, `second` [P, 3, n, n] that differ by more than noise plus `slack` luma."""
    gap = np.abs(second - first)
    luma = gap[:, 0] > np.float32(CHANGED_LUMA) + slack
    chroma = np.maximum(gap[:, 1], gap[:, 2]) > np.float32(CHANGED_CHROMA) + slack * np.float32(0.5)
    differs: NDArray[np.bool_] = luma | chroma
    return differs


def measure_motion(cells: Array) -> Motion:
    """Motion between neighbouring pictures.

    Args:
        cells: [T, 32, 32, 3] full-range YUV, T >= 2.

    Returns:
        `Motion` of T - 1 pairs.
    """
    planes = np.ascontiguousarray(np.moveaxis(cells, 3, 1))  # [T, 3, 32, 32]
    luma = planes[:, 0]
    gain, offset = _match_light(luma)
    first, second = planes[:-1].copy(), planes[1:]
    first[:, 0] = first[:, 0] * gain[:, None, None] + offset[:, None, None]
    before, after = first[:, 0], second[:, 0]
    pairs = len(first)
    none = np.zeros(pairs, np.float32)

    still_gap = np.abs(after - before)
    right, down, zoom = none, none, none
    moving = still_gap.mean(axis=(1, 2)) > STATIC_LUMA
    if moving.any():
        coarse_before, coarse_after = shrink(before), shrink(after)
        far_right, far_down = _phase_shift(luma)
        half = np.float32(0.5)
        candidates = []
        for start_right, start_down in ((none, none), (far_right, far_down)):
            a, b, z = _refine(coarse_before, coarse_after, start_right * half, start_down * half, none, COARSE_STEPS)
            seen, inside = _warp(coarse_before, a, b, z)
            miss = (np.minimum(np.abs(coarse_after - seen), 40) * inside).sum(axis=(1, 2)) / inside.sum(axis=(1, 2))
            candidates.append((a * 2, b * 2, z, miss))
        (a0, b0, z0, miss0), (a1, b1, z1, miss1) = candidates
        far = miss1 < np.float32(0.85) * miss0
        right, down, zoom = np.where(far, a1, a0), np.where(far, b1, b0), np.where(far, z1, z0)
        right, down, zoom = _refine(before, after, right, down, zoom, FINE_STEPS)
        right, down, zoom = (np.where(moving, value, 0).astype(np.float32) for value in (right, down, zoom))

    seen, inside = _warp(first, right, down, zoom)
    slope_y, slope_x = np.gradient(after, axis=(1, 2))
    slope = np.maximum(np.abs(slope_x), np.abs(slope_y))
    valid = inside > 0.99
    moved = (np.abs(right) + np.abs(down) + np.abs(zoom) * CELLS / 2) > 0.1
    slack = slope * np.float32(GRADIENT_SLACK) * moved[:, None, None]
    changed = _differs(seen, second, slack) & valid
    changed_still = _differs(first, second, np.zeros_like(slope))
    alike = _correlation(seen[:, 0], after, inside)

    axis = np.arange(CELLS, dtype=np.float32) - np.float32((CELLS - 1) / 2)
    flow_x = right[:, None, None] + zoom[:, None, None] * axis
    flow_y = down[:, None, None] + zoom[:, None, None] * axis[:, None]
    visible = np.abs(slope_x * flow_x + slope_y * flow_y) * valid
    size = np.maximum(region_sums(valid), 1)
    shown = region_sums(visible) / size
    rest = region_sums(np.abs(after - seen[:, 0]) * valid) / size
    raw = region_sums(still_gap * valid) / size
    asked = (shown > VISIBLE_LUMA) & (size > 30)
    agrees = asked & (rest < np.float32(GAINED) * raw)
    votes = asked.sum(axis=1)
    support = np.where(votes >= 3, agrees.sum(axis=1) / np.maximum(votes, 1), 0.0)

    return Motion(
        right=right.astype(np.float64),
        down=down.astype(np.float64),
        zoom=-np.log1p(zoom.astype(np.float64)),
        support=support.astype(np.float64),
        changed=changed,
        changed_still=changed_still,
        alike=alike.astype(np.float64),
    )
