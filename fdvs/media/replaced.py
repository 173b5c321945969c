"""How much of a picture is gone in another one, judged on small copies of both.

A cut replaces what is seen; a line that is added to a slide, a lamp in a corner or a person who enters do not. So
points are weighed by the structure (edges) they carry: of two slides of one design only the letters differ, and they
are few points but most of the structure. All results are whole thousandths, so that decisions are the same everywhere.
"""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

SIDE = 64
_HALF = SIDE // 2
# Code values of 255 by which a point must differ to count as another one: above what coding and noise do.
_CHANGED = 10
# What a point counts without any edge: a bare wall is part of the picture too.
_BARE = 2
# With so few changed points no structure worth a cut can have changed, and the edges need not be looked at.
_FEWEST = SIDE * SIDE // 50
# Code values above this one are no black in any range; black pictures have at most 2 % of them, and this is twice that.
_LIGHT = 64
_MOST_LIGHT = SIDE * SIDE // 25
# In thousandths. A span below 6 code values is within what noise and slow light do. On real films, what a mixture
# leaves unexplained starts at about 300 where things move, and stays below 200 inside dissolves and fades.
_LEAST_SPAN = 6000
_MOST_RESIDUAL = 200
_REPLACED = 500
_MOST_ALIKE = 600
_AREA = int(Interpolation.AREA)

Thumb = NDArray[np.uint8]  # [96, 64]: 64 rows of luma, then U and V of 32 x 32 points, each in 16 rows


def thumb(picture: VideoFrame, scaler: VideoReformatter) -> Thumb:
    """Small copy of a decoded picture, in the picture's own range and orientation: only to be compared in one film."""
    small = scaler.reformat(picture, SIDE, SIDE, "yuv420p", interpolation=_AREA, threads=1)
    return np.ascontiguousarray(small.to_ndarray(), dtype=np.uint8)


def may_be_black(small: Thumb) -> bool:
    """False for pictures that have too much light to be black, whatever their range and transfer curve: a cheap test in
    front of the exact one."""
    return int(np.count_nonzero(small[:SIDE] > _LIGHT)) <= _MOST_LIGHT


def difference(before: Thumb, after: Thumb) -> int:
    """Mean absolute difference of all points, in thousandths of a code value."""
    return int(_apart(before, after).sum()) * 1000 // before.size


def replaced(before: Thumb, after: Thumb) -> int:
    """Thousandths of the structure that is another one: the smaller of "what was there is gone" and "what is there is
    new", so that adding to a picture, or wiping something away, is no replacement."""
    apart = _apart(before, after)
    changed = apart[:SIDE] > _CHANGED
    coloured = (apart[SIDE:].reshape(2, _HALF, _HALF) > _CHANGED).any(axis=0)
    changed |= coloured.repeat(2, axis=0).repeat(2, axis=1)
    if np.count_nonzero(changed) < _FEWEST:
        return 0
    return min(_share(before, changed), _share(after, changed))


def is_mixture(before: Thumb, middle: Thumb, after: Thumb) -> bool:
    """True where `middle` is the two others laid over one another, half and half, as in the middle of a dissolve.

    Movement gives other pictures in between; and a change of light alone gives a mixture, but of pictures that are
    alike in all but brightness, which are not meant here.
    """
    span = difference(before, after)
    if span < _LEAST_SPAN:
        return False
    apart = np.abs(2 * middle.astype(np.int16) - before - after)
    residual = int(apart.sum()) * 1000 // (2 * middle.size)
    if residual * 1000 > _MOST_RESIDUAL * span:
        return False
    return replaced(before, after) >= _REPLACED and _likeness(before, after) <= _MOST_ALIKE


def _apart(before: Thumb, after: Thumb) -> Thumb:
    return np.asarray(np.maximum(before, after) - np.minimum(before, after), dtype=np.uint8)


def _share(small: Thumb, changed: NDArray[np.bool_]) -> int:
    """Thousandths of the structure of `small` that lies on changed points."""
    luma = small[:SIDE].astype(np.int16)
    weight = np.full(luma.shape, _BARE, np.int16)
    weight[:, 1:] += np.abs(luma[:, 1:] - luma[:, :-1])
    weight[1:] += np.abs(luma[1:] - luma[:-1])
    return int(weight[changed].sum()) * 1000 // int(weight.sum())


def _likeness(before: Thumb, after: Thumb) -> int:
    """Correlation of the luma of two pictures in thousandths; 0 where one of them is flat."""
    first = before[:SIDE].astype(np.float64) - before[:SIDE].mean()
    second = after[:SIDE].astype(np.float64) - after[:SIDE].mean()
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return round(1000 * float((first * second).sum()) / size) if size > 0 else 0
