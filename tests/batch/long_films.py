"""Films of many hours, rendered in seconds: a short pattern is encoded once and its packets are written again and
again with later times. Every repetition begins with a key picture, so the file decodes like any other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LongFilm:
    """How a long film is made.

    Attributes:
        fps: pictures per second.
        key_every: pictures from one key picture to the next.
        pattern_s: length of what is encoded.
        shot_s: shortest and longest shot; (0, 0) for a camera that stands before one scene.
        size: width and height of its pictures.
        seed: films of another seed show other pictures.
    """

    fps: int
    key_every: int
    pattern_s: int
    shot_s: tuple[int, int]
    size: tuple[int, int] = (64, 36)
    seed: int = 7

    def write(self, path: Path, seconds: int) -> None:
        """Write `seconds` of it (whole patterns, at least one)."""
        pattern = path.with_name(f"{path.stem}.pattern.mp4")
        self._encode(pattern)
        with av.open(path, "w") as output:
            stream = None
            for repetition in range(max(1, seconds // self.pattern_s)):
                with av.open(pattern) as source:
                    stream = stream or output.add_stream_from_template(source.streams.video[0])
                    for packet in source.demux(video=0):
                        if packet.pts is None or packet.dts is None:
                            continue  # the demuxer's last word
                        assert packet.time_base is not None
                        later = round(repetition * self.pattern_s / packet.time_base)
                        packet.pts, packet.dts = packet.pts + later, packet.dts + later
                        packet.stream = stream
                        output.mux(packet)
        pattern.unlink()

    def _encode(self, path: Path) -> None:
        with av.open(path, "w") as output:
            stream = output.add_stream("libx264", rate=Fraction(self.fps))
            (stream.width, stream.height), stream.pix_fmt = self.size, "yuv420p"
            stream.options = {
                "preset": "ultrafast",
                "crf": "28",
                "x264-params": f"keyint={self.key_every}:min-keyint={self.key_every}:scenecut=0:bframes=0",
            }
            for picture in self._pictures():
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            output.mux(stream.encode(None))

    def _pictures(self) -> Iterator[NDArray[np.uint8]]:
        """`[H, W, 3]` RGB: one texture per shot, which the camera pans over at a speed of its own."""
        chance = np.random.default_rng(self.seed)
        left, speed, texture = 0, 0, _texture(chance, *self.size)
        for number in range(self.fps * self.pattern_s):
            if left == 0:
                low, high = self.shot_s
                left = self.fps * (int(chance.integers(low, high + 1)) if high else self.pattern_s)
                speed = int(chance.integers(-2, 3)) if high else 0
                texture = _texture(chance, *self.size)
            left -= 1
            yield np.roll(texture, speed * number, axis=1)


def _texture(chance: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """A picture of smooth blobs in two colours."""
    colours = chance.integers(0, 256, (2, 3))
    coarse = np.kron(chance.random((6, 8)), np.ones((height // 6, width // 8)))[..., None]
    return np.asarray(coarse * colours[0] + (1 - coarse) * colours[1], np.uint8)


# Key pictures every four seconds and a cut every three to fifteen.
FEATURE = LongFilm(fps=5, key_every=20, pattern_s=600, shot_s=(3, 15))
# A camera that watches a wall at one picture a second.
STATIC_CAMERA = LongFilm(fps=1, key_every=10, pattern_s=600, shot_s=(0, 0))
