"""Thumbnails, and pictures for models: what was encoded is what any reader of JPEG files sees."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray
from PIL import Image

from fdvs.media.frame import Frame
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


def film_of(rgb: tuple[int, int, int], colorspace: Colorspace, colour_range: ColorRange, **size: int) -> VideoFrame:
    """A decoded picture of one colour, made with the matrix and the range that it names."""
    pixels = np.full((size.get("height", 180), size.get("width", 320), 3), rgb, np.uint8)
    picture = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=colorspace, dst_color_range=colour_range
    )
    picture.colorspace, picture.color_range = int(colorspace), int(colour_range)
    return picture


RANGES = (ColorRange.MPEG, ColorRange.JPEG)
MATRICES = (Colorspace.ITU709, Colorspace.ITU601)


@pytest.mark.parametrize("colour_range", RANGES, ids=["limited", "full"])
@pytest.mark.parametrize("matrix", MATRICES, ids=["BT.709", "BT.601"])
@pytest.mark.parametrize("short_side", [90, 180, 240])
@pytest.mark.parametrize("colour", [(200, 40, 40), (40, 180, 60), (50, 60, 200), (240, 240, 240), (16, 16, 16)])
def test_a_film_keeps_its_colours_in_a_jpeg(
    colour: tuple[int, int, int], short_side: int, matrix: Colorspace, colour_range: ColorRange
) -> None:
    """A red of BT.709 that is taken for one of BT.601 is off by 25, and black of limited range by 16."""
    frame = Frame(film_of(colour, matrix, colour_range), 0, 0)
    assert frame.jpeg_planes(short_side) is not None
    again = read(JpegEncoder().encode_frame(frame, short_side))
    assert again.shape == frame.rgb(short_side).shape
    assert np.abs(again - colour).max() <= 6


def test_without_a_named_matrix_colours_are_those_of_rgb() -> None:
    picture = film_of((200, 40, 40), Colorspace.ITU601, ColorRange.MPEG)
    picture.colorspace, picture.color_range = 2, 0
    frame = Frame(picture, 0, 0)
    assert np.abs(read(JpegEncoder().encode_frame(frame, 90)) - frame.rgb(90)).max() <= 6


def test_a_jpeg_of_a_film_shows_what_its_rgb_shows() -> None:
    rows, columns = np.mgrid[0:360, 0:642]
    pixels = np.stack([columns * 255 // 642, rows * 255 // 360, (rows + columns) * 255 // 1002], axis=2)
    for matrix in MATRICES:
        picture = VideoFrame.from_ndarray(pixels.astype(np.uint8), format="rgb24").reformat(
            format="yuv420p", dst_colorspace=matrix
        )
        picture.colorspace = int(matrix)
        frame = Frame(picture, 0, 0)
        error = np.abs(read(JpegEncoder().encode_frame(frame, 101)) - frame.rgb(101))
        assert error.mean() < 3
        assert np.percentile(error, 99) <= 10


def test_pictures_of_a_film_may_come_in_any_order_of_time() -> None:
    encoder, files = JpegEncoder(), []
    for pts in (90_000, 0, 0, None):
        picture = film_of((200, 40, 40), Colorspace.ITU709, ColorRange.MPEG)
        picture.pts, picture.time_base = pts, Fraction(1, 90_000)
        files.append(encoder.encode_frame(Frame(picture, 0, 0), 90))
    assert len(set(files)) == 1


@pytest.mark.parametrize("format_name", ["yuv444p", "rgb24"])
def test_what_is_no_common_video_goes_over_rgb(format_name: str) -> None:
    picture = VideoFrame.from_ndarray(np.full((180, 320, 3), (200, 40, 40), np.uint8), format="rgb24")
    frame = Frame(picture.reformat(format=format_name), 0, 0)
    assert frame.jpeg_planes(90) is None
    assert np.abs(read(JpegEncoder().encode_frame(frame, 90)) - (200, 40, 40)).max() <= 6
