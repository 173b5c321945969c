"""The packet index: every displayable picture's time, key flag and coded size, from demuxing alone.

Nothing is decoded, so clip borders, sample times, duration and limits are known at about the price of reading the file.
Times stay in the stream's rational time base and are converted to milliseconds once, in `PacketIndex.ms`.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from fdvs.errors import MediaError
from fdvs.media import entry

# Codecs whose decoders were checked to give bit-equal samples when packets that no sample needs are left out.
REDUCIBLE = frozenset({"h264", "hevc", "vp8", "vp9", "av1"})
# dav1d reads skip_frame only when it is opened, so it cannot change from packet to packet.
_NONREF = frozenset({"h264", "hevc", "vp8", "vp9"})
# Containers that store no display times: FFmpeg guesses them, and decoded pictures disagree with some guesses.
_GUESSED_TIMES = frozenset({"avi", "h264", "hevc", "m4v", "mpegvideo", "mjpeg", "h261", "h263", "vc1", "vvc"})
_FIELDS_PER_PACKET = frozenset({"mpegts", "mpeg"})
_PROGRESSIVE_OR_UNKNOWN = (0, 1)
_FALLBACK_FRAME = Fraction(1, 25)
_PLACEHOLDER_BYTES = 8
_MISSING_FROM_S = 1.0  # a shorter difference can be the length of the last picture


@dataclass(frozen=True, slots=True, eq=False)
class PacketIndex:
    """All displayable packets of one stream in decode order, from demuxing alone.

    Attributes:
        time_base: seconds per tick.
        pts, is_key, size: `[N]` in decode order; `size` is the coded size in bytes.
        display_pts: `[M]` sorted, each time once; M < N only where display times repeat.
        key_pts: sorted times of the key packets.
        start_pts: first displayed time. end_pts: last displayed time plus its duration.
        truncated_at_ms: where demuxing ended with an error or before the announced end, else None.
        is_start: `[N]` key packets that make the decoder independent of everything sent before.
        is_alone: `[N]` key packets whose own picture is whole without anything else.
        hidden: ordinals, in demux order, of packets that show nothing but may be referred to (no time, cut off by an
            edit list). useless: ordinals of packets that no decoder can use (size 0, lead-in of the first key packet).
        stream_index, codec: which stream this is, and FFmpeg's name of its codec.
        exact: the times of packets are the times of decoded pictures, each once. False: a sample is the picture
            decoded at or just before the planned time.
        ordered: key times rise in decode order. False: times jump back, so nothing is known from one time alone.
        reducible: packets that no sample needs may be left out without changing a sample's pixels.
        skips_nonref: pictures that no other picture refers to may be skipped.
        max_pixels: the limit that the decoder is given, so that a change of size mid-stream cannot exceed it.
        warnings: what is odd, in words.
    """

    time_base: Fraction
    pts: NDArray[np.int64]
    is_key: NDArray[np.bool_]
    size: NDArray[np.int32]
    display_pts: NDArray[np.int64]
    key_pts: NDArray[np.int64]
    start_pts: int
    end_pts: int
    truncated_at_ms: int | None
    is_start: NDArray[np.bool_]
    is_alone: NDArray[np.bool_]
    hidden: NDArray[np.int32]
    useless: NDArray[np.int32]
    stream_index: int = 0
    codec: str = ""
    exact: bool = True
    ordered: bool = True
    reducible: bool = False
    skips_nonref: bool = False
    max_pixels: int = 0
    warnings: tuple[str, ...] = ()

    def ms(self, pts: int) -> int:
        """Published time of `pts` in milliseconds: rational until the one rounding (half to even)."""
        numerator, denominator = self.time_base.as_integer_ratio()
        whole, rest = divmod((int(pts) - self.start_pts) * numerator * 1000, denominator)
        return whole + (2 * rest + whole % 2 > denominator)

    def pts_at(self, time_ms: int) -> int:
        """The first displayed time that is published as `time_ms` or later; the last one where there is none."""
        low, high = 0, len(self.display_pts) - 1
        while low < high:
            middle = (low + high) // 2
            if self.ms(int(self.display_pts[middle])) < time_ms:
                low = middle + 1
            else:
                high = middle
        return int(self.display_pts[low])

    @property
    def duration_ms(self) -> int:
        """End of the last displayed picture, at least 1."""
        return max(1, self.ms(self.end_pts))

    def ordinals(self) -> NDArray[np.int64]:
        """`[N]` position of each row among all packets that the demuxer delivers."""
        shown = np.ones(len(self.pts) + len(self.hidden) + len(self.useless), np.bool_)
        shown[self.hidden] = False
        shown[self.useless] = False
        return np.flatnonzero(shown)

    def with_max_pixels(self, max_pixels: int) -> PacketIndex:
        return replace(self, max_pixels=max_pixels)

    def ticks(self, seconds: float) -> int:
        """The fewest ticks that last at least `seconds`."""
        return -int(-Fraction(seconds).limit_denominator(1000) // self.time_base)


class _Rows:
    """What one pass over the packets collects, in compact arrays (21 bytes per picture)."""

    def __init__(self) -> None:
        self.pts = array("q")
        self.size = array("i")
        self.duration = array("q")
        self.flags = bytearray()  # 1 key, 2 start, 4 alone
        self.hidden = array("i")
        self.useless = array("i")
        self.key_packet: Packet[VideoStream] | None = None
        self.error = ""

    def add(self, pts: int, size: int, duration: int, flags: int) -> None:
        self.pts.append(pts)
        self.size.append(size)
        self.duration.append(duration)
        self.flags.append(flags)

    def drop_all_before(self, ordinal: int) -> None:
        for column in (self.pts, self.size, self.duration, self.flags, self.hidden):
            del column[:]
        self.useless = array("i", range(ordinal))

    def hide_trailing_placeholders(self) -> None:
        """MPEG-4 with packed B pictures ends in packets of a few bytes that only say "nothing new"."""
        unshown = {*self.hidden, *self.useless}
        ordinal = len(self.pts) + len(unshown) - 1
        while len(self.pts) > 1 and self.size[-1] <= _PLACEHOLDER_BYTES:
            while ordinal in unshown:
                ordinal -= 1
            unshown.add(ordinal)
            self.hidden.append(ordinal)
            for column in (self.pts, self.size, self.duration, self.flags):
                del column[-1:]


def build_index(container: InputContainer, stream: VideoStream) -> tuple[PacketIndex, Packet[VideoStream] | None]:
    """Index `stream`, and keep its first key packet (for facts that only a decoded picture tells).

    Raises:
        MediaError: no displayable packet at all (`truncated` after a read error, else `damaged`).
    """
    rows = _read_rows(container, stream)
    if not rows.pts:
        code = "truncated" if rows.error else "damaged"
        detail = rows.error or ("no picture carries a time" if rows.hidden else "the stream is empty")
        raise MediaError(f"{container.name.removeprefix('file:')}: no picture found ({detail})", code=code)
    return _to_index(container, stream, rows), rows.key_packet


def _read_rows(container: InputContainer, stream: VideoStream) -> _Rows:
    """One pass over the packets. The loop body is spelled out, because it runs once per picture of the file."""
    codec = stream.codec.canonical_name
    h264, vp8, avi = codec == "h264", codec == "vp8", container.format.name == "avi"
    prefix = entry.length_size(codec, stream.codec_context.extradata)
    rows = _Rows()
    lead_in_before: int | None = None  # pictures shown before the first key picture cannot be decoded
    try:
        for ordinal, packet in enumerate(container.demux(stream)):
            size, pts, key = packet.size, packet.pts, packet.is_keyframe
            if key and size:
                lead_in_before = None
                if rows.key_packet is None:
                    rows.key_packet = packet
                    if not avi:
                        rows.drop_all_before(ordinal)
                        lead_in_before = pts
            if not size or (lead_in_before is not None and pts is not None and pts < lead_in_before):
                rows.useless.append(ordinal)
            elif pts is None or packet.is_discard or (avi and size == 1) or (vp8 and not memoryview(packet)[0] & 16):
                rows.hidden.append(ordinal)  # bit 4 of a VP8 packet: the picture is shown
            else:
                start = alone = key
                if key and h264:
                    start, alone = entry.h264_entry(bytes(memoryview(packet)[: entry.HEAD_BYTES]), prefix)
                rows.add(pts, size, packet.duration or 0, key | start << 1 | alone << 2)
    except av.FFmpegError as error:
        rows.error = error.strerror or str(error)
    return rows


def _to_index(container: InputContainer, stream: VideoStream, rows: _Rows) -> PacketIndex:
    time_base = stream.time_base
    assert time_base is not None  # a video stream that delivered packets has one
    codec = stream.codec.canonical_name
    form = container.format.name
    if codec == "mpeg4" and form == "avi":
        rows.hide_trailing_placeholders()
    pts = np.array(rows.pts, dtype=np.int64)
    flags = np.array(rows.flags, dtype=np.uint8)
    interlaced = stream.codec_context.field_order not in _PROGRESSIVE_OR_UNKNOWN
    guessed = form in _GUESSED_TIMES or (interlaced and form in _FIELDS_PER_PACKET)
    last = int(pts.argmax())
    return make_index(
        time_base,
        pts,
        is_key=(flags & 1).astype(np.bool_),
        is_start=(flags & 2).astype(np.bool_),
        is_alone=(flags & 4).astype(np.bool_),
        size=np.array(rows.size, dtype=np.int32),
        hidden=np.array(rows.hidden, dtype=np.int32),
        useless=np.array(rows.useless, dtype=np.int32),
        last_duration=_shown_last(container, pts, rows.duration[last]),
        mean_duration=_mean_duration(stream, time_base),
        truncation=_truncation(container, stream, rows),
        stream_index=stream.index,
        codec=codec,
        trusted=not guessed,
        skips_nonref=codec in _NONREF
        and (codec != "hevc" or entry.hevc_sub_layers(stream.codec_context.extradata) == 1),
    )


def _mean_duration(stream: VideoStream, time_base: Fraction) -> int:
    """Ticks of one picture by the announced rate, for a file with a single picture of unknown length."""
    rate = stream.average_rate or stream.guessed_rate
    seconds = 1 / Fraction(rate) if rate and rate > 0 else _FALLBACK_FRAME
    return max(1, round(min(seconds, Fraction(3600)) / time_base))


def _shown_last(container: InputContainer, pts: NDArray[np.int64], duration: int) -> int:
    """Ticks for which the picture displayed last is shown; 0 where unknown.

    MP4 stores the steps between pictures in decode order. Where that is not the order of display, the step after the
    picture displayed last may be any other picture's; one that is out of line is taken for the usual step.
    """
    if duration and container.format.name.startswith("mov") and (np.diff(pts) < 0).any():
        usual = int(np.median(np.diff(np.unique(pts))))
        return usual if duration > 2 * usual else duration
    return duration


def _truncation(container: InputContainer, stream: VideoStream, rows: _Rows) -> str:
    """Why the end of the file is missing, or ""."""
    if rows.error:
        return f"reading stopped early ({rows.error})"
    found = len(rows.pts) + len(rows.hidden) + len(rows.useless) - 1  # less the empty packet that ends the stream
    if container.format.name.startswith("mov") and stream.frames > found:
        return f"{stream.frames - found} of {stream.frames} announced pictures are missing at the end"
    return _missing_time(container, stream, rows)


def _missing_time(container: InputContainer, stream: VideoStream, rows: _Rows) -> str:
    """Matroska announces when its last stream ends; with a single stream that is the end of the pictures."""
    if not container.format.name.startswith("matroska") or len(container.streams) > 1 or not container.duration:
        return ""
    assert stream.time_base is not None
    announced_s = container.duration / av.time_base
    end_s = float(max(rows.pts) * stream.time_base)
    if announced_s - end_s <= max(_MISSING_FROM_S, announced_s / 50):
        return ""
    return f"{announced_s:.1f} s were announced"


def make_index(
    time_base: Fraction,
    pts: NDArray[np.int64],
    *,
    is_key: NDArray[np.bool_],
    is_start: NDArray[np.bool_] | None = None,
    is_alone: NDArray[np.bool_] | None = None,
    size: NDArray[np.int32] | None = None,
    hidden: NDArray[np.int32] | None = None,
    useless: NDArray[np.int32] | None = None,
    last_duration: int = 0,
    mean_duration: int = 1,
    truncation: str = "",
    stream_index: int = 0,
    codec: str = "",
    trusted: bool = True,
    skips_nonref: bool = False,
) -> PacketIndex:
    """Put an index together from the facts of each packet (`pts` in decode order, at least one).

    `last_duration` is the duration of the picture shown last; 0 means unknown, then the median step between pictures
    is taken, or `mean_duration` where there is only one picture.
    """
    display = np.unique(pts)
    keys = np.unique(pts[is_key])
    key_rows = pts[is_key]
    ordered = bool((np.diff(key_rows) > 0).all())
    step = int(np.median(np.diff(display))) if len(display) > 1 else mean_duration
    start, end = int(display[0]), int(display[-1]) + max(1, last_duration or step)
    warnings = []
    if len(display) < len(pts):
        warnings.append(f"{len(pts) - len(display)} pictures repeat a time of another picture and are not used")
    if not ordered:
        warnings.append("the times of key pictures jump back; clips follow the times, not the order in the file")
    end_ms = round((end - start) * time_base * 1000)
    if truncation:
        warnings.append(f"the file ends early at {end_ms / 1000:.3f} s: {truncation}")
    exact = trusted and len(display) == len(pts) and ordered
    return PacketIndex(
        time_base=time_base,
        pts=pts,
        is_key=is_key,
        size=np.zeros(len(pts), np.int32) if size is None else size,
        display_pts=display,
        key_pts=keys,
        start_pts=start,
        end_pts=end,
        truncated_at_ms=end_ms if truncation else None,
        is_start=is_key if is_start is None else is_start,
        is_alone=is_key if is_alone is None else is_alone,
        hidden=np.zeros(0, np.int32) if hidden is None else hidden,
        useless=np.zeros(0, np.int32) if useless is None else useless,
        stream_index=stream_index,
        codec=codec,
        exact=exact,
        ordered=ordered,
        reducible=exact and codec in REDUCIBLE,
        skips_nonref=exact and skips_nonref,
        warnings=tuple(warnings),
    )
