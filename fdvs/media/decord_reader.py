"""Clips through decord, an optional decoder: in a process that can be killed, and only where it is known to be right.

decord 0.6 bundles FFmpeg 4.1 (2018). Its open and seek code gives wrong pictures without an error on MPEG-TS, on open
groups of pictures (usual in HEVC) and on edit lists, takes another video stream than we do where there are several,
and mangles some rotated sizes; `benchmarks/decoder_table.py` measures it. So before any picture is used, what decord
says about the file is compared with the packet index, and a file where they differ is refused with the reason.

The pixels differ from PyAV's: decord converts to 8-bit RGB itself (BT.601 weights whatever the file says, its own
chroma scaling) and turns rotated pictures itself. `Frame.small()` is computed back from that RGB, so story ids and
measures made with both decoders are not comparable.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import av
import numpy as np
from av.codec.context import ThreadType
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from fdvs.errors import BackendUnavailableError, DecodeError, InputError, OpenError
from fdvs.media import colour
from fdvs.media.clips import ClipFrames, ClipPlan
from fdvs.media.container import choose_stream, open_container
from fdvs.media.discover import printable_name
from fdvs.media.frame import Frame, pixel_aspect
from fdvs.media.index import PacketIndex

T = TypeVar("T")

TIMEOUT_S: Final = 120.0  # per request; opening reads the whole file
MENDS: Final = "`--set run.decoder=pyav` reads it"

_WORKER = Path(__file__).with_name("decord_worker.py")
_MAX_HEADER_BYTES = 1 << 28  # of JSON: the key indices of the longest file allowed
_MAX_RAW_BYTES = 1 << 30
_MAX_LOG_BYTES = 4096
_CHUNK = 1 << 20
_FIRST_PACKETS = 64
_SOURCE_POSITION = re.compile(r"^/\S+?:\d+: ")
_CANNOT_OPEN = {"av1": "its FFmpeg of 2018 has no AV1 decoder", "gif": "it cannot count the pictures of a GIF"}
_WRONG_CONTAINERS = frozenset({"mpegts", "mpeg"})


class _Died(Exception):
    """The process ended before it answered."""


class _Refused(Exception):
    """decord itself reported an error; `kind` is the name of its type."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class DecordProcess:
    """One decord in one process. Every request has a wall-clock limit, after which the process is killed.

    It runs the worker's file and not `-m`, with `-P`: neither the working folder nor this package can shadow a module
    of the standard library there.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._log = b""
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_WORKER), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            close_fds=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._stdin, self._stdout, self._stderr = self._process.stdin, self._process.stdout, self._process.stderr
        for pipe in (self._stdout, self._stderr):
            os.set_blocking(pipe.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)
        self._selector.register(self._stderr, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        """Kill the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._selector.close()
        for pipe in (self._stdin, self._stdout, self._stderr):
            pipe.close()

    def ask(self, request: dict[str, Any] | None) -> tuple[dict[str, Any], bytes]:
        """Send a request (None: just wait for the greeting) and return the answer's header and raw bytes.

        Raises:
            TimeoutError: no whole answer within the limit; the process is killed.
            _Died: the process ended. _Refused: decord reported an error.
        """
        deadline = time.monotonic() + self._timeout_s
        if request is not None:
            encoded = json.dumps(request).encode()
            with contextlib.suppress(BrokenPipeError):  # it died: reading says so
                self._stdin.write(len(encoded).to_bytes(4, "big") + encoded)
        try:
            size = int.from_bytes(self._read(4, deadline), "big")
            if size > _MAX_HEADER_BYTES:
                raise _Died
            header = json.loads(self._read(size, deadline))
            num_bytes = int(header["num_bytes"])
            if not 0 <= num_bytes <= _MAX_RAW_BYTES:
                raise _Died
            raw = self._read(num_bytes, deadline)
        except (ValueError, KeyError, TypeError) as error:  # no answer that our worker gives
            raise _Died from error
        if "error" in header:
            raise _Refused(str(header["error"]), str(header["kind"]))
        return header, raw

    def take_log(self) -> str:
        """What was written to stderr since the last call, at most the first 4 KiB."""
        self._drain(self._stderr.fileno())
        log, self._log = self._log, b""
        return log.decode("utf-8", "replace").strip()

    def _drain(self, descriptor: int) -> bool:
        """Take what stderr holds; False at its end."""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(descriptor, 65_536):
                self._log += piece[: max(0, _MAX_LOG_BYTES - len(self._log))]
            return False
        return True

    def _read(self, count: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            ready = self._selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                self._process.kill()
                raise TimeoutError
            for key, _ in ready:
                if key.fileobj is self._stderr:
                    if not self._drain(key.fd):
                        self._selector.unregister(self._stderr)
                    continue
                piece = os.read(key.fd, min(_CHUNK, count - len(data)))
                if not piece:
                    raise _Died
                data += piece
        return bytes(data)


def read_clips_decord(
    path: Path,
    index: PacketIndex,
    plans: Sequence[ClipPlan],
    measure: Callable[[Frame], T],
    first_plan: int = 0,
    *,
    timeout_s: float = TIMEOUT_S,
) -> Iterator[ClipFrames[T]]:
    """`read_clips` with decord.

    A picture that decord reports as undecodable is left out with a warning. What decord replaces without saying so it
    cannot be told from; FFmpeg's complaints while a clip was read become a warning of that clip.

    Raises:
        BackendUnavailableError: decord is not installed or does not load.
        OpenError: decord cannot open this file, or is known to read it wrongly (code `unreadable`, with the reason).
        DecodeError: no answer within `timeout_s` (`timeout`), or the process ended (`crashed`).
    """
    shape = _refuse_by_container(path, index)
    at_ms: int | None = None
    try:
        with DecordProcess(timeout_s) as process:
            reader = _Reader(path, index, shape, process)
            reader.open()
            for number in range(first_plan, len(plans)):
                at_ms = index.ms(plans[number].start_pts)
                yield reader.read(number, plans[number], measure)
    except TimeoutError as error:
        message = f"{printable_name(path)}: decord gave no answer within {timeout_s:g} s and was stopped; {MENDS}"
        raise DecodeError(message, code="timeout", at_ms=at_ms) from error
    except _Died as error:
        raise DecodeError(
            f"{printable_name(path)}: decord's process ended; {MENDS}", code="crashed", at_ms=at_ms
        ) from error


@dataclass(frozen=True, slots=True)
class _Shape:
    """Coded size, and how wide a pixel is for its height."""

    width: int
    height: int
    aspect: Fraction

    def aspect_of(self, shape: tuple[int, ...]) -> Fraction | None:
        """Aspect of pixels in an array from decord; None when no picture of this stream has such a shape."""
        if shape == (self.height, self.width, 3):
            return self.aspect
        return 1 / self.aspect if shape == (self.width, self.height, 3) else None


def _refuse(path: Path, reason: str) -> OpenError:
    return OpenError(f"{printable_name(path)}: not read with decord, because {reason}; {MENDS}", code="unreadable")


def _is_utf8(path: Path) -> bool:
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_by_container(path: Path, index: PacketIndex) -> _Shape:
    """Refuse what the name and the container already tell; else the shape that pictures must have."""
    if not _is_utf8(path):
        raise _refuse(path, "it takes no file names that are not UTF-8")
    with open_container(path) as container:
        form = container.format.name
        num_videos = len(container.streams.video)
        stream, _ = choose_stream(container)
        picture = _first_picture(container, stream, index.max_pixels)
        context = stream.codec_context
        shape = _Shape(context.width, context.height, pixel_aspect(stream))
        if form in _WRONG_CONTAINERS:
            raise _refuse(path, f"its seek in {form} files lands on other pictures")
        if num_videos > 1:
            raise _refuse(path, f"it may take another one of the {num_videos} video streams than the first")
        if colour.is_hdr(context.color_trc if picture is None else picture.color_trc):
            raise _refuse(path, "it shows HDR video in wrong colours")
    reason = _why_wrong_by_index(index)
    if reason:
        raise _refuse(path, reason)
    return shape


def _first_picture(container: InputContainer, stream: VideoStream, max_pixels: int) -> VideoFrame | None:
    """The first picture, which tells size and transfer curve where the container does not; None where none comes."""
    context = stream.codec_context
    context.thread_type = ThreadType.NONE
    if max_pixels:
        context.options = {"max_pixels": str(max_pixels)}
    try:
        for packet in itertools.islice(container.demux(stream), _FIRST_PACKETS):
            for picture in packet.decode():
                return picture
    except av.FFmpegError:
        return None
    return None


def _why_wrong_by_index(index: PacketIndex) -> str:
    """What in the packet index decord is known to get wrong, or ""."""
    if len(index.display_pts) < len(index.pts) or not index.ordered:
        return "times of pictures repeat or jump back"
    if not index.is_key[0]:
        return "the first picture that is shown is no key picture (edit list): it shows those before as well"
    newest_key = np.maximum.accumulate(np.where(index.is_key, np.arange(len(index.pts)), 0))
    if bool((index.pts < index.pts[newest_key]).any()):
        return "pictures after a key picture are shown before it (open groups of pictures): its seek is off by them"
    if bool((index.is_key & ~index.is_start).any()):
        return "some key pictures are no entry points, but it seeks to them"
    return ""


def why_wrong(index: PacketIndex, keys: Sequence[int], starts: NDArray[np.float64]) -> str:
    """Why what decord says about a file (key indices, start of each frame in seconds) contradicts its packets, or "".

    Times may count from the first picture or from the stream's zero, and differ by up to half of the shorter step to
    a neighbour, plus what 32-bit floats lose.
    """
    if len(starts) != len(index.display_pts):
        return f"it counts {len(starts)} pictures where {len(index.display_pts)} are shown (edit list, damage)"
    if not np.isfinite(starts).all():
        return "its times are no numbers"
    scale = float(index.time_base)
    expected = (index.display_pts - index.start_pts) * scale
    steps = np.diff(expected)
    step = np.minimum(np.append(steps, np.inf), np.insert(steps, 0, np.inf))
    tolerance = 0.5 * np.where(np.isfinite(step), step, 1.0) + np.abs(starts) * 2.0**-22
    start = index.start_pts * scale
    if not any(bool((np.abs(starts - expected - zero) <= tolerance).all()) for zero in (0.0, start)):
        worst = float(np.abs(starts - expected - (start if abs(starts[0] - start) < abs(starts[0]) else 0.0)).max())
        return f"its times are off by up to {worst:.3f} s (edit list, guessed times)"
    if list(keys) != np.searchsorted(index.display_pts, index.key_pts).tolist():
        return "it takes other pictures for key pictures"
    return ""


@dataclass(frozen=True, slots=True)
class _Reader:
    """One file in one process."""

    path: Path
    index: PacketIndex
    shape: _Shape
    process: DecordProcess

    def open(self) -> None:
        """Open the file and compare what decord says about it, the size of its first picture included."""
        try:
            self.process.ask(None)
            header, raw = self.process.ask({"open": str(self.path.absolute())})
            first, _ = self.process.ask({"frame": 0})
        except _Refused as error:
            if error.kind == "missing":
                message = f"decord cannot be used here ({error}); `pip install 'fdvs[decord]'`, or {MENDS}"
                raise BackendUnavailableError(message) from error
            detail = _CANNOT_OPEN.get(self.index.codec) or f"it cannot open it: {_sentence(str(error))}"
            raise _refuse(self.path, detail) from error
        except _Died as error:
            raise _refuse(self.path, "it crashed when opening it") from error
        reason = why_wrong(self.index, header["keys"], np.frombuffer(raw, dtype="<f8").astype(np.float64))
        if not reason and self.shape.aspect_of(tuple(first["shape"])) is None:
            reason = f"it makes {_by(first['shape'])} of pictures of {self.shape.width}x{self.shape.height}"
        if reason:
            raise _refuse(self.path, reason)
        self.process.take_log()

    def read(self, number: int, plan: ClipPlan, measure: Callable[[Frame], T]) -> ClipFrames[T]:
        frames: list[tuple[int, int, T]] = []
        warnings: list[str] = []
        at = f"clip at {self.index.ms(plan.start_pts) / 1000:.3f} s"
        for pts in plan.sample_pts:
            row = int(np.searchsorted(self.index.display_pts, pts))
            if row >= len(self.index.display_pts) or self.index.display_pts[row] != pts:
                raise InputError(f"no picture is shown at {pts=}")
            try:
                header, raw = self.process.ask({"frame": row})
            except _Refused as error:
                warnings.append(f"{at}: decord: {_sentence(str(error))}")
                continue
            frame = self._frame(raw, tuple(header["shape"]), pts)
            frames.append((frame.time_ms, pts, measure(frame)))
        log = self.process.take_log()
        if log:
            warnings.append(f"{at}: decord may show earlier pictures again: {_sentence(log)}")
        return ClipFrames(number, plan, frames, tuple(warnings))

    def _frame(self, raw: bytes, shape: tuple[int, ...], pts: int) -> Frame:
        time_ms = self.index.ms(pts)
        aspect = self.shape.aspect_of(shape)
        if aspect is None or len(raw) != shape[0] * shape[1] * 3:
            raise DecodeError(
                f"{printable_name(self.path)}: decord changes the size of pictures to {_by(shape)}; {MENDS}",
                at_ms=time_ms,
            )
        pixels = np.frombuffer(raw, dtype=np.uint8).reshape(shape)
        return Frame(VideoFrame.from_ndarray(pixels, format="rgb24"), pts, time_ms, aspect=aspect)


def _by(shape: Sequence[int]) -> str:
    """`[H, W, C]` as people write it."""
    return f"{shape[1]}x{shape[0]} with {shape[2]} channels" if len(shape) == 3 else str(list(shape))


def _sentence(text: str) -> str:
    """decord's errors carry a time, a source position and a stack trace around one sentence."""
    line = text.strip().splitlines()[0] if text.strip() else "unknown error"
    return _SOURCE_POSITION.sub("", line.rpartition("] ")[2])[:200]
