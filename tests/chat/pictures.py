"""Frames for models to look at: coloured squares that differ by their seed."""

from __future__ import annotations

import io

import numpy as np

from fdvs.chat.base import Frames
from fdvs.records import TimedPicture


def jpeg(seed: int, width: int = 128, height: int = 96) -> bytes:
    from PIL import Image

    squares = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(squares).resize((width, height), Image.Resampling.NEAREST).save(data, "JPEG")
    return data.getvalue()


def frames(*times_ms: int, seed: int = 0) -> Frames:
    return Frames(tuple(TimedPicture(time_ms, jpeg(seed + i)) for i, time_ms in enumerate(times_ms)))
