"""Tiny videos with known facts, rendered with PyAV's encoders: one file per way in which readers are known to fail.

Every frame carries its own number in its picture as two rows of eight black or white blocks: the number and a check
code. Tests read the number back from the decoded pixels, so that a frame is known by what it shows and not by what a
reader says about it. A picture that is rotated, flipped or mixed with its neighbour gives no number.

Truth (`MediaFacts`) is what was rendered; nothing in it was read back from the file.
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, cast

import av
import numpy as np
from av.codec.context import Flags
from av.stream import Disposition
from numpy.typing import NDArray

os.environ.setdefault("SVT_LOG", "0")  # the AV1 encoder talks on stderr

MAX_NUMBER: Final = 200
KEY_INTERVAL: Final = 20
FPS: Final = 30


def check_code(number: int) -> int:
    return (number * 51 + 1) % 256  # no number reads as another one when flipped or turned


def number_picture(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """`[height, width, 3]` RGB picture as it is meant to be seen, with `number` in its blocks."""
    assert 0 <= number < MAX_NUMBER
    bits = np.array([[code >> (7 - i) & 1 for i in range(8)] for code in (number, check_code(number))], dtype=np.uint8)
    rows = np.arange(height) * 2 // height
    columns = np.arange(width) * 8 // width
    grey = np.where(bits[rows][:, columns] == 1, 215, 40).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def read_number(brightness: NDArray[np.uint8]) -> int | None:
    """Number shown in a `[H, W]` (or `[H, W, C]`: mean) picture of any size, or None when it is no valid picture."""
    plane = brightness.astype(np.float64)
    if plane.ndim == 3:
        plane = plane.mean(axis=2)
    height, width = plane.shape
    means = np.empty((2, 8))
    for row in range(2):
        for column in range(8):
            top, left = row * height // 2, column * width // 8
            block = plane[
                top + height // 8 : top + height * 3 // 8, left + width // 32 : left + max(1, width * 3 // 32)
            ]
            means[row, column] = block.mean()
    low, high = means.min(), means.max()
    if high - low < 50:
        return None
    level = (means - low) / (high - low)
    if np.any((level > 0.35) & (level < 0.65)):  # between black and white: two pictures mixed
        return None
    codes = [int("".join("1" if value > 0.5 else "0" for value in row), 2) for row in level]
    return codes[0] if codes[0] < MAX_NUMBER and check_code(codes[0]) == codes[1] else None


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What is known of a rendered file.

    Attributes:
        name: key of the file in `RECIPES`.
        path: where it was rendered.
        numbers: numbers of the displayable frames in display order.
        times_ms: published time of each (PTS minus the first displayed PTS, rounded once).
        key_numbers: numbers of the frames where decoding can start.
        duration_ms: end of the last displayed frame; 0: not known.
        size: width and height as displayed.
        rotation_deg: clockwise turn from coded to displayed picture.
        bit_depth: of the coded samples.
        codec: name of the codec.
        error: status code with which opening must fail; then nothing else is known.
        unsure: numbers whose picture may be damaged or missing; every other frame must be right.
        decord: what `read_clips(decoder="decord")` does with it: `right`, `refused` (decord would give wrong
            pictures), `error` (decord cannot open it).
    """

    name: str
    path: Path
    numbers: tuple[int, ...] = ()
    times_ms: tuple[int, ...] = ()
    key_numbers: tuple[int, ...] = ()
    duration_ms: int = 0
    size: tuple[int, int] = (0, 0)
    rotation_deg: int = 0
    bit_depth: int = 8
    codec: str = ""
    error: str | None = None
    unsure: frozenset[int] = frozenset()
    decord: str = "right"

    @property
    def number_at(self) -> dict[int, int]:
        """Published time in ms → number of the frame."""
        return dict(zip(self.times_ms, self.numbers, strict=True))


