from __future__ import annotations

import numpy as np
import pytest

from fdvs.screen_text.changes import Luma, looks_same, luma_size, same_in
from tests.screen_text.pictures import LINE, picture


def noisy(luma: Luma, sigma: float = 3.0) -> Luma:
    noise = np.random.default_rng(7).normal(0, sigma, luma.shape)
    return np.clip(luma + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "small"),
    [((1920, 1080), (320, 176)), ((640, 360), (320, 176)), ((360, 640), (176, 320)), ((9, 3000), (8, 320))],
)
def test_small_picture_is_whole_blocks_on_its_long_side(size: tuple[int, int], small: tuple[int, int]) -> None:
    assert luma_size(*size) == small


def test_noise_of_compression_is_no_change() -> None:
    assert looks_same(picture("Results"), noisy(picture("Results")))


def test_one_more_line_is_a_change() -> None:
    assert not looks_same(picture("Results"), picture("Results", "Peak memory of the build"))
    assert not looks_same(noisy(picture("Results", "Peak memory")), noisy(picture("Results", "Cost of a frame")))


def test_a_mouse_pointer_that_moves_is_no_change() -> None:
    before, after = picture("Results"), picture("Results")
    before[100:106, 60:64] = 0
    after[120:126, 200:204] = 0
    assert looks_same(before, after)


def test_pictures_of_different_sizes_differ() -> None:
    assert not looks_same(picture("x"), picture("x").T)
    assert not same_in(picture("x"), picture("x").T, [LINE[0]])


def test_only_what_is_inside_a_box_counts_there() -> None:
    before, after = picture("Results", "Peak memory"), picture("Results", "Peak memory")
    after[140:, 240:] = 0  # beside the lines
    assert not looks_same(before, after)
    assert same_in(before, after, LINE[:2])
    assert not same_in(before, picture("Results", "Cost of a frame"), LINE[:2])
    assert same_in(before, picture("Results", "Cost of a frame"), LINE[:1])
    assert same_in(before, after, [])
    assert not same_in(before, after, [(1000, 1000, 1000, 1000)])  # a box at the very edge is the last point
