"""How the picture moves between neighbouring samples: camera shift and zoom, and what changes after taking them out.

Works on 32×32 cells. A pair of pictures A, B is modelled as B(x) = gain · A(x + shift + zoom · (x - centre)) + offset.
The whole-picture shift comes from phase correlation (large moves), shift and zoom are then refined by robust least
squares on the picture gradient, first on 16×16 and then on 32×32 cells. Warps without rotation are separable, so each
is two small matrix products. All pairs of a clip are handled at once.
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
FAR_SHIFT = 2  # cells; least squares finds shorter shifts by itself
FAR_GAIN = 0.85  # a long shift must fit this much better than none
MAX_MISS = 40.0  # luma difference of one cell beyond which a fit cannot get worse
OUTLIER_LUMA = 8.0  # luma difference from which a cell counts less and less in the fit: it moves by itself
RIDGE = 30.0  # keeps directions without texture at zero motion
STILL_CELLS = 4  # changed cells (of 1024) below which two pictures differ by compression noise only
LIGHT_STEP = 3.0  # median luma difference from which the light itself is taken to have changed
MAX_GAIN = 4.0  # of contrast between two pictures of one fade

CHANGED_LUMA = 9.0  # a cell has changed when luma differs more than this: four times the noise seen after averaging
CHANGED_CHROMA = 9.0  # the same for either chroma
GRADIENT_SLACK = 0.5  # cells of warp error allowed at edges while the camera moves

VISIBLE_LUMA = 0.7  # mean luma difference a region must show for a shift to be checked there
MIN_REGION_CELLS = 8  # of about 28 (on 16×16 cells): less of a region is too little to judge
MIN_VOTES = 3  # regions that must be able to show the motion
MIN_LINES = 2  # rows, and columns, with regions that agree: rolling credits fill one column, a ticker one row
GAINED = 0.65  # a region agrees with the camera when its residual falls below this share


@dataclass(frozen=True, slots=True)
class Motion:
    """Motion of P neighbouring pairs. Shifts are the camera's: positive when the view moves right, down, in.

    Attributes:
        right, down: [P] shift in cells (1/32 of the picture).
        zoom: [P] natural logarithm of the magnification, positive when the view closes in.
        support: [P] 0..1, share of textured regions that agree with this camera motion; 0 when they are too few.
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
_AXES = {n: np.arange(n, dtype=np.float32) - np.float32((n - 1) / 2) for n in (CELLS // 2, CELLS)}  # from the centre
_REGION_ROWS: dict[int, Array] = {
    n: (np.arange(REGIONS)[:, None] == np.arange(n) * REGIONS // n).astype(np.float32) for n in (CELLS // 2, CELLS)
}


def region_sums(maps: NDArray[np.generic]) -> Array:
    """[..., n, n] → [..., 9] (n is 16 or 32) sums over the 3×3 regions, row by row from the top left."""
    rows = _REGION_ROWS[maps.shape[-1]]
    sums: Array = rows @ maps.astype(np.float32, copy=False) @ rows.T
    return sums.reshape(*maps.shape[:-2], REGIONS * REGIONS)


def spread(regions: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[P, 9] → [P]: the true regions lie in at least two rows and two columns."""
    grid = regions.reshape(-1, REGIONS, REGIONS)
    wide: NDArray[np.bool_] = grid.any(axis=1).sum(axis=1) >= MIN_LINES
    high: NDArray[np.bool_] = grid.any(axis=2).sum(axis=1) >= MIN_LINES
    return wide & high


def _phase_shift(luma: Array, pairs: NDArray[np.intp]) -> Array:
    """[N, 2] shift (right, down) in whole cells from picture `pairs[i]` to the next of `luma` [T, 32, 32]."""
    spectrum = np.fft.rfft2((luma - luma.mean(axis=(1, 2), keepdims=True)) * _WINDOW)
    cross = spectrum[pairs] * np.conj(spectrum[pairs + 1])
    cross /= np.abs(cross) + 1e-3
    peaks = np.fft.irfft2(cross, s=(CELLS, CELLS))
    near = np.arange(-MAX_SHIFT, MAX_SHIFT + 1)
    window = peaks[:, near[:, None], near[None, :]].reshape(len(peaks), -1)
    best = np.argmax(np.round(window, 6), axis=1)
    down, right = np.divmod(best, len(near))
    return np.stack((right, down), axis=1).astype(np.float32) - np.float32(MAX_SHIFT)


def _sampling(shift: Array, zoom: Array, cells: int) -> Array:
    """[P, cells, cells] matrices that read one axis at x + shift + zoom · (x - centre), linearly interpolated."""
    axis = _AXES[cells]
    at = axis + np.float32((cells - 1) / 2) + shift[:, None] + zoom[:, None] * axis
    far = at[:, :, None] - np.arange(cells, dtype=np.float32)
    np.abs(far, out=far)
    np.subtract(np.float32(1), far, out=far)
    weights: Array = np.maximum(far, np.float32(0), out=far)
    return weights


def _warp(pictures: Array, view: Array) -> tuple[Array, Array]:
    """Pictures [P, n, n] or [P, C, n, n] seen after the camera moved by `view` [P, 3], and the [P, n, n] weight of the
    cells that come from inside the picture."""
    cells, pairs = pictures.shape[-1], len(view)
    both = _sampling(view[:, :2].T.ravel(), np.concatenate((view[:, 2], view[:, 2])), cells)
    across: NDArray[np.float32] = both[:pairs]
    along: NDArray[np.float32] = both[pairs:]
    known: Array = both.sum(axis=2)
    inside: Array = known[pairs:, :, None] * known[:pairs, None, :]
    if pictures.ndim == 4:
        along, across = along[:, None], across[:, None]
    seen = along @ pictures @ across.swapaxes(-1, -2)
    return seen.astype(np.float32, copy=False), inside


def _refine(first: Array, second: Array, view: Array, steps: int) -> Array:
    """Robust least-squares refinement of the camera's `view` [P, 3] (right, down, zoom); shifts in cells of `first`,
    `second` [P, n, n]."""
    pairs, cells = first.shape[0], first.shape[1]
    slopes = np.zeros((pairs, 3, cells, cells), np.float32)
    np.subtract(second[:, :, 2:], second[:, :, :-2], out=slopes[:, 0, :, 1:-1])
    np.subtract(second[:, 2:], second[:, :-2], out=slopes[:, 1, 1:-1])
    slopes[:, :2] *= np.float32(0.5)
    half = np.float32(cells / 2)
    offset = _AXES[cells] / half
    slopes[:, 2] = slopes[:, 0] * offset + slopes[:, 1] * offset[:, None]
    jacobian = slopes.reshape(pairs, 3, -1)
    ridge = np.eye(3, dtype=np.float32) * np.float32(RIDGE * (cells / CELLS) ** 2)
    bound = np.array([MAX_SHIFT * cells / CELLS, MAX_SHIFT * cells / CELLS, MAX_ZOOM], np.float32)
    scale = np.array([1, 1, 1 / half], np.float32)
    for _ in range(steps):
        seen, inside = _warp(first, view)
        rest = ((second - seen) * inside).reshape(pairs, -1)
        weight = rest * np.float32(1 / OUTLIER_LUMA)
        weight *= weight
        weight += 1
        np.divide(inside.reshape(pairs, -1), weight, out=weight)
        weighted = jacobian * weight[:, None]
        normal = weighted @ jacobian.swapaxes(1, 2) + ridge
        step = np.linalg.solve(normal, weighted @ rest[:, :, None])[:, :, 0]
        view = np.minimum(np.maximum(view + np.minimum(np.maximum(step, -2), 2) * scale, -bound), bound)
    return view


def _camera_view(before: Array, after: Array, shift: Array) -> Array:
    """[P, 3] right and down in cells, and zoom, that bring `before` to `after`.

    Args:
        before, after: [P, 32, 32] the pairs in the same light.
        shift: [P, 2] their whole-picture shift.
    """
    pairs = len(before)
    far = np.flatnonzero(np.abs(shift).max(axis=1) >= FAR_SHIFT)  # nearer ones are found from rest
    each = np.concatenate((np.arange(pairs), far))
    start = np.zeros((len(each), 3), np.float32)
    start[pairs:, :2] = shift[far] * np.float32(0.5)
    coarse = shrink(np.concatenate((before, after)))
    coarse_before, coarse_after = coarse[each], coarse[pairs + each]
    found = _refine(coarse_before, coarse_after, start, COARSE_STEPS)
    view = found[:pairs]
    if len(far):
        seen, inside = _warp(coarse_before, found)
        gap = np.minimum(np.abs(coarse_after - seen), np.float32(MAX_MISS)) * inside
        miss = gap.sum(axis=(1, 2)) / inside.sum(axis=(1, 2))
        better = miss[pairs:] < np.float32(FAR_GAIN) * miss[far]
        view[far[better]] = found[pairs:][better]
    return _refine(before, after, view * np.array([2, 2, 1], np.float32), FINE_STEPS)


def _match_light(luma: Array) -> tuple[Array, Array]:
    """Gain and offset [P] that bring each picture of `luma` [T, 32, 32] to the light of the next; 1 and 0 unless the
    light of most of the picture has changed."""
    sample = luma[:, ::2, ::2].reshape(len(luma), -1)
    lit = np.abs(np.median(sample[1:] - sample[:-1], axis=1)) >= LIGHT_STEP
    gain, offset = np.ones(len(lit), np.float32), np.zeros(len(lit), np.float32)
    if lit.any():
        mean, spread = sample.mean(axis=1), sample.std(axis=1) + 1
        gain[lit] = np.clip(spread[1:] / spread[:-1], 1 / MAX_GAIN, MAX_GAIN)[lit]
        offset[lit] = (mean[1:] - gain * mean[:-1])[lit]
    return gain, offset


def _correlation(first: Array, second: Array, inside: Array) -> Array:
    """[P] correlation of pictures [P, n, n] over the cells weighted by `inside`; 0 where one of them is plain."""
    total = inside.sum(axis=(1, 2)) + np.float32(1e-6)
    a, b = (
        (picture - ((picture * inside).sum(axis=(1, 2)) / total)[:, None, None]) * inside for picture in (first, second)
    )
    scale = np.sqrt((a * a).sum(axis=(1, 2)) * (b * b).sum(axis=(1, 2)))
    alike = (a * b).sum(axis=(1, 2)) / np.maximum(scale, 1)
    return np.where(scale > total, alike, 0).astype(np.float32)


def _differs(gap: Array, slack: Array | None = None) -> NDArray[np.bool_]:
    """[P, n, n] cells whose `gap` [P, 3, n, n] in Y, U, V is more than noise, plus `slack` in luma."""
    size = np.abs(gap)
    luma, chroma = size[:, 0], np.maximum(size[:, 1], size[:, 2])
    if slack is not None:
        luma, chroma = luma - slack, chroma - slack * np.float32(0.5)
    differs: NDArray[np.bool_] = (luma > CHANGED_LUMA) | (chroma > CHANGED_CHROMA)
    return differs


def _blur(pictures: Array) -> Array:
    """[..., n, n] → the same shape: mean of each cell with those above, left, and above left."""
    result = pictures.copy()
    result[..., 1:, :] += pictures[..., :-1, :]
    result[..., 1:, :] *= np.float32(0.5)
    across = result.copy()
    across[..., 1:] += result[..., :-1]
    across[..., 1:] *= np.float32(0.5)
    return across


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
    view = np.zeros((pairs, 3), np.float32)
    changed_still = _differs(second - first)
    moving = np.flatnonzero(changed_still.sum(axis=(1, 2)) >= STILL_CELLS)
    if len(moving) == 0:
        none = np.zeros(pairs)
        return Motion(none, none, none, none, changed_still, changed_still, np.ones(pairs))

    view[moving] = _camera_view(before[moving], after[moving], _phase_shift(luma, moving))
    seen, inside = _warp(first, view)
    slope = np.zeros((2, *after.shape), np.float32)
    np.subtract(after[:, :, 2:], after[:, :, :-2], out=slope[0, :, :, 1:-1])
    np.subtract(after[:, 2:], after[:, :-2], out=slope[1, :, 1:-1])
    slope *= np.float32(0.5)
    valid = inside > 0.99
    right, down, zoom = view.T
    moved = (np.abs(right) + np.abs(down) + np.abs(zoom) * CELLS / 2) > 0.1
    slack = np.abs(slope).max(axis=0) * (np.float32(GRADIENT_SLACK) * moved)[:, None, None]
    gap = (second - seen) * valid[:, None]
    changed = _differs(_blur(gap), slack) & valid  # interpolation error is finer than what moves

    axis = _AXES[CELLS]
    flow_x = right[:, None] + zoom[:, None] * axis  # [P, 32] along each row
    flow_y = down[:, None] + zoom[:, None] * axis
    expected = slope[0] * flow_x[:, None, :] + slope[1] * flow_y[:, :, None]
    maps = np.concatenate((expected, after - seen[:, 0], after - before)) * np.concatenate((valid,) * 3)
    shown, rest, raw = region_sums(np.abs(shrink(maps))).reshape(3, pairs, -1)  # 2×2 means: free of interpolation error
    size = region_sums(shrink(valid.astype(np.float32)))
    asked = (shown > np.float32(VISIBLE_LUMA) * size) & (size > MIN_REGION_CELLS)
    agrees = asked & (rest < np.float32(GAINED) * raw)
    votes = asked.sum(axis=1)
    support = np.where((votes >= MIN_VOTES) & spread(agrees), agrees.sum(axis=1) / np.maximum(votes, 1), 0.0)
    alike = _correlation(seen[:, 0], after, inside)
    alike[np.setdiff1d(np.arange(pairs), moving)] = 1

    return Motion(
        right=right.astype(np.float64),
        down=down.astype(np.float64),
        zoom=-np.log1p(zoom.astype(np.float64)),
        support=support.astype(np.float64),
        changed=changed,
        changed_still=changed_still,
        alike=alike.astype(np.float64),
    )