@dataclass(frozen=True, slots=True)
class Film:
    """How to render one stream. `pts` are display times in units of `time_base` (default: frame i at i / 30 s)."""

    codec: str
    num_frames: int = 60
    size: tuple[int, int] = (128, 72)
    pixel_format: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    time_base: Fraction = Fraction(1, FPS)
    pts: tuple[int, ...] | None = None
    last_duration: int = 1
    rate: Fraction = Fraction(FPS)
    key_interval: int = KEY_INTERVAL
    num_b_frames: int = 0
    first_number: int = 0
    rotation_deg: int = 0
    flags: int = 0

    @property
    def all_pts(self) -> tuple[int, ...]:
        return self.pts if self.pts is not None else tuple(range(self.num_frames))

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(range(self.first_number, self.first_number + self.num_frames))

    @property
    def key_numbers(self) -> tuple[int, ...]:
        return self.numbers[:: self.key_interval]

    def times_ms(self, first: int = 0) -> tuple[int, ...]:
        """Published times when frame `first` is the first that is displayed."""
        pts = self.all_pts[first:]
        return tuple(round((value - pts[0]) * self.time_base * 1000) for value in pts)

    def duration_ms(self, first: int = 0) -> int:
        return round((self.all_pts[-1] + self.last_duration - self.all_pts[first]) * self.time_base * 1000)


def x264(key_interval: int = KEY_INTERVAL, *, b_frames: int = 3, more: str = "", **changes: Any) -> Film:
    params = f"keyint={key_interval}:min-keyint={key_interval}:scenecut=0:bframes={b_frames}:b-adapt=0{more}"
    options = {"preset": "veryfast", "crf": "20", "x264-params": params}
    return Film("libx264", options=options, key_interval=key_interval, num_b_frames=b_frames, **changes)


def x265(*, open_gop: bool, more: str = "", **changes: Any) -> Film:
    params = (
        f"keyint={KEY_INTERVAL}:min-keyint={KEY_INTERVAL}:scenecut=0:bframes=4:b-adapt=0:log-level=none:pools=1"
        f":frame-threads=1:open-gop={int(open_gop)}{more}"
    )
    options = {"preset": "veryfast", "crf": "20", "x265-params": params}
    return Film("libx265", pixel_format="yuv420p10le", options=options, num_b_frames=4, **changes)


def add_stream(container: av.container.OutputContainer, film: Film) -> av.VideoStream:
    stream = cast(av.VideoStream, container.add_stream(film.codec, rate=film.rate, options=dict(film.options)))
    turned = film.rotation_deg % 180 == 90
    stream.width, stream.height = film.size[::-1] if turned else film.size
    stream.pix_fmt = film.pixel_format
    stream.time_base = film.time_base
    context = stream.codec_context
    context.time_base = film.time_base
    context.gop_size = film.key_interval
    if film.codec not in ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "gif", "mjpeg"):
        context.max_b_frames = film.num_b_frames
    context.flags |= film.flags
    context.thread_count = 1
    return stream


