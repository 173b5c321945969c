"""Small pictures as JPEG files, by FFmpeg's own encoder: the library that decodes is loaded anyway."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from fdvs.media.frame import Frame

# The encoder's scale, from 2 (best) to 31: hardly any trace of the encoding at the size of a thumbnail.
QUANTISER = 4
_TICK = Fraction(1, 1)


class JpegEncoder:
    """Encodes pictures one by one. What it is set up with is kept, because setting it up costs more than using it."""

    def __init__(self) -> None:
        self._encoders: dict[tuple[int, int], VideoCodecContext] = {}
        self._scaler = VideoReformatter()
        self._num_encoded = 0

    def encode(self, picture: NDArray[np.uint8]) -> bytes:
        """`[H, W, 3]` RGB → the bytes of a JPEG file; equal pictures give equal bytes."""
        frame = VideoFrame.from_ndarray(picture, format="rgb24")
        # One thread: a pool for so small a picture costs more than it saves.
        return self._file(self._scaler.reformat(frame, format="yuvj420p", dst_color_range=ColorRange.JPEG, threads=1))

    def encode_frame(self, frame: Frame, short_side: int) -> bytes:
        """A decoded picture with a shorter side of so many pixels → the bytes of a JPEG file, over RGB only if needed;
        equal pictures give equal bytes."""
        planes = frame.jpeg_planes(short_side)
        return self.encode(frame.quick_rgb(short_side)) if planes is None else self._file(planes)

    def _file(self, planes: VideoFrame) -> bytes:
        size = planes.width, planes.height
        encoder = self._encoders.get(size)
        if encoder is None:
            encoder = self._encoders[size] = _encoder(*size)
        # A film's own times are refused where they do not rise: clips are decoded again, seconds are rounded.
        planes.time_base, planes.pts = _TICK, self._num_encoded
        self._num_encoded += 1
        return b"".join(bytes(packet) for packet in encoder.encode(planes))


def _encoder(width: int, height: int) -> VideoCodecContext:
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = _TICK
    encoder.thread_count = 1
    encoder.qmin = encoder.qmax = QUANTISER
    encoder.flags |= Flags.bitexact  # no version of the library in the file
    return encoder
