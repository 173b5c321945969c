"""Sampled frames of each clip, in one pass over the file, bit-equal to a full decode.

Decoding goes packet by packet in one thread, so a bad packet costs its pictures and not the rest of the file. What is
not needed is not decoded (see `schedule`); every clip is checked for all its samples, and a clip that lacks one is
decoded again plainly from its clean start. Samples depend on the clip alone, never on where a run began.
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
from fdvs.media.schedule import Starts, plain_feed, reduced_feed
from fdvs.media.session import Session

T = TypeVar("T")

__all__ = ["ClipFrames", "ClipReader", "read_clips", "read_clips_pyav"]

# After so many groups in a row that came out incomplete without damage, the rest of the file is read plainly.
_FAILED_IN_A_ROW = 3
# Pictures decoded past a clip's last sample before a missing one is given up, for decoders that reorder late.
_PATIENCE = 32


class ClipReader(Protocol):
    """What another decoder provides; `fdvs.media.decord_reader.read_clips_decord` is one."""

    def __call__(
        self, path: Path, index: PacketIndex, plans: Sequence[ClipPlan], measure: Callable[[Frame], T], first_plan: int
    ) -> Iterator[ClipFrames[T]]: ...


DECODERS = {"pyav": "fdvs.media.reader:read_clips_pyav", "decord": "fdvs.media.decord_reader:read_clips_decord"}


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
    if decoder not in DECODERS:
        raise UnknownBackendError("decoder", decoder, list(DECODERS))
    module, _, name = DECODERS[decoder].partition(":")
    reader = cast(ClipReader, getattr(importlib.import_module(module), name))
    return reader(path, index, plans, measure, first_plan)


def read_clips_pyav(
    path: Path, index: PacketIndex, plans: Sequence[ClipPlan], measure: Callable[[Frame], T], first_plan: int
) -> Iterator[ClipFrames[T]]:
    """`read_clips` with PyAV."""
    if not index.exact:
        yield from read_loosely(path, index, plans, measure, first_plan)
        return
    at = first_plan
    if at < len(plans):
        for clip in _ReducedRun(path, index, plans, measure, at).clips():
            at = clip.plan_index + 1
            yield clip
    while at < len(plans):  # the run gave up: the savings do not work on this file
        for clip in read_group(path, index, plans, at, measure):
            at = clip.plan_index + 1
            yield clip


class _ReducedRun(Generic[T]):
    """One sequential pass that decodes as little as possible; what does not come out whole is read again plainly."""

    def __init__(
        self, path: Path, index: PacketIndex, plans: Sequence[ClipPlan], measure: Callable[[Frame], T], first_plan: int
    ) -> None:
        self.path, self.index, self.plans, self.measure, self.at = path, index, plans, measure, first_plan
        self.wanted = [pts for plan in plans[first_plan:] for pts in plan.sample_pts]
        self.position = 0  # in `wanted`
        self.clip_end = len(plans[first_plan].sample_pts)  # position behind the current clip's last sample
        self.feed = reduced_feed(index, np.array(self.wanted, dtype=np.int64))
        self.frames: list[tuple[int, int, T]] = []
        self.last_bad = -1
        self.corrupt = False
        self.failed_in_a_row = 0

    def clips(self) -> Iterator[ClipFrames[T]]:
        """Clips until the last, or until too many in a row came out incomplete."""
        with Session(self.path, self.index, strict=self.feed.strict) as session:
            want = self.wanted[0]
            for picture in session.pictures(self.feed):
                pts = picture.pts
                if pts is None or pts < want:
                    continue
                self.last_bad = session.last_bad
                # Output is in display order: what was wanted before this time will not come any more.
                while self.position < len(self.wanted) and self.wanted[self.position] <= pts:
                    if self.wanted[self.position] == pts:
                        self._take(session, picture, pts)
                    yield from self._advance()
                if self._is_over():
                    return
                want = self.wanted[self.position]
            self.last_bad = session.last_bad
        while not self._is_over():
            yield from self._advance()

    def _is_over(self) -> bool:
        return self.position >= len(self.wanted) or self.failed_in_a_row >= _FAILED_IN_A_ROW

    def _take(self, session: Session, picture: VideoFrame, pts: int) -> None:
        frame = session.frame(picture, pts)
        self.frames.append((frame.time_ms, pts, self.measure(frame)))
        self.corrupt = self.corrupt or picture.is_corrupt

    def _advance(self) -> Iterator[ClipFrames[T]]:
        """Go to the next sample; at the end of a clip, yield it."""
        self.position += 1
        if self.position < self.clip_end:
            return
        plan, frames = self.plans[self.at], self.frames
        damaged = self.corrupt or (self.last_bad >= 0 and self.last_bad >= self._first_ordinal(plan))
        self.frames, self.corrupt = [], False
        if damaged or len(frames) < len(plan.sample_pts):
            self.failed_in_a_row += not damaged
            for clip in read_group(self.path, self.index, self.plans, self.at, self.measure, damaged=damaged):
                self._go_to(clip.plan_index + 1)
                yield clip
        else:
            self.failed_in_a_row = 0
            clip = ClipFrames(self.at, plan, frames)
            self._go_to(self.at + 1)
            yield clip

    def _go_to(self, at: int) -> None:
        """Make `at` the current clip."""
        self.position = self.clip_end
        self.at = at
        if at < len(self.plans):
            self.clip_end += len(self.plans[at].sample_pts)

    def _first_ordinal(self, plan: ClipPlan) -> int:
        """Damage counts from the clip's clean start on, also where it lies in an earlier clip of the same group."""
        return int(self.index.ordinals()[Starts(self.index).before(plan.sample_pts[0])])


