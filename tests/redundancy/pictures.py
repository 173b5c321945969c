"""Pictures for tests of repeats: seeded rooms, with or without somebody in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fdvs.records import Clip, Span, content_id
from fdvs.redundancy.duplicates import ClipLayouts
from fdvs.redundancy.layout import layouts_of

Pixels = NDArray[np.uint8]


def room(seed: int, *, noise: float = 0.0) -> Pixels:
    """[64, 64, 3] full-range YUV: a smooth random scene; with noise of so many grey levels (standard deviation)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(30, 226, (8, 8, 3))
    picture = np.kron(coarse, np.ones((8, 8, 1)))
    picture[..., 1:] = 128 + (picture[..., 1:] - 128) * 0.3
    dirt = np.random.default_rng(seed + 10_000).normal(0, noise, picture.shape) if noise else 0
    return np.clip(np.round(picture + dirt), 0, 255).astype(np.uint8)


def with_visitor(picture: Pixels, *, left: int = 30) -> Pixels:
    """Somebody who covers 4 % of the picture."""
    visited = picture.copy()
    visited[20:36, left : left + 10, 0] = np.where(picture[20:36, left : left + 10, 0] > 128, 20, 235)
    return visited


def flat(grey: int) -> Pixels:
    return np.full((64, 64, 3), (grey, 128, 128), np.uint8)


def film(clips: Sequence[Sequence[Pixels]], *, step_ms: int = 500, video_id: str = "v") -> list[ClipLayouts]:
    """Clips that show these pictures, `step_ms` each."""
    made = []
    start = 0
    for pictures in clips:
        times = tuple(start + i * step_ms for i in range(len(pictures)))
        span = Span(start, start + max(1, len(pictures)) * step_ms)
        clip = Clip(content_id("clip", video_id, start), video_id, span, start, times)
        pixels = np.stack(pictures) if pictures else np.empty((0, 64, 64, 3), np.uint8)
        made.append(ClipLayouts(clip, layouts_of(pixels)))
        start = span.end_ms
    return made