def encode(film: Film, stream: av.VideoStream) -> Iterator[av.Packet[Any]]:
    """Packets of a film. The picture is turned back by `rotation_deg`, so that turning it gives the numbers."""
    for pts, number in zip(film.all_pts, film.numbers, strict=True):
        picture = np.rot90(number_picture(number, *film.size), film.rotation_deg // 90)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = frame.reformat(format=film.pixel_format)
        frame.pts, frame.time_base = pts, film.time_base
        frame.duration = film.last_duration if pts == film.all_pts[-1] else 0
        yield from stream.encode(frame)
    yield from stream.encode(None)


def render(path: Path, *films: Film, format: str | None = None, options: dict[str, str] | None = None) -> None:  # noqa: A002
    with av.open(str(path), "w", format=format, options=options or {}) as container:
        streams = [add_stream(container, film) for film in films]
        for film, stream in zip(films, streams, strict=True):
            for packet in encode(film, stream):
                container.mux(packet)


def facts(path: Path, film: Film, codec: str, *, first: int = 0, **changes: Any) -> MediaFacts:
    known: dict[str, Any] = {
        "name": "",
        "path": path,
        "numbers": film.numbers[first:],
        "times_ms": film.times_ms(first),
        "key_numbers": tuple(number for number in film.key_numbers if number >= film.numbers[first]),
        "duration_ms": film.duration_ms(first),
        "size": film.size,
        "rotation_deg": film.rotation_deg,
        "bit_depth": 10 if "10" in film.pixel_format else 8,
        "codec": codec,
    }
    return MediaFacts(**{**known, **changes})


# ---------------------------------------------------------------------------------------------------------------------
# Bytes


def write_rotation(path: Path, clockwise_deg: int, coded_size: tuple[int, int]) -> None:
    """Put a turn into the display matrix of the first track of an MP4 (`tkhd`, ISO/IEC 14496-12 section 8.3.2)."""
    width, height = coded_size
    one = 1 << 16
    a, b, c, d, x, y = {
        90: (0, one, -one, 0, height, 0),
        180: (-one, 0, 0, -one, width, height),
        270: (0, -one, one, 0, 0, width),
    }[clockwise_deg]
    values = (a, b, 0, c, d, 0, x << 16, y << 16, 1 << 30)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version and flags, times, ids, layer, volume come first
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(data)


def cut_without_decoding(source: Path, target: Path, start: Fraction) -> None:
    """What `ffmpeg -ss START -c copy` writes: all packets from the key frame before, and an edit list that hides the
    frames before START."""
    with av.open(str(source)) as given:
        stream = given.streams.video[0]
        packets = [packet for packet in given.demux(stream) if packet.size]
        first = max(
            number
            for number, packet in enumerate(packets)
            if packet.is_keyframe and cast(int, packet.pts) * cast(Fraction, stream.time_base) <= start
        )
        with av.open(str(target), "w", options={"avoid_negative_ts": "disabled"}) as container:
            copy = container.add_stream_from_template(stream)
            shift = int(start / cast(Fraction, stream.time_base))
            for packet in packets[first:]:
                packet.pts = cast(int, packet.pts) - shift
                packet.dts = cast(int, packet.dts) - shift
                packet.stream = copy
                container.mux(packet)


def audio_file(path: Path, codec: str, *, cover: bytes | None = None) -> None:
    """Half a second of a quiet tone; `cover` is a JPEG that is attached as a picture."""
    with av.open(str(path), "w", format="mp3" if codec == "libmp3lame" else "mp4") as container:
        stream = container.add_stream(codec, rate=44_100)
        art = None
        if cover is not None:
            art = container.add_stream("mjpeg", rate=1)
            art.width, art.height, art.pix_fmt = 128, 72, "yuvj420p"
            art.disposition = Disposition.attached_pic
        for number in range(20):
            wave = np.sin(np.arange(number * 1024, (number + 1) * 1024) * 0.05)[None, :].astype(np.float32) * 0.1
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate = 44_100
            frame.pts = number * 1024
            frame.time_base = Fraction(1, 44_100)
            for packet in cast(av.AudioStream, stream).encode(frame):
                container.mux(packet)
        for packet in cast(av.AudioStream, stream).encode(None):
            container.mux(packet)
        if art is not None and cover is not None:
            packet = av.Packet(cover)
            packet.stream = art
            packet.pts = packet.dts = 0
            container.mux(packet)


def jpeg(number: int) -> bytes:
    buffer = io.BytesIO()
    film = Film("mjpeg", 1, pixel_format="yuvj420p", first_number=number)
    with av.open(buffer, "w", format="mjpeg") as container:
        stream = add_stream(container, film)
        for packet in encode(film, stream):
            container.mux(packet)
    return buffer.getvalue()


# ---------------------------------------------------------------------------------------------------------------------
# Recipes

Recipe = Callable[[Path], MediaFacts]
RECIPES: dict[str, Recipe] = {}


def recipe(make: Recipe) -> Recipe:
    RECIPES[make.__name__] = make
    return make


@recipe
def h264_mp4(folder: Path) -> MediaFacts:
    film = x264()
    render(path := folder / "h264.mp4", film)
    return facts(path, film, "h264")


@recipe
def h264_mkv(folder: Path) -> MediaFacts:
    film = x264()
    render(path := folder / "h264.mkv", film)
    return facts(path, film, "h264")


@recipe
def h264_open_gop_mp4(folder: Path) -> MediaFacts:
    film = x264(more=":open-gop=1")
    render(path := folder / "h264_open_gop.mp4", film)
    return facts(path, film, "h264", decord="refused")


VFR_STEPS: Final = (33, 34, 3, 200, 7, 2500, 40, 41, 500, 10)


def _vfr(folder: Path, name: str, b_frames: int) -> tuple[Path, Film]:
    """Frame times that no rate gives: 3 ms to 2.5 s apart."""
    pts = [0]
    while len(pts) < 60:
        pts.append(pts[-1] + VFR_STEPS[(len(pts) - 1) % len(VFR_STEPS)])
    film = x264(b_frames=b_frames, pts=tuple(pts), time_base=Fraction(1, 1000), last_duration=33)
    render(path := folder / name, film, options={"video_track_timescale": "1000"})
    return path, film


@recipe
def vfr_mp4(folder: Path) -> MediaFacts:
    path, film = _vfr(folder, "vfr.mp4", 0)
    return facts(path, film, "h264")


@recipe
def vfr_b_frames_mp4(folder: Path) -> MediaFacts:
    """MP4 stores durations in decode order, so that of the last frame shown is not what was rendered: the usual step
    of 40 ms stands for it."""
    path, film = _vfr(folder, "vfr_b_frames.mp4", 3)
    return facts(path, film, "h264", duration_ms=20_198 + 40)


def _rotated(folder: Path, degrees: int) -> MediaFacts:
    film = x264(rotation_deg=degrees, size=(80, 128) if degrees != 180 else (128, 80))
    render(path := folder / f"rotate{degrees}.mp4", film)
    write_rotation(path, degrees, (128, 80))
    return facts(path, film, "h264")


@recipe
def rotate90_mp4(folder: Path) -> MediaFacts:
    return _rotated(folder, 90)


@recipe
def rotate180_mp4(folder: Path) -> MediaFacts:
    return _rotated(folder, 180)


@recipe
def rotate270_mp4(folder: Path) -> MediaFacts:
    return _rotated(folder, 270)


@recipe
def narrow_mp4(folder: Path) -> MediaFacts:
    """72 pixels wide: decord takes rows that are padded to 96 pixels for four channels."""
    film = x264(size=(72, 128))
    render(path := folder / "narrow.mp4", film)
    return facts(path, film, "h264", decord="refused")


@recipe
def hevc_10bit_open_gop_mp4(folder: Path) -> MediaFacts:
    film = x265(open_gop=True)
    render(path := folder / "hevc_open_gop.mp4", film)
    return facts(path, film, "hevc", decord="refused")


@recipe
def hevc_10bit_closed_gop_mkv(folder: Path) -> MediaFacts:
    film = x265(open_gop=False)
    render(path := folder / "hevc_closed_gop.mkv", film)
    return facts(path, film, "hevc")


@recipe
def hdr_pq_10bit_mp4(folder: Path) -> MediaFacts:
    """The transfer curve stands only in the coded pictures, not in the container."""
    film = x265(open_gop=False, more=":colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc")
    render(path := folder / "hdr_pq.mp4", film)
    return facts(path, film, "hevc", decord="refused")


@recipe
def hdr_pq_10bit_mkv(folder: Path) -> MediaFacts:
    film = x265(open_gop=False, more=":colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc")
    render(path := folder / "hdr_pq.mkv", film)
    return facts(path, film, "hevc", decord="refused")


def _av1(folder: Path, pixel_format: str, name: str) -> MediaFacts:
    options = {"preset": "8", "svtav1-params": f"keyint={KEY_INTERVAL}:lp=1:enable-tf=0", "crf": "20"}
    film = Film("libsvtav1", options=options, pixel_format=pixel_format)
    render(path := folder / name, film)
    return facts(path, film, "av1", decord="error")


@recipe
def av1_8bit_mp4(folder: Path) -> MediaFacts:
    return _av1(folder, "yuv420p", "av1_8bit.mp4")


@recipe
def av1_10bit_mkv(folder: Path) -> MediaFacts:
    return _av1(folder, "yuv420p10le", "av1_10bit.mkv")


@recipe
def vp9_webm(folder: Path) -> MediaFacts:
    options = {
        "deadline": "realtime",
        "cpu-used": "8",
        "crf": "30",
        "b": "0",
        "auto-alt-ref": "1",
        "lag-in-frames": "12",
    }
    film = Film("libvpx-vp9", options=options)
    render(path := folder / "vp9.webm", film)
    return facts(path, film, "vp9")


@recipe
def vp8_webm(folder: Path) -> MediaFacts:
    film = Film("libvpx", options={"deadline": "realtime", "cpu-used": "8", "b": "500000"})
    render(path := folder / "vp8.webm", film)
    return facts(path, film, "vp8")


@recipe
def mpeg4_avi(folder: Path) -> MediaFacts:
    film = Film("mpeg4", options={"b": "1000000"})
    render(path := folder / "mpeg4.avi", film)
    return facts(path, film, "mpeg4")


@recipe
def mjpeg_avi(folder: Path) -> MediaFacts:
    film = Film("mjpeg", pixel_format="yuvj420p", key_interval=1)
    render(path := folder / "mjpeg.avi", film)
    return facts(path, film, "mjpeg")


@recipe
def h264_444_mkv(folder: Path) -> MediaFacts:
    film = x264(pixel_format="yuv444p")
    render(path := folder / "h264_444.mkv", film)
    return facts(path, film, "h264")


@recipe
def prores_mov(folder: Path) -> MediaFacts:
    film = Film("prores_ks", 20, pixel_format="yuv422p10le", key_interval=1)
    render(path := folder / "prores.mov", film)
    return facts(path, film, "prores")


@recipe
def mpeg2_ps(folder: Path) -> MediaFacts:
    film = Film("mpeg2video", 52, num_b_frames=2, options={"b": "1000000"}, key_interval=15)
    render(path := folder / "mpeg2.mpg", film, format="vob")
    return facts(path, film, "mpeg2video", decord="refused")


@recipe
def single_frame_mp4(folder: Path) -> MediaFacts:
    film = x264(num_frames=1, first_number=77)
    render(path := folder / "single_frame.mp4", film)
    return facts(path, film, "h264")


@recipe
def one_key_frame_mp4(folder: Path) -> MediaFacts:
    film = x264(250)
    render(path := folder / "one_key_frame.mp4", film)
    return facts(path, film, "h264")


@recipe
def all_intra_mp4(folder: Path) -> MediaFacts:
    film = x264(1, b_frames=0)
    render(path := folder / "all_intra.mp4", film)
    return facts(path, film, "h264")


@recipe
def unicode_path_mp4(folder: Path) -> MediaFacts:
    film = x264(num_frames=30)
    inside = folder / "видео – 日本 (é)"
    inside.mkdir()
    render(path := inside / "a b'c\"d % 😀\nx.mp4", film, format="mp4")
    return facts(path, film, "h264")


@recipe
def gif(folder: Path) -> MediaFacts:
    film = Film("gif", 30, pixel_format="rgb8", rate=Fraction(10), time_base=Fraction(1, 10), key_interval=30)
    render(path := folder / "moving.gif", film)
    return facts(path, film, "gif", decord="error", key_numbers=film.numbers[:1])


@recipe
def interlaced_h264_mkv(folder: Path) -> MediaFacts:
    film = x264(size=(128, 96), more=":interlaced=1:tff=1", flags=int(Flags.interlaced_dct) | int(Flags.interlaced_me))
    render(path := folder / "interlaced.mkv", film)
    return facts(path, film, "h264")


@recipe
def open_gop_ts(folder: Path) -> MediaFacts:
    film = x264(more=":open-gop=1")
    render(path := folder / "open_gop.ts", film)
    return facts(path, film, "h264", decord="refused")


@recipe
def late_start_ts(folder: Path) -> MediaFacts:
    """Starts at +100 s, as pieces of a broadcast do."""
    film = x264(pts=tuple(range(3000, 3060)))
    render(path := folder / "late_start.ts", film)
    return facts(path, film, "h264", decord="refused")


@recipe
def mid_gop_ts(folder: Path) -> MediaFacts:
    """A recording that starts inside a group of pictures: nothing before the next key frame can be shown."""
    film = x264(num_frames=70)
    render(whole := folder / "mid_gop_whole.ts", film)
    data = whole.read_bytes()
    with av.open(str(whole)) as container:
        positions = [cast(int, packet.pos) for packet in container.demux(video=0) if packet.size]
    start = positions[10] // 188 * 188
    (path := folder / "mid_gop.ts").write_bytes(data[:564] + data[start:])  # tables, then the middle
    whole.unlink()
    return facts(path, film, "h264", first=KEY_INTERVAL, decord="refused")


@recipe
def edit_list_mp4(folder: Path) -> MediaFacts:
    """Cut at frame 33 without decoding: frames 20 to 32 are in the file and must not be seen."""
    film = x264()
    render(whole := folder / "edit_list_whole.mp4", film)
    cut_without_decoding(whole, path := folder / "edit_list.mp4", Fraction(33, FPS))
    whole.unlink()
    return facts(path, film, "h264", first=33, decord="refused")


@recipe
def late_start_mkv(folder: Path) -> MediaFacts:
    film = x264(pts=tuple(range(3000, 3060)))
    render(path := folder / "late_start.mkv", film, options={"avoid_negative_ts": "disabled"})
    return facts(path, film, "h264")


@recipe
def two_video_streams_mp4(folder: Path) -> MediaFacts:
    """The second stream is larger and shows other numbers; the first is the one that counts."""
    film, other = x264(num_frames=40), x264(num_frames=60, size=(256, 144), first_number=100)
    render(path := folder / "two_video_streams.mp4", film, other)
    return facts(path, film, "h264", decord="refused")


@recipe
def resolution_change_ts(folder: Path) -> MediaFacts:
    """Two encodings of different size after one another, as adaptive streams give when they are joined."""
    small = x264(num_frames=40, pts=tuple(range(3000, 3040)))
    large = x264(num_frames=40, pts=tuple(range(3040, 3080)), size=(256, 144), first_number=40)
    render(first := folder / "small.ts", small)
    render(second := folder / "large.ts", large)
    (path := folder / "resolution_change.ts").write_bytes(first.read_bytes() + second.read_bytes())
    first.unlink()
    second.unlink()
    whole = x264(num_frames=80)
    return facts(path, whole, "h264", decord="refused")


@recipe
def damaged_bytes_mkv(folder: Path) -> MediaFacts:
    """Bytes flipped inside the second group of pictures; the others must be right."""
    film = x264(num_frames=80)
    render(path := folder / "damaged_bytes.mkv", film)
    with av.open(str(path)) as container:
        packets = [(cast(int, packet.pos), packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    dice = random.Random(1)
    for position, size in packets[24:34]:
        for _ in range(6):
            data[position + dice.randrange(size // 2, size)] ^= 0xFF
    path.write_bytes(data)
    return facts(path, film, "h264", unsure=frozenset(range(20, 42)))


@recipe
def truncated_mkv(folder: Path) -> MediaFacts:
    film = x264()
    render(path := folder / "truncated.mkv", film)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    return facts(path, film, "h264", unsure=frozenset(range(22, 60)), duration_ms=0)


@recipe
def truncated_faststart_mp4(folder: Path) -> MediaFacts:
    """The index is whole and promises 60 frames, the pictures end after a part of them."""
    film = x264()
    render(path := folder / "truncated_faststart.mp4", film, options={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    return facts(path, film, "h264", unsure=frozenset(range(20, 60)), duration_ms=0, decord="error")


def _broken(path: Path, error: str) -> MediaFacts:
    return MediaFacts("", path, error=error, decord="error")


@recipe
def truncated_without_index_mp4(folder: Path) -> MediaFacts:
    """Cut while being written: the pictures are there, the index that would have come last is not."""
    render(path := folder / "no_moov.mp4", x264())
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 100])
    return _broken(path, "truncated")


@recipe
def zero_bytes_mp4(folder: Path) -> MediaFacts:
    (path := folder / "zero_bytes.mp4").write_bytes(b"")
    return _broken(path, "empty_file")


@recipe
def text_mp4(folder: Path) -> MediaFacts:
    (path := folder / "text.mp4").write_text("This is a letter, not a film.\n" * 50)
    return _broken(path, "not_media")


@recipe
def garbage_mp4(folder: Path) -> MediaFacts:
    (path := folder / "garbage.mp4").write_bytes(random.Random(7).randbytes(20_000))
    return _broken(path, "not_media")


@recipe
def ffconcat_mp4(folder: Path) -> MediaFacts:
    """A text that tells FFmpeg to open another file: reading it would let a video file read any other."""
    render(folder / "secret.mp4", x264(num_frames=20))
    (path := folder / "ffconcat.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    return _broken(path, "not_media")


@recipe
def hls_mp4(folder: Path) -> MediaFacts:
    render(folder / "piece.ts", x264(num_frames=20))
    (path := folder / "hls.mp4").write_text(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.66,\npiece.ts\n#EXT-X-ENDLIST\n"
    )
    return _broken(path, "not_media")


@recipe
def audio_only_m4a(folder: Path) -> MediaFacts:
    audio_file(path := folder / "audio_only.m4a", "aac")
    return _broken(path, "no_video_stream")


@recipe
def cover_art_m4a(folder: Path) -> MediaFacts:
    audio_file(path := folder / "cover_art.m4a", "aac", cover=jpeg(5))
    return _broken(path, "no_video_stream")


@recipe
def cover_art_mp3(folder: Path) -> MediaFacts:
    audio_file(path := folder / "cover_art.mp3", "libmp3lame", cover=jpeg(5))
    return _broken(path, "no_video_stream")


def render_all(folder: Path, names: Sequence[str] | None = None) -> dict[str, MediaFacts]:
    """Render the named files (default: all) into `folder`, each once."""
    made = {}
    for name in names or RECIPES:
        known = RECIPES[name](folder)
        made[name] = MediaFacts(**{**{key: getattr(known, key) for key in MediaFacts.__slots__}, "name": name})
    return made
