"""Whether text may have changed between two samples, judged on small pictures of their brightness.

Finer than the test for repeated pictures: one more line on a slide leaves a picture nearly the same and is all that
matters here. Coarser than any change at all: noise of compression and a mouse pointer are no text.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fdvs.screen_text.boxes import Box

LONG_SIDE = 320
BLOCK = 8
# Mean change of brightness, 0..255, from which a block has changed: a few letters do more, compression does less.
CHANGED = 12.0
# A line of text changes this many blocks in a row; a pointer does not.
RUN = 3

Luma = NDArray[np.uint8]


def luma_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the small picture: long side `LONG_SIDE`, both whole blocks."""
    scale = LONG_SIDE / max(width, height)
    return tuple(max(1, round(side * scale / BLOCK)) * BLOCK for side in (width, height))  # type: ignore[return-value]


def looks_same(a: Luma, b: Luma) -> bool:
    """Whether no text came, went or changed between two [h, w] pictures, as far as brightness shows it. Pictures of
    different sizes differ."""
    if a.shape != b.shape:
        return False
    height, width = a.shape
    blocks = _difference(a, b).reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    changed = blocks.sum(axis=(1, 3), dtype=np.int32) >= CHANGED * BLOCK * BLOCK
    return not (_has_run(changed) or _has_run(changed.T))


def same_in(a: Luma, b: Luma, boxes: Iterable[Box]) -> bool:
    """Whether nothing changed between two pictures inside any of these boxes (thousandths of the picture)."""
    if a.shape != b.shape:
        return False
    height, width = a.shape
    difference = _difference(a, b)
    for left, top, right, bottom in boxes:
        x, y = min(left * width // 1000, width - 1), min(top * height // 1000, height - 1)
        inside = difference[y : max(y + 1, -(-bottom * height // 1000)), x : max(x + 1, -(-right * width // 1000))]
        columns = inside.mean(axis=0)
        if any(columns[at : at + BLOCK].mean() >= CHANGED for at in range(0, len(columns), BLOCK)):
            return False
    return True


def _difference(a: Luma, b: Luma) -> Luma:
    return np.asarray(np.maximum(a, b) - np.minimum(a, b), np.uint8)


def _has_run(changed: NDArray[np.bool_]) -> bool:
    """Whether `RUN` changed blocks stand side by side in a row."""
    width = changed.shape[1] - RUN + 1
    if width < 1:
        return bool(changed.any())
    run = changed[:, :width]
    for step in range(1, RUN):
        run = run & changed[:, step : step + width]
    return bool(run.any())
