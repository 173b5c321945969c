"""Opening a file that nobody trusts: only real containers, only this one file, one clear error with a status code."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from fdvs.errors import MediaError, OpenError
from fdvs.media.discover import printable_name

# Containers that hold their own pictures. Left out on purpose: whatever opens other files or devices when asked to
# (concat, hls, dash, webm_dash_manifest, imf, image2, sdp, rtsp, lavfi, avisynth, capture devices) and still pictures.
# Plain audio formats are in, so that such a file is reported as "no video stream" rather than as "not a video".
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,asf_o,ogg,gif,apng,mxf,nut,ivf,"
    "h264,hevc,vvc,obu,av1,m4v,mjpeg,dv,wtv,rm,nsv,gxf,mpegtsraw,h261,h263,vc1,dnxhd,dirac,swf,yuv4mpegpipe,"
    "mp3,aac,flac,wav,w64,aiff,ac3,eac3,caf,amr,au,dts,dtshd,truehd,mlp,ape,wv,tta,mpc,mpc8,oma,tak"
)
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}

_MAGIC_AT_START = (b"\x1aE\xdf\xa3", b"RIFF", b"OggS", b"FLV", b"\x30\x26\xb2\x75")
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"moof", b"styp")


def open_container(path: Path) -> InputContainer:
    """Open `path` for demuxing. Whatever the name holds (`:`, a leading dash, newlines) is part of the name.

    Raises:
        OpenError: not_found, unreadable (permissions, a folder, a device), empty_file, truncated (a known kind of
            file whose table of contents is missing), not_media.
    """
    _check_file(path)
    # With the protocol spelled out, FFmpeg takes everything after it as a plain name.
    name = "file:" + os.fspath(path)
    try:
        return av.open(name, mode="r", container_options=dict(OPTIONS), metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise _explain(path, error) from error


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            with path.open("rb"):
                pass
    except FileNotFoundError as error:
        raise OpenError(f"{printable_name(path)}: no such file", code="not_found") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise OpenError(f"{printable_name(path)}: cannot be read ({_reason(error)})", code="unreadable") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise OpenError(f"{printable_name(path)}: {kind}, not a video", code="unreadable")
    if status.st_size == 0:
        raise OpenError(f"{printable_name(path)}: the file is empty", code="empty_file")


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error)).strip()


def _explain(path: Path, error: BaseException) -> OpenError:
    if isinstance(error, OSError) and not isinstance(error, av.error.InvalidDataError):
        return OpenError(f"{printable_name(path)}: cannot be read ({_reason(error)})", code="unreadable")
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as second:
        return OpenError(f"{printable_name(path)}: cannot be read ({_reason(second)})", code="unreadable")
    if head[4:8] in _MP4_BOXES:
        return OpenError(
            f"{printable_name(path)}: the file is cut short: its table of contents (moov) is missing", code="truncated"
        )
    if head.startswith(_MAGIC_AT_START):
        return OpenError(f"{printable_name(path)}: the file is cut short or damaged at its start", code="truncated")
    return OpenError(f"{printable_name(path)}: not a video that can be read ({_reason(error)})", code="not_media")


def choose_stream(container: InputContainer) -> tuple[VideoStream, str]:
    """The first video stream that is not an attached picture, and the choice in words ("" when there was none).

    All other streams are set to be skipped by the demuxer, so that their bytes are not even read where possible.

    Raises:
        MediaError: `no_video_stream`.
    """
    name = container.name.removeprefix("file:")
    videos = [stream for stream in container.streams.video if stream.codec_context is not None]
    moving = [stream for stream in videos if not stream.disposition & Disposition.attached_pic]
    if not moving:
        what = "only a cover picture" if videos else _undecodable(container)
        raise MediaError(
            f"{name}: no video stream ({what}); if captions or a transcript exist, use `fdvs import`",
            code="no_video_stream",
        )
    chosen = moving[0]
    for stream in container.streams:
        if stream.index != chosen.index:
            stream.discard = Discard.all
    return chosen, _choice(chosen, len(moving), len(videos) - len(moving))


def _undecodable(container: InputContainer) -> str:
    kinds = sorted({stream.type for stream in container.streams if stream.type != "unknown"})
    if container.streams.video:
        return "its video codec is not known here"
    return f"only {', '.join(kinds)}" if kinds else "no stream at all"


def _choice(chosen: VideoStream, moving: int, pictures: int) -> str:
    """A sentence, only where there was something to choose between."""
    others = []
    if moving > 1:
        others.append(f"{moving - 1} more video stream{'s' if moving > 2 else ''}")
    if pictures:
        others.append(f"{pictures} attached picture{'s' if pictures > 1 else ''}")
    if not others:
        return ""
    context = chosen.codec_context
    return (
        f"Stream {chosen.index} ({context.name} {context.width}x{context.height}) is used, the first video stream; "
        f"not used: {' and '.join(others)}."
    )