def read_group(
    path: Path,
    index: PacketIndex,
    plans: Sequence[ClipPlan],
    at: int,
    measure: Callable[[Frame], T],
    *,
    damaged: bool = False,
) -> Iterator[ClipFrames[T]]:
    """Clip `at` and those after it that share its clean start, by decoding every packet from there: the slow, obvious
    way that all savings must agree with. Its pictures depend on the file alone, also where the decoder patches damage.
    """
    starts = Starts(index)
    row = starts.before(plans[at].sample_pts[0])
    end = at + 1
    while end < len(plans) and starts.before(plans[end].sample_pts[0]) == row:
        end += 1
    wanted = {pts for plan in plans[at:end] for pts in plan.sample_pts}
    found: dict[int, tuple[int, int, T]] = {}
    waited = 0  # pictures since the current clip should have been complete
    with Session(path, index) as session:
        for picture in session.pictures(plain_feed(index, row)):
            pts = picture.pts
            if pts in wanted:
                wanted.discard(pts)
                frame = session.frame(picture, pts)
                found[pts] = (frame.time_ms, pts, measure(frame))
            waited += pts is not None and pts > plans[at].sample_pts[-1]
            while at < end and (waited > _PATIENCE or all(pts in found for pts in plans[at].sample_pts)):
                yield _close(index, at, plans[at], found, damaged or session.bad > 0)
                at, waited = at + 1, 0
            if at == end:
                return
        for rest in range(at, end):
            yield _close(index, rest, plans[rest], found, damaged or session.bad > 0)


def _close(
    index: PacketIndex, at: int, plan: ClipPlan, found: dict[int, tuple[int, int, T]], damaged: bool
) -> ClipFrames[T]:
    where = f"clip at {index.ms(plan.start_pts) / 1000:.3f} s"
    frames = [found.pop(pts) for pts in plan.sample_pts if pts in found]
    missing = len(plan.sample_pts) - len(frames)
    warnings = [f"{where}: damaged data, pictures are shown as the decoder could mend them"] if damaged else []
    if missing:
        warnings.append(f"{where}: {missing} of {len(plan.sample_pts)} pictures cannot be decoded")
    return ClipFrames(at, plan, frames, tuple(warnings))
