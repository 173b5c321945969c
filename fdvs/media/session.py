"""One open decoder: packets in, pictures out, tolerant of damage, and able to begin at a row of the index."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import Literal, cast

import av
import numpy as np
from av.codec.context import ThreadType
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from fdvs.media.container import choose_stream, open_container
from fdvs.media.frame import Converters, Frame, pixel_aspect
from fdvs.media.index import PacketIndex
from fdvs.media.schedule import HIDDEN, SKIP_FRAME, Feed

SkipFrame = Literal["NONE", "DEFAULT", "NONREF", "BIDIR", "NONINTRA", "NONKEY", "ALL"]

# After damage these decoders go on from whatever memory held; nothing they show before the next key picture is true.
_NO_CONCEALMENT = frozenset({"vp8", "vp9", "av1"})
# How many key pictures a seek may step back before the file is read from its beginning.
_SEEK_TRIES = 3


class Session:
    """A file opened for decoding `index`'s stream, single-threaded so that packets and pictures stay in step.

    Attributes:
        bad: packets that the decoder refused so far. last_bad: ordinal of the last of them, -1 before the first.
        misaligned: the demuxer delivered other packets than were indexed, and decoding was ended there.
    """

    def __init__(self, path: Path, index: PacketIndex, *, strict: bool = False) -> None:
        """`strict` makes the decoder refuse what it would otherwise patch up from whatever it decoded before."""
        self._path, self._index, self._strict = path, index, strict
        self._converters = Converters()
        self.bad = 0
        self.last_bad = -1
        self.misaligned = False
        self._open()

    def _open(self) -> None:
        self._container = open_container(self._path)
        self._stream, _ = choose_stream(self._container)
        self._aspect = pixel_aspect(self._stream)
        context = self._stream.codec_context
        context.thread_type = ThreadType.NONE
        context.thread_count = 1
        options = {"max_pixels": str(self._index.max_pixels)} if self._index.max_pixels else {}
        context.options = {**options, "err_detect": "explode"} if self._strict else options

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    def frame(self, picture: VideoFrame, pts: int) -> Frame:
        """Wrap a decoded picture for measuring."""
        return Frame(picture, pts, self._index.ms(pts), aspect=self._aspect, converters=self._converters)

    def pictures(self, feed: Feed) -> Iterator[VideoFrame]:
        """Decode what `feed` asks for, in the decoder's output order; ends early rather than with an error."""
        try:
            packets = self._packets_from(feed.first_row)
            yield from self._key_pictures(packets, feed) if feed.keys_only else self._fed_pictures(packets, feed)
        except av.FFmpegError:
            # The demuxer stopped: pictures still in the decoder are delivered by the flush below.
            self._refused(sys.maxsize)
        yield from self._flush()

    def _fed_pictures(self, packets: Iterator[Packet[VideoStream]], feed: Feed) -> Iterator[VideoFrame]:
        context = self._stream.codec_context
        current = -1
        lost = False
        for packet, action, pts, ordinal in zip(packets, feed.actions, feed.times.tolist(), count(feed.first_ordinal)):
            if not action:
                continue
            if packet.pts != pts and action != HIDDEN:
                self.misaligned = True
                return
            if lost:
                if not packet.is_keyframe:
                    continue
                lost = False
            if action != current:
                context.skip_frame = cast(SkipFrame, SKIP_FRAME[action])
                current = action
            try:
                pictures = packet.decode()
            except av.FFmpegError:
                self._refused(ordinal)
                lost = self._index.codec in _NO_CONCEALMENT
                continue
            yield from pictures

    def _key_pictures(self, packets: Iterator[Packet[VideoStream]], feed: Feed) -> Iterator[VideoFrame]:
        """Each wanted key packet on its own: nothing it needs comes before it, nothing after it delays it."""
        context = self._stream.codec_context
        context.skip_frame = "NONKEY"  # the packet flag alone would do; some decoders save work when told as well
        for packet, action, pts, ordinal in zip(packets, feed.actions, feed.times.tolist(), count(feed.first_ordinal)):
            if not action:
                continue
            if packet.pts != pts:
                self.misaligned = True
                return
            try:
                pictures = [*packet.decode(), *context.decode(None)]
            except av.FFmpegError:
                self._refused(ordinal)
                pictures = []
            context.flush_buffers()
            yield from pictures

    def _refused(self, ordinal: int) -> None:
        self.bad += 1
        self.last_bad = ordinal

    def _flush(self) -> Iterator[VideoFrame]:
        try:
            yield from self._stream.codec_context.decode(None)
        except av.FFmpegError:
            return  # nothing was fed, or the decoder has been emptied already

    def _packets_from(self, row: int) -> Iterator[Packet[VideoStream]]:
        """Packets beginning with that of `row`; seeks where that is not the file's first."""
        if row == 0:
            return self._container.demux(self._stream)
        targets = np.flatnonzero(self._index.is_alone[: row + 1])[::-1]
        for target in targets[:_SEEK_TRIES]:
            found = self._seek(int(target), row)
            if found is not None:
                return found
        self._container.close()
        self._open()
        return self._forward_to(self._container.demux(self._stream), row) or iter(())

    def _seek(self, target: int, row: int) -> Iterator[Packet[VideoStream]] | None:
        """Seek to row `target` and read on to `row`; None when the seek landed behind `row`."""
        try:
            self._container.seek(int(self._index.pts[target]), stream=self._stream, backward=True)
            return self._forward_to(self._container.demux(self._stream), row)
        except av.FFmpegError:
            return None

    def _forward_to(self, packets: Iterator[Packet[VideoStream]], row: int) -> Iterator[Packet[VideoStream]] | None:
        pts, size = int(self._index.pts[row]), int(self._index.size[row])
        latest = int(self._index.pts[: row + 1].max())
        for packet in packets:
            if packet.pts == pts and packet.size == size and packet.is_keyframe:
                return chain((packet,), packets)
            if packet.is_keyframe and packet.pts is not None and packet.pts > latest:
                return None
        return None
