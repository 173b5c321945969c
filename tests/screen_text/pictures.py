"""Pictures with lines of text, as small pictures and as frames, and a reader that knows what was drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fdvs.media.frame import Frame
from fdvs.screen_text.boxes import Box
from fdvs.screen_text.changes import Luma
from fdvs.screen_text.readings import ReadLine

WIDTH, HEIGHT = 640, 368
# Where the lines of `drawn` stand, in thousandths.
LINE: list[Box] = [(50, 60 + 120 * i, 700, 150 + 120 * i) for i in range(6)]


def drawn(*lines: str, background: int = 235, size: tuple[int, int] = (WIDTH, HEIGHT)) -> NDArray[np.uint8]:
    """[H, W, 3] RGB of dark lines, one below the other."""
    image = Image.new("RGB", size, (background,) * 3)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size[1] * 22 // HEIGHT)
    for line, (left, top, _, _) in zip(lines, LINE, strict=False):
        draw.text((left * size[0] // 1000, top * size[1] // 1000), line, (20, 20, 20), font)
    return np.asarray(image)


def picture(*lines: str) -> Luma:
    """The small picture of `drawn`."""
    return frame(drawn(*lines), 0).luma(320, 184).copy()


def frame(pixels: NDArray[np.uint8], time_ms: int) -> Frame:
    return Frame(VideoFrame.from_ndarray(pixels, format="rgb24"), time_ms, time_ms)


class KnowingEyes:
    """Sees and reads the lines that were announced for a picture, by its mean colour; counts its looks. Of foreign
    letters it only sees where they stand."""

    def __init__(self, *, foreign: bool = False) -> None:
        self.foreign = foreign
        self.known: list[tuple[NDArray[np.uint8], Sequence[str]]] = []
        self.glances = self.reads = 0

    def draw(self, *lines: str, background: int = 235) -> NDArray[np.uint8]:
        pixels = drawn(*lines, background=background)
        self.known.append((pixels, lines))
        return pixels

    def _lines(self, pixels: NDArray[np.uint8]) -> Sequence[str]:
        def distance(known: NDArray[np.uint8]) -> float:
            at = np.asarray(Image.fromarray(known).resize((pixels.shape[1], pixels.shape[0]), Image.Resampling.BOX))
            return float(np.abs(at.astype(float) - pixels).mean())

        return min(self.known, key=lambda one: distance(one[0]))[1]

    def glance(self, pixels: NDArray[np.uint8]) -> tuple[Box, ...]:
        self.glances += 1
        return tuple(LINE[: len(self._lines(pixels))])

    def read(self, pixels: NDArray[np.uint8]) -> tuple[ReadLine, ...]:
        self.reads += 1
        lines = () if self.foreign else self._lines(pixels)
        return tuple(ReadLine(text, 0.99, box) for text, box in zip(lines, LINE, strict=False))
