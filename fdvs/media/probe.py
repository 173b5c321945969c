"""What is known of a file before its pictures are decoded: the facts of `Probe`, the packet index, and the limits."""

from __future__ import annotations

from pathlib import Path

import av
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from fdvs.errors import LimitError
from fdvs.media.container import choose_stream, open_container
from fdvs.media.discover import printable_name
from fdvs.media.frame import pixel_aspect, quarter_turns
from fdvs.media.index import PacketIndex, build_index
from fdvs.records import Probe
from fdvs.settings import LimitSettings

__all__ = ["open_container", "probe"]

# FFmpeg's transfer characteristics by their usual names (ITU-T H.273 numbers).
_TRANSFERS = {
    1: "bt709",
    4: "gamma22",
    5: "gamma28",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    13: "srgb",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    18: "arib-std-b67",
}


def probe(path: Path, limits: LimitSettings) -> tuple[Probe, PacketIndex]:
    """Index `path` and gather its facts; one key picture is decoded, because only it tells the rotation.

    Raises:
        OpenError: see `open_container`.
        MediaError: `no_video_stream`; `truncated` or `damaged` when no picture is found.
        LimitError: pixels, frames or duration exceed `limits`; checked before any picture is decoded.
    """
    with open_container(path) as container:
        stream, choice = choose_stream(container)
        context = stream.codec_context
        pixels = _gif_pixels(path) if container.format.name == "gif" else context.width * context.height
        _check(path, "pixels", pixels, limits.max_pixels, "max_pixels")
        index, key_packet = build_index(container, stream)
        _check(path, "frames", len(index.pts), limits.max_frames, "max_frames")
        _check(path, "seconds", index.duration_ms / 1000, limits.max_duration_s, "max_duration_s")
        picture = _first_picture(stream, key_packet, limits.max_pixels)
        return _facts(container, stream, choice, index, picture), index.with_max_pixels(limits.max_pixels)


def _check(path: Path, what: str, found: float, limit: float, name: str) -> None:
    if found > limit:
        raise LimitError(
            f"{printable_name(path)}: {found:,.0f} {what}, more than the limit limits.{name} = {limit:,.0f}"
        )


def _gif_pixels(path: Path) -> int:
    """Size of a GIF's canvas, which FFmpeg does not tell before it decodes."""
    with path.open("rb") as file:
        head = file.read(10)
    return int.from_bytes(head[6:8], "little") * int.from_bytes(head[8:10], "little")


def _first_picture(stream: VideoStream, packet: Packet[VideoStream] | None, max_pixels: int) -> VideoFrame | None:
    """The first key picture, or None where it cannot be decoded (the reader will find out the rest)."""
    if packet is None:
        return None
    context = stream.codec_context
    context.thread_type = ThreadType.NONE
    context.options = {"max_pixels": str(max_pixels)}
    try:
        pictures = [*context.decode(packet), *context.decode(None)]
    except av.FFmpegError:
        return None
    return pictures[0] if pictures else None


def _facts(
    container: InputContainer, stream: VideoStream, choice: str, index: PacketIndex, picture: VideoFrame | None
) -> Probe:
    context = stream.codec_context
    width, height = (picture.width, picture.height) if picture else (context.width, context.height)
    width = max(1, round(width * pixel_aspect(stream)))
    turns = quarter_turns(picture) if picture else 0
    if turns % 2:
        width, height = height, width
    form = picture.format if picture else context.format
    components = form.components if form else ()
    transfer = picture.color_trc if picture else context.color_trc
    return Probe(
        container=container.format.name,
        codec=stream.codec.canonical_name,
        pixel_format=form.name if form else "",
        width=width,
        height=height,
        rotation_deg=-turns % 4 * 90,  # clockwise, as in the usual `rotate` tag
        bit_depth=max((component.bits for component in components), default=8),
        transfer=_TRANSFERS.get(int(transfer), "unknown"),
        stream_index=stream.index,
        stream_choice=choice,
        time_base=f"{index.time_base.numerator}/{index.time_base.denominator}",
        start_time_s=float(index.start_pts * index.time_base),
        duration_ms=index.duration_ms,
        num_frames=len(index.display_pts),
        num_keyframes=len(index.key_pts),
        mean_fps=round(len(index.display_pts) * 1000 / index.duration_ms, 3),
        streams=tuple(_describe(container)),
        warnings=index.warnings,
    )


def _describe(container: InputContainer) -> list[str]:
    """One line per stream: number, kind, codec, language."""
    lines = []
    for stream in container.streams:
        codec = getattr(stream.codec_context, "name", "unknown codec")  # None where no decoder is known
        language = stream.metadata.get("language", "und")
        lines.append(f"{stream.index} {stream.type} {codec}" + ("" if language == "und" else f" ({language})"))
    return lines
