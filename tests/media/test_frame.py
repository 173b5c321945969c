"""What a decoded picture turns into: range, size, orientation, pixel shape, high dynamic range."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from fdvs.errors import InputError
from fdvs.media import colour
from fdvs.media.frame import Frame, brightest


def yuv(luma: int, u: int = 128, v: int = 128, size: tuple[int, int] = (160, 96)) -> av.VideoFrame:
    """A flat 4:4:4 picture."""
    width, height = size
    planes = np.stack([np.full((height, width), value, np.uint8) for value in (luma, u, v)])
    return av.VideoFrame.from_ndarray(planes, format="yuv444p")


def quarters(size: tuple[int, int] = (160, 96)) -> NDArray[np.uint8]:
    """RGB: red top left, green top right, blue bottom left, white bottom right."""
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2, 0] = 255
    picture[: height // 2, width // 2 :, 1] = 255
    picture[height // 2 :, : width // 2, 2] = 255
    picture[height // 2 :, width // 2 :] = 255
    return picture


@pytest.mark.parametrize(("code", "wanted"), [(16, 0), (235, 255), (126, 128), (0, 0), (255, 255)])
def test_small_spreads_limited_range(code: int, wanted: int) -> None:
    small = Frame(yuv(code), 0, 0).small()
    assert small.shape == (64, 64, 3)
    assert small.dtype == np.uint8
    assert np.unique(small[..., 0]).tolist() == [wanted]
    assert np.unique(small[..., 1:]).tolist() == [128]


def test_small_spreads_colour_around_grey() -> None:
    small = Frame(yuv(126, 16, 240), 0, 0).small()
    assert small[0, 0].tolist() == [128, 0, 255]  # 0.5 and 255.5 before clipping, to even


def test_small_leaves_full_range_alone() -> None:
    picture = yuv(16)
    picture.color_range = ColorRange.JPEG
    assert np.unique(Frame(picture, 0, 0).small()[..., 0]).tolist() == [16]


def test_small_of_ten_bits() -> None:
    picture = yuv(235).reformat(format="yuv420p10le")
    assert Frame(picture, 0, 0).small()[..., 0].min() >= 253  # ten bits become eight with rounding noise


def test_small_averages_over_areas() -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    luma = Frame(av.VideoFrame.from_ndarray(stripes, format="rgb24"), 0, 0).small()[..., 0]
    assert 120 <= luma.min() <= luma.max() <= 136


def test_brightest_ignores_two_percent() -> None:
    small = np.full((64, 64, 3), 10, np.uint8)
    small.reshape(-1, 3)[:80, 0] = 250
    assert brightest(small) == 10
    small.reshape(-1, 3)[:120, 0] = 250
    assert brightest(small) == 250


def test_rgb_keeps_colours_and_places() -> None:
    rgb = Frame(av.VideoFrame.from_ndarray(quarters(), format="rgb24"), 0, 0).rgb()
    np.testing.assert_array_equal(rgb, quarters())


@pytest.mark.parametrize(
    ("size", "short", "wanted"),
    [((160, 96), 48, (48, 80)), ((96, 160), 48, (80, 48)), ((161, 97), 49, (49, 81)), ((64, 64), 200, (200, 200))],
)
def test_rgb_short_side(size: tuple[int, int], short: int, wanted: tuple[int, int]) -> None:
    assert Frame(yuv(126, size=size), 0, 0).rgb(short).shape == (*wanted, 3)


def test_rgb_refuses_no_size_at_all() -> None:
    with pytest.raises(InputError, match="short_side"):
        Frame(yuv(126), 0, 0).rgb(0)


def test_pixel_aspect_widens_the_picture() -> None:
    frame = Frame(yuv(126, size=(72, 58)), 0, 0, aspect=Fraction(16, 11))
    assert (frame.width, frame.height) == (105, 58)
    assert frame.rgb().shape == (58, 105, 3)
    assert frame.rgb(29).shape == (29, 52, 3)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_rotation_turns_small_and_rgb_alike(monkeypatch: pytest.MonkeyPatch, turns: int) -> None:
    monkeypatch.setattr("fdvs.media.frame.quarter_turns", lambda _: turns)
    stored = np.ascontiguousarray(np.rot90(quarters(), -turns))
    frame = Frame(av.VideoFrame.from_ndarray(stored, format="rgb24"), 0, 0)
    assert (frame.width, frame.height) == (160, 96)
    np.testing.assert_array_equal(frame.rgb(), quarters())
    luma = frame.small()[..., 0].astype(int)
    corners = [luma[8, 8], luma[8, 56], luma[56, 56], luma[56, 8]]  # red, green, white, blue
    assert corners[2] > corners[1] > corners[0] > corners[3]


# ---------------------------------------------------------------------------------------------------------------------
# High dynamic range

TRANSFERS = [ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67]


def hdr(code: int, transfer: ColorTrc) -> Frame:
    """A flat grey 10-bit picture of a limited-range 8-bit code."""
    picture = yuv(code).reformat(format="yuv420p10le")
    picture.color_trc = transfer
    return Frame(picture, 0, 0)


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_hdr_brightness_is_ordinary_and_ordered(transfer: ColorTrc) -> None:
    lumas = [int(hdr(code, transfer).small()[0, 0, 0]) for code in range(16, 236, 8)]
    assert lumas == sorted(lumas)
    assert lumas[0] == 0
    assert lumas[-1] == 255


def test_reference_white_is_bright_in_both_curves() -> None:
    # ITU-R BT.2408: reference white (203 cd/m²) is 58 % of the PQ signal and 75 % of the HLG signal.
    for transfer, share in ((ColorTrc.SMPTE2084, 0.58), (ColorTrc.ARIB_STD_B67, 0.75)):
        code = round(16 + share * 219)
        assert 215 <= int(hdr(code, transfer).small()[0, 0, 0]) <= 240
        assert 215 <= int(hdr(code, transfer).rgb()[0, 0].mean()) <= 240


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_hdr_grey_stays_grey_and_agrees_with_small(transfer: ColorTrc) -> None:
    for code in (40, 90, 140, 200):
        frame = hdr(code, transfer)
        red, green, blue = (int(value) for value in frame.rgb()[10, 10])
        assert max(red, green, blue) - min(red, green, blue) <= 3
        assert abs(green - int(frame.small()[0, 0, 0])) <= 4


def test_wide_primaries_become_ordinary_ones() -> None:
    """A BT.2020 red is redder than BT.709 can show: it must clip to pure red, not wrap or turn another hue."""
    red = np.zeros((2, 2, 3), np.uint16)
    red[..., 0] = 40000
    mapped = colour.tone_map_rgb(red, colour.PQ)
    assert mapped.dtype == np.uint8
    assert mapped[0, 0, 0] > 100
    assert mapped[0, 0, 1:].tolist() == [0, 0]


def test_the_formula_at_known_points() -> None:
    assert colour._light(np.array([0.0, 0.5081, 1.0]), colour.PQ) == pytest.approx(
        [0, 100 / 203, 10000 / 203], rel=2e-3
    )
    assert colour._light(np.array([0.0, 1.0]), colour.HLG) == pytest.approx([0, 1000 / 203], rel=2e-3)
    assert not colour.is_hdr(1)


@pytest.mark.parametrize("matrix", ["ITU709", "ITU601"])
def test_a_quick_picture_is_the_exact_one_but_for_traces(matrix: str) -> None:
    rows, columns = np.mgrid[0:360, 0:640]
    pixels = np.stack([columns * 255 // 640, rows * 255 // 360, (rows + columns) * 255 // 1000], axis=2)
    pixels[100:200, 200:300] = (250, 20, 20)
    rgb = av.VideoFrame.from_ndarray(pixels.astype(np.uint8), format="rgb24")
    picture = rgb.reformat(format="yuv420p")
    picture.colorspace = Colorspace[matrix]
    frame = Frame(picture, 0, 0)
    exact, quick = frame.rgb(90).astype(int), frame.quick_rgb(90).astype(int)
    assert quick.shape == exact.shape
    assert np.abs(quick - exact).mean() < 1.5
    assert np.percentile(np.abs(quick - exact), 99) <= 12
    assert np.array_equal(frame.quick_rgb(360), frame.rgb(360))  # nothing is made smaller
