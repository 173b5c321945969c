"""Thumbnails: what was encoded is what any reader of JPEG files sees."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fdvs.media.jpeg import JpegEncoder


def shades(height: int, width: int) -> NDArray[np.uint8]:
    """Grey, darkest at the upper left."""
    down, across = np.mgrid[0:height, 0:width]
    grey = 127 * across // width + 127 * down // height
    return np.stack((grey, grey, grey), axis=-1).astype(np.uint8)


def read(jpeg: bytes) -> NDArray[np.int64]:
    with Image.open(io.BytesIO(jpeg)) as picture:
        assert picture.format == "JPEG"
        return np.asarray(picture.convert("RGB")).astype(np.int64)


@pytest.mark.parametrize(("height", "width"), [(144, 256), (255, 144), (144, 257), (144, 7), (2, 1), (1, 1)])
def test_a_picture_of_any_size_can_be_read_again(height: int, width: int) -> None:
    picture = shades(height, width)
    again = read(JpegEncoder().encode(picture))
    assert again.shape == picture.shape
    assert np.abs(again - picture).mean() < 4


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 100, 50)])
def test_colours_come_back_in_full_range(colour: tuple[int, int, int]) -> None:
    picture = np.full((48, 64, 3), colour, np.uint8)
    assert np.abs(read(JpegEncoder().encode(picture)) - picture).max() <= 3


def test_equal_pictures_give_equal_bytes_whatever_came_before() -> None:
    encoder, picture = JpegEncoder(), shades(144, 256)
    first = encoder.encode(picture)
    others = [encoder.encode(255 - picture), encoder.encode(shades(144, 200))]
    assert encoder.encode(picture) == first == JpegEncoder().encode(picture)
    assert first not in others
