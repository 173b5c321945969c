"""A decoded picture whose conversions are made only when asked for: most samples never become RGB."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from fdvs.errors import InputError
from fdvs.media import colour

SMALL = 64
_PLAIN_FORMATS = frozenset({"yuv420p", "yuvj420p"})
# Value copied from the enumeration once: looking it up by name costs more than a table look-up per picture should.
_AREA = int(Interpolation.AREA)
_FULL_RANGE = int(ColorRange.JPEG)
_BT601 = int(Colorspace.ITU601)
# ITU-T H.273 matrix coefficients that are BT.601's: unspecified (as for RGB), BT.470 BG, SMPTE 170M.
_OF_BT601 = frozenset({2, 5, 6})
# Encoders write 399:400 and the like for square pixels; the least real deviation (10:11) is far larger.
_SQUARE_WITHIN = Fraction(2, 100)


def quarter_turns(picture: VideoFrame) -> int:
    """Counter-clockwise quarter turns (0..3) that bring the picture upright, from its display matrix."""
    return round(picture.rotation / 90) % 4


def brightest(small: NDArray[np.uint8]) -> int:
    """Luma (0..255) that 98 % of the points of a `[64, 64, 3]` picture do not exceed; a few specks are no light."""
    luma = small[..., 0].ravel()
    least = len(luma) * 98 // 100
    return int(np.partition(luma, least)[least])


def pixel_aspect(stream: VideoStream) -> Fraction:
    """Width of a pixel over its height; 1 where it is unknown or nearly square."""
    aspect = stream.sample_aspect_ratio
    if not aspect or abs(aspect - 1) <= _SQUARE_WITHIN:
        return Fraction(1)
    return Fraction(aspect)


class Converters:
    """The scalers of one reader, kept because setting one up costs more than using it."""

    __slots__ = ("luma", "planes", "reduced", "reduced_rgb", "rgb", "small")

    def __init__(self) -> None:
        self.small = VideoReformatter()
        self.planes = VideoReformatter()
        self.reduced = VideoReformatter()
        self.reduced_rgb = VideoReformatter()
        self.luma = VideoReformatter()
        self.rgb = VideoReformatter()


class Frame:
    """One decoded picture. The reader lets go of it after `measure`; whoever needs it longer keeps `held` of it.

    Attributes:
        pts: the picture's own time in ticks of the stream. time_ms: the same as published.
        width, height: as displayed, after pixel aspect and rotation.
    """

    __slots__ = ("_aspect", "_converters", "_picture", "_small", "_turns", "height", "pts", "time_ms", "width")

    def __init__(
        self,
        picture: VideoFrame,
        pts: int,
        time_ms: int,
        *,
        aspect: Fraction = Fraction(1),
        converters: Converters | None = None,
    ) -> None:
        self._picture = picture
        self._aspect = aspect
        self._converters = converters or Converters()
        self._turns = quarter_turns(picture)
        self._small: NDArray[np.uint8] | None = None
        self.pts = pts
        self.time_ms = time_ms
        width = picture.width if aspect == 1 else max(1, round(picture.width * aspect))
        self.width, self.height = (picture.height, width) if self._turns % 2 else (width, picture.height)

    def small(self) -> NDArray[np.uint8]:
        """`[64, 64, 3]` full-range Y, U, V at full chroma resolution, upright; HDR luma as ordinary luma. Kept."""
        if self._small is None:
            picture = self._picture
            scaled = self._converters.small.reformat(picture, SMALL, SMALL, "yuv444p", interpolation=_AREA, threads=1)
            planes = np.asarray(scaled.to_ndarray(), dtype=np.uint8)  # [3, 64, 64]
            is_full = scaled.color_range == _FULL_RANGE or scaled.format.name.startswith("yuvj")
            luma, chroma = (_AS_IT_IS, _AS_IT_IS) if is_full else (_LUMA_UP, _CHROMA_UP)
            if colour.is_hdr(picture.color_trc):
                luma = colour.luma_table(int(picture.color_trc))[luma]
            upright = np.rot90(planes, self._turns, axes=(1, 2)) if self._turns else planes
            self._small = np.empty((SMALL, SMALL, 3), np.uint8)
            for channel, table in enumerate((luma, chroma, chroma)):
                self._small[..., channel] = table[upright[channel]]
        return self._small

    def luma(self, width: int, height: int) -> NDArray[np.uint8]:
        """`[height, width]` full-range brightness of the displayed picture at this size; HDR as ordinary brightness."""
        turned = self._turns % 2
        scaled = self._converters.luma.reformat(
            self._picture,
            height if turned else width,
            width if turned else height,
            "gray",
            dst_color_range=_FULL_RANGE,
            interpolation=_AREA,
            threads=1,
        )
        pixels = np.asarray(scaled.to_ndarray(), dtype=np.uint8)
        if colour.is_hdr(self._picture.color_trc):
            pixels = colour.luma_table(int(self._picture.color_trc))[pixels]
        return np.ascontiguousarray(np.rot90(pixels, self._turns))

    def rgb(self, short_side: int | None = None) -> NDArray[np.uint8]:
        """`[H, W, 3]` 8-bit RGB, upright, square pixels, HDR tone-mapped to BT.709.

        Args:
            short_side: length of the shorter side in pixels; larger than the picture's own is allowed. Default: the
                picture's own size.
        """
        width, height = self._size(short_side)
        hdr = colour.is_hdr(self._picture.color_trc)
        scaled = self._converters.rgb.reformat(
            self._picture, width, height, "rgb48le" if hdr else "rgb24", interpolation=_AREA, threads=1
        )
        pixels = scaled.to_ndarray()
        if hdr:
            pixels = colour.tone_map_rgb(np.asarray(pixels, dtype=np.uint16), int(self._picture.color_trc))
        return np.ascontiguousarray(np.rot90(np.asarray(pixels, dtype=np.uint8), self._turns))

    def quick_rgb(self, short_side: int) -> NDArray[np.uint8]:
        """`rgb(short_side)` for eyes and models: the picture is made small before its colours are converted.

        That takes less than half the time and differs by a level or so, at edges by a few. Where it cannot be done so,
        it is `rgb`.
        """
        width, height = self._size(short_side)
        if not self._is_plain() or width >= self._picture.width:
            return self.rgb(short_side)
        small = self._reduced(width, height)
        pixels = self._converters.reduced_rgb.reformat(small, format="rgb24", threads=1).to_ndarray()
        return np.ascontiguousarray(np.rot90(np.asarray(pixels, dtype=np.uint8), self._turns))

    def jpeg_planes(self, short_side: int) -> VideoFrame | None:
        """`rgb(short_side)` as a JPEG file holds it: BT.601, full range, chroma halved. None where the way there is
        over RGB: turned pictures, HDR, uncommon formats.

        Video is nearly the same already, so that this takes a third of the time that the way over RGB takes.
        """
        if self._turns or not self._is_plain():
            return None
        width, height = self._size(short_side)
        picture = self._picture
        if picture.colorspace not in _OF_BT601:
            # Another matrix goes over RGB within the scaler: not with more pixels than are wanted.
            picture = self._reduced(width, height)
        return self._converters.planes.reformat(
            picture,
            width,
            height,
            "yuvj420p",
            dst_colorspace=_BT601,
            dst_color_range=_FULL_RANGE,
            interpolation=_AREA,
            threads=1,
        )

    def _is_plain(self) -> bool:
        return self._picture.format.name in _PLAIN_FORMATS and not colour.is_hdr(self._picture.color_trc)

    def _reduced(self, width: int, height: int) -> VideoFrame:
        """The picture at this size, not turned, its colours as they are."""
        return self._converters.reduced.reformat(
            self._picture, width, height, self._picture.format.name, interpolation=_AREA, threads=1
        )

    def apart(self, converters: Converters) -> Frame:
        """The same picture for another thread, which has converters of its own."""
        return Frame(self._picture, self.pts, self.time_ms, aspect=self._aspect, converters=converters)

    def held(self, long_side: int) -> Frame:
        """This picture for later, reduced where its longer side has more than `long_side` pixels."""
        picture = self._picture
        longer = max(picture.width, picture.height)
        if longer > long_side:
            width, height = (
                max(2, round(side * long_side / longer / 2) * 2) for side in (picture.width, picture.height)
            )
            picture = VideoReformatter().reformat(picture, width, height, interpolation=_AREA, threads=1)
        held = Frame(picture, self.pts, self.time_ms, aspect=self._aspect)
        held._turns = self._turns  # a scaled picture has lost its display matrix
        width = picture.width if self._aspect == 1 else max(1, round(picture.width * self._aspect))
        held.width, held.height = (picture.height, width) if self._turns % 2 else (width, picture.height)
        return held

    def _size(self, short_side: int | None) -> tuple[int, int]:
        """Width and height before rotation."""
        width, height = (self.height, self.width) if self._turns % 2 else (self.width, self.height)
        if short_side is None:
            return width, height
        if short_side < 1:
            raise InputError(f"short_side must be at least 1, got {short_side}")
        if width <= height:
            return short_side, max(1, round(height * short_side / width))
        return max(1, round(width * short_side / height)), short_side


def _table(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


# Limited to full range: luma 16..235, chroma 16..240 around 128.
_LUMA_UP = _table((np.arange(256) - 16) * 255 / 219)
_CHROMA_UP = _table((np.arange(256) - 128) * 255 / 224 + 128)
_AS_IT_IS = np.arange(256, dtype=np.uint8)
