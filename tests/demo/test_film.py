"""The demo film is what `DemoFilm` says it is, seen by plain PyAV."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pysubs2
import pytest
from numpy.typing import NDArray

from fdvs.demo.film import FPS, DemoFilm, describe_demo, render_demo
from fdvs.records import Span


@dataclass(frozen=True)
class Decoded:
    film: DemoFilm
    times_ms: list[float]
    keys_ms: list[float]
    small: NDArray[np.uint8]  # [T, 90, 160, 3]

    def during(self, span: Span) -> NDArray[np.uint8]:
        first = bisect.bisect_left(self.times_ms, span.start_ms - 0.01)
        return self.small[first : bisect.bisect_left(self.times_ms, span.end_ms - 0.01)]

    def shot(self, name: str) -> NDArray[np.uint8]:
        return self.during(self.film.shots[name])


@pytest.fixture(scope="module")
def decoded(demo: DemoFilm) -> Decoded:
    times: list[float] = []
    keys: list[float] = []
    pictures: list[NDArray[np.uint8]] = []
    for frame in decode(demo.path):
        assert frame.pts is not None
        time_ms = float(frame.pts * Fraction(frame.time_base or 0) * 1000)
        times.append(time_ms)
        if frame.key_frame:
            keys.append(time_ms)
        pictures.append(frame.reformat(160, 90, "rgb24").to_ndarray().astype(np.uint8, copy=False))
    return Decoded(demo, times, keys, np.stack(pictures))


def decode(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 640, 360)
        yield from container.decode(stream)


def centre(pictures: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[T, 2]: mean x and y, as shares of the picture, of the pixels in `mask` [T, H, W]."""
    ys, xs = np.mgrid[0 : pictures.shape[1], 0 : pictures.shape[2]]
    count = mask.sum((1, 2))
    return np.stack(
        [(mask * xs).sum((1, 2)) / count / pictures.shape[2], (mask * ys).sum((1, 2)) / count / pictures.shape[1]], 1
    )


def test_film_has_the_frames_it_names(decoded: Decoded) -> None:
    assert len(decoded.times_ms) == decoded.film.num_frames == 990
    assert decoded.times_ms == pytest.approx([1000 * index / FPS for index in range(990)], abs=0.01)


def test_film_is_small_and_lasts_about_a_minute(decoded: Decoded) -> None:
    assert decoded.film.path.stat().st_size < 3_000_000
    assert 60_000 <= decoded.film.duration_ms <= 75_000


def test_shots_cover_the_film_and_begin_with_the_only_key_frames(decoded: Decoded) -> None:
    spans = list(decoded.film.shots.values())
    assert spans[0].start_ms == 0
    assert spans[-1].end_ms == decoded.film.duration_ms
    assert all(before.end_ms == after.start_ms for before, after in itertools.pairwise(spans))
    assert decoded.keys_ms == pytest.approx([span.start_ms for span in spans], abs=0.01)


def test_black_stretch_is_black_and_its_neighbours_fade(decoded: Decoded) -> None:
    assert decoded.shot("black").max() < 12
    brightness = decoded.shot("pan").mean((1, 2, 3))
    assert np.all(np.diff(brightness[-10:]) < 0)
    brightness = decoded.shot("zoom").mean((1, 2, 3))
    assert np.all(np.diff(brightness[:10]) > 0)


def test_study_returns_and_looks_the_same(decoded: Decoded) -> None:
    first, again = decoded.shot("study").astype(int), decoded.shot("study again").astype(int)
    assert np.abs(first[60] - again[52]).mean() < 1
    other = decoded.shot("square").astype(int)
    assert np.abs(first[60] - other[52]).mean() > 30


def test_slide_does_not_change(decoded: Decoded) -> None:
    slide = decoded.shot("slide").astype(int)
    assert np.abs(slide - slide[0]).mean((1, 2, 3)).max() < 1


def test_ball_rolls_from_left_to_right(decoded: Decoded) -> None:
    pictures = decoded.shot("ball")[12:-12].astype(int)
    red = (pictures[..., 0] > 150) & (pictures[..., 1] < 100) & (pictures[..., 2] < 100)
    x, y = centre(pictures, red).T
    assert x[0] < 0.2
    assert x[-1] > 0.8
    assert np.all(np.diff(x) > -0.01)
    assert np.ptp(y) < 0.05


def test_square_rises(decoded: Decoded) -> None:
    pictures = decoded.shot("square").astype(int)
    blue = (pictures[..., 2] - pictures[..., 0] > 80) & (pictures[..., 2] > 120)
    x, y = centre(pictures, blue).T
    assert y[0] > 0.65
    assert y[-1] < 0.25
    assert np.ptp(x) < 0.02


def test_subtitles_hold_the_cues_inside_the_film(decoded: Decoded) -> None:
    film = decoded.film
    read = pysubs2.load(str(film.subtitles))
    assert [(cue.start, cue.end, cue.plaintext) for cue in read] == [
        (span.start_ms, span.end_ms, text) for span, text in film.cues
    ]
    assert len(film.cues) >= 12
    assert max(span.end_ms for span, _ in film.cues) <= film.duration_ms
    assert sum(film.answer in text for _, text in film.cues) == 1


def test_rendering_again_gives_the_same_bytes(decoded: Decoded, tmp_path: Path) -> None:
    again = render_demo(tmp_path / "deep/folder")
    assert again == describe_demo(tmp_path / "deep/folder")
    assert again.path.read_bytes() == decoded.film.path.read_bytes()
    assert again.subtitles.read_bytes() == decoded.film.subtitles.read_bytes()
    assert sorted(entry.name for entry in again.path.parent.iterdir()) == [again.path.name, again.subtitles.name]
