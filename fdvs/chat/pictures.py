"""Frames of a request as models in this process take them: RGB arrays, single or as one video with true times."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdvs.chat.base import ChatRequest, Frames

_TICKS_PER_SECOND = 1000  # frames are numbered by their milliseconds: times come out exact


class PictureError(ValueError):
    """A picture of a request cannot be decoded."""


def decode(jpeg: bytes, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """`[H, W, 3]` RGB; of (width, height) `size` where that is given."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(jpeg)) as picture:
            rgb = picture.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(
            f"a picture of {len(jpeg)} bytes cannot be decoded"
        ) from error  # words that are always equal
    if size is not None and rgb.size != size:
        rgb = rgb.resize(size)
    return np.array(rgb, np.uint8)  # a copy: torch warns of arrays that cannot be written to


def as_images(request: ChatRequest) -> list[NDArray[np.uint8]]:
    """All pictures of a request in their order."""
    frames = [part for part in request.parts if isinstance(part, Frames)]
    return [decode(picture.jpeg) for part in frames for picture in part.pictures]


def as_video(frames: Frames, multiple: int = 1) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """`[T, H, W, 3]` RGB and what models are told of a video that was sampled before.

    Args:
        multiple: T is a multiple of this: the last frame is repeated, at its own time, for models that look at pairs.

    All frames get the size of the first one. The length is given as frames times their mean distance, so that models
    which only know an even rate have the right one.
    """
    first = decode(frames.pictures[0].jpeg)
    height, width = first.shape[:2]
    times = [picture.time_ms for picture in frames.pictures]
    pixels = [first, *(decode(picture.jpeg, (width, height)) for picture in frames.pictures[1:])]
    step_ms = _mean_step_ms(times)
    for _ in range(-len(times) % multiple):
        times.append(times[-1])
        pixels.append(pixels[-1])
    metadata = {
        "fps": float(_TICKS_PER_SECOND),
        "frames_indices": times,
        "total_num_frames": max(1, round(step_ms * len(times))),
        "duration": (times[-1] + step_ms) / 1000,
        "width": width,
        "height": height,
        "video_backend": "fdvs",
    }
    return np.stack(pixels), metadata


def _mean_step_ms(times: Sequence[int]) -> float:
    """Mean distance of frames; one second for a single one."""
    span = times[-1] - times[0]
    return span / (len(times) - 1) if span > 0 else 1000.0
