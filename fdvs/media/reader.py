"""Sampled frames of each clip, in one pass over the file, bit-equal to a full decode.

Decoding goes packet by packet in one thread, so a bad packet costs its pictures and not the rest of the file. What is
not needed is not decoded (see `schedule`); every clip is checked for all its samples, and a clip that lacks one is
decoded again plainly from the nearest clean start. Samples depend on the clip alone, never on where a run began.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast

import numpy as np
from av.video.frame import VideoFrame

from fdvs.errors import UnknownBackendError
from fdvs.media.clips import ClipFrames, ClipPlan
from fdvs.media.frame import Frame
from fdvs.media.index import PacketIndex
from fdvs.media.loose import read_loosely
from fdvs.media.schedule import plain_feed, reduced_feed, start_row
from fdvs.media.session import Session

T = TypeVar("T")

__all__ = ["ClipFrames", "ClipReader", "read_clips", "read_clips_pyav"]

# After so many clips in a row that needed a second, plain decode, the rest of the file is read plainly at once.
_REDO_IN_A_ROW = 3
# Pictures decoded past a clip's last sample before a missing one is given up, for decoders that reorder late.
_PATIENCE = 32


class ClipReader(Protocol):
    """What another decoder provides; `fdvs.media.decord_reader.read_clips_decord` is one."""

    def __call__(
        self, path: Path, index: PacketIndex, plans: Sequence[ClipPlan], measure: Callable[[Frame], T], first_plan: int
    ) -> Iterator[ClipFrames[T]]: ...


_READERS = {"pyav": "fdvs.media.reader:read_clips_pyav", "decord": "fdvs.media.decord_reader:read_clips_decord"}


def read_clips(
    path: Path,
    index: PacketIndex,
    plans: Sequence[ClipPlan],
    measure: Callable[[Frame], T],
    *,
    first_plan: int = 0,
    decoder: str = "pyav",
) -> Iterator[ClipFrames[T]]:
    """Yield each clip from `first_plan` on, in order, with `measure` of every sampled frame.

    `measure` is called while the picture is alive and must not keep it. A sample that cannot be decoded is left out
    with a warning; a clip may end up without frames. Reading from `first_plan` gives what an uninterrupted run gives.

    Raises:
        OpenError: the file is gone or cannot be opened any more.
        UnknownBackendError: no such decoder.
    """
    if decoder not in _READERS:
        raise UnknownBackendError("decoder", decoder, list(_READERS))
    module, _, name = _READERS[decoder].partition(":")
    reader = cast(ClipReader, getattr(importlib.import_module(module), name))
    return reader(path, index, plans, measure, first_plan)


def read_clips_pyav(
    path: Path, index: PacketIndex, plans: Sequence[ClipPlan], measure: Callable[[Frame], T], first_plan: int
) -> Iterator[ClipFrames[T]]:
    """`read_clips` with PyAV."""
    if not index.exact:
        yield from read_loosely(path, index, plans, measure, first_plan)
        return
    at, plain = first_plan, False
    while at < len(plans):
        for clip in _Run(path, index, plans, measure, at, plain=plain).clips():
            at = clip.plan_index + 1
            yield clip
        plain = True  # the run stopped early: the savings do not work on this file


class _Run(Generic[T]):
    """One sequential pass over a file whose packet times are picture times."""

    def __init__(
        self,
        path: Path,
        index: PacketIndex,
        plans: Sequence[ClipPlan],
        measure: Callable[[Frame], T],
        first_plan: int,
        *,
        plain: bool,
    ) -> None:
        self.path, self.index, self.plans, self.measure, self.at = path, index, plans, measure, first_plan
        self.wanted = [pts for plan in plans[first_plan:] for pts in plan.sample_pts]
        self.position = 0  # in `wanted`
        self.clip_end = len(plans[first_plan].sample_pts)  # position behind the current clip's last sample
        self.feed = (
            plain_feed(index, start_row(index, self.wanted[0]))
            if plain
            else reduced_feed(index, np.array(self.wanted, dtype=np.int64))
        )
        self.frames: list[tuple[int, int, T]] = []
        self.suspect = False
        self.redone_in_a_row = 0

    def clips(self) -> Iterator[ClipFrames[T]]:
        """Clips until the last, or until too many in a row had to be decoded again."""
        with Session(self.path, self.index) as session:
            want, bad = self.wanted[0], 0
            for picture in session.pictures(self.feed):
                pts = picture.pts
                if pts is None or pts < want:
                    continue
                if session.bad != bad:
                    bad, self.suspect = session.bad, True
                # Output is in display order: what was wanted before this time will not come any more.
                while self.position < len(self.wanted) and self.wanted[self.position] <= pts:
                    if self.wanted[self.position] == pts:
                        self._take(session, picture, pts)
                    yield from self._advance()
                if self._is_over():
                    return
                want = self.wanted[self.position]
        while not self._is_over():
            yield from self._advance()

    def _is_over(self) -> bool:
        hopeless = self.feed.reduced and self.redone_in_a_row >= _REDO_IN_A_ROW and not self.frames
        return self.position >= len(self.wanted) or hopeless

    def _take(self, session: Session, picture: VideoFrame, pts: int) -> None:
        frame = session.frame(picture, pts)
        self.frames.append((frame.time_ms, pts, self.measure(frame)))
        self.suspect = self.suspect or picture.is_corrupt

    def _advance(self) -> Iterator[ClipFrames[T]]:
        """Go to the next sample; at the end of a clip, yield it."""
        self.position += 1
        if self.position < self.clip_end:
            return
        plan = self.plans[self.at]
        frames, warnings = self.frames, tuple[str, ...]()
        if len(frames) < len(plan.sample_pts) or self.suspect:
            frames, warnings = self._mend(plan)
        else:
            self.redone_in_a_row = 0
        clip = ClipFrames(self.at, plan, frames, warnings)
        self.at += 1
        if self.at < len(self.plans):
            self.clip_end += len(self.plans[self.at].sample_pts)
        self.frames, self.suspect = [], False
        yield clip

    def _mend(self, plan: ClipPlan) -> tuple[list[tuple[int, int, T]], tuple[str, ...]]:
        """Decode the clip again without leaving anything out, so that damage looks alike wherever a run began."""
        self.redone_in_a_row += 1
        frames, bad = decode_plainly(self.path, self.index, plan, self.measure)
        at_s = self.index.ms(plan.start_pts) / 1000
        warnings = []
        if bad:
            warnings.append(f"clip at {at_s:.3f} s: {bad} damaged packets")
        missing = len(plan.sample_pts) - len(frames)
        if missing:
            warnings.append(f"clip at {at_s:.3f} s: {missing} of {len(plan.sample_pts)} pictures cannot be decoded")
        return frames, tuple(warnings)


def decode_plainly(
    path: Path, index: PacketIndex, plan: ClipPlan, measure: Callable[[Frame], T]
) -> tuple[list[tuple[int, int, T]], int]:
    """One clip's samples by decoding every packet from the nearest clean start on: the meaning of all savings.

    Returns:
        (published ms, pts, measured value) in time order, samples that did not come left out; number of bad packets.
    """
    missing = set(plan.sample_pts)
    frames: list[tuple[int, int, T]] = []
    patience = _PATIENCE
    with Session(path, index) as session:
        for picture in session.pictures(plain_feed(index, start_row(index, plan.sample_pts[0]))):
            pts = picture.pts
            if pts in missing:
                missing.discard(pts)
                frame = session.frame(picture, pts)
                frames.append((frame.time_ms, pts, measure(frame)))
            patience -= pts is not None and pts > plan.sample_pts[-1]
            if not missing or not patience:
                break
        return sorted(frames, key=lambda item: item[1]), session.bad
