"""Films whose cuts are known because they were drawn: textured shots, slides, pans, flashes, fades and dissolves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.media_files import Film, add_stream, x264

Picture = NDArray[np.uint8]  # [HEIGHT, WIDTH, 3]
WIDTH, HEIGHT, FPS = 192, 112, 25
FRAME_MS = 1000 // FPS


def texture(seed: int, *, width: int = WIDTH, height: int = HEIGHT, dark: bool = False) -> Picture:
    """Soft blobs of colour, another picture for each seed; `dark` stays below a quarter of the light."""
    dice = np.random.default_rng(seed)
    coarse = dice.integers(20, 236, (height // 14, width // 16, 3)).astype(np.float32)
    rows = np.linspace(0, coarse.shape[0] - 1.001, height)
    columns = np.linspace(0, coarse.shape[1] - 1.001, width)
    above, left = rows.astype(int), columns.astype(int)
    down, right = (rows - above)[:, None, None], (columns - left)[None, :, None]
    upper = coarse[above][:, left] * (1 - right) + coarse[above][:, left + 1] * right
    lower = coarse[above + 1][:, left] * (1 - right) + coarse[above + 1][:, left + 1] * right
    picture = upper * (1 - down) + lower * down
    scaled: Picture = (picture / (4 if dark else 1)).astype(np.uint8)
    return scaled


def flat(level: int) -> Picture:
    return np.full((HEIGHT, WIDTH, 3), level, dtype=np.uint8)


def slide(seed: int, num_lines: int = 5) -> Picture:
    """A light page on a dark desk with lines of words, which alone tell slides of one design apart."""
    page = flat(12)
    page[8:-8, 32:-32] = 245
    dice = np.random.default_rng(seed)
    for line in range(num_lines):
        top, at = 16 + 16 * line, 42
        while at < WIDTH - 60:
            length = int(dice.integers(5, 18))
            page[top : top + 6, at : at + length] = 20
            at += length + 5
    return page


def hold(picture: Picture, count: int) -> list[Picture]:
    return [picture] * count


def noisy(pictures: Sequence[Picture], strength: float = 4.0) -> list[Picture]:
    dice = np.random.default_rng(1)
    return [np.clip(one + dice.normal(0, strength, one.shape), 0, 255).astype(np.uint8) for one in pictures]


def pan(seed: int, count: int, step: int, *, repeat: int = 1) -> list[Picture]:
    """A camera that sweeps over a wide picture by `step` pixels a picture; `repeat` 2 draws "on twos"."""
    wide = texture(seed, width=16 * ((WIDTH + step * count) // 16 + 2))
    return [wide[:, step * (i // repeat * repeat) :][:, :WIDTH] for i in range(count)]


def mixed(first: Picture, second: Picture, count: int) -> list[Picture]:
    """A dissolve (or a fade, where one of the two is black) of `count` pictures."""
    parts = [(i + 1) / (count + 1) for i in range(count)]
    return [(first * (1 - part) + second * part).astype(np.uint8) for part in parts]


def render_pictures(path: Path, pictures: Sequence[Picture], film: Film | None = None) -> Path:
    """Encode a film picture by picture, 25 a second; `film` names the codec (default: H.264 with B pictures)."""
    film = film or x264(50)
    rate = Fraction(FPS)
    film = Film(
        film.codec, len(pictures), (WIDTH, HEIGHT), film.pixel_format, film.options, 1 / rate,
        rate=rate, key_interval=film.key_interval, num_b_frames=film.num_b_frames,
    )  # fmt: skip
    with av.open(str(path), "w") as container:
        stream = add_stream(container, film)
        for pts, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame = frame.reformat(format=film.pixel_format)
            frame.pts, frame.time_base = pts, film.time_base
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


@dataclass(frozen=True, slots=True)
class CutFilm:
    """A film of shots and the numbers of the pictures that begin one (the first not counted)."""

    pictures: tuple[Picture, ...]
    cuts: tuple[int, ...]


def cut_film() -> CutFilm:
    """Still, swaying, dark and moving shots of 7 to 60 pictures; no cut falls on a key picture."""
    shots = [
        hold(texture(1), 33),
        noisy(hold(texture(2), 7)),
        pan(3, 41, 2),
        noisy(hold(texture(4, dark=True), 28), 2.0),
        noisy(hold(texture(5, dark=True), 60), 2.0),
        pan(6, 22, 5),
        pan(7, 26, 5),
        hold(slide(8), 31),
        hold(slide(9), 37),
    ]
    starts = np.cumsum([len(shot) for shot in shots])
    return CutFilm(tuple(picture for shot in shots for picture in shot), tuple(int(n) for n in starts[:-1]))
