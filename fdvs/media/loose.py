"""Reading files whose packet times cannot be trusted: AVI, raw streams, repeated or jumping times.

Everything is decoded from the beginning. A sample is the picture that carries the planned time; where none does, the
picture decoded last before that time, with its own time recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from av.video.frame import VideoFrame

from fdvs.media.clips import ClipFrames, ClipPlan
from fdvs.media.frame import Frame
from fdvs.media.index import PacketIndex
from fdvs.media.schedule import plain_feed
from fdvs.media.session import Session

T = TypeVar("T")

# Guessed times of neighbouring pictures may be swapped; a clip waits so many pictures for its last samples.
_PATIENCE = 4


def read_loosely(
    path: Path, index: PacketIndex, plans: Sequence[ClipPlan], measure: Callable[[Frame], T], first_plan: int
) -> Iterator[ClipFrames[T]]:
    """`read_clips` for an index that is not `exact`."""
    run = _LooseRun(index, plans, measure, first_plan)
    with Session(path, index) as session:
        for picture in session.pictures(plain_feed(index, 0)):
            if picture.pts is not None:
                run.see(session, picture, picture.pts)
                yield from run.finished()
                if run.at == len(plans):
                    return
        yield from run.rest(session)


class _LooseRun(Generic[T]):
    def __init__(
        self, index: PacketIndex, plans: Sequence[ClipPlan], measure: Callable[[Frame], T], first_plan: int
    ) -> None:
        self.index, self.plans, self.measure = index, plans, measure
        self.at = first_plan
        self.wanted = {pts for plan in plans[first_plan:] for pts in plan.sample_pts}
        self.exact: dict[int, T] = {}
        self.instead: dict[int, tuple[int, T]] = {}  # planned time → (own time, value) of the picture shown then
        self.queue = sorted(self.wanted, reverse=True)  # planned times not passed yet, next one last
        self.last: tuple[VideoFrame, int] | None = None
        self.seen_past_end = 0

    def see(self, session: Session, picture: VideoFrame, pts: int) -> None:
        """Take in one decoded picture."""
        if pts in self.wanted and pts not in self.exact:
            self.exact[pts] = self.measure(session.frame(picture, pts))
        while self.index.ordered and self.queue and self.queue[-1] <= pts:
            planned = self.queue.pop()
            if planned not in self.exact:
                shown, own = self.last or (picture, pts)
                self.instead[planned] = own, self.measure(session.frame(shown, own))
        self.last = picture, pts
        if self.at < len(self.plans):
            self.seen_past_end += pts >= self.plans[self.at].end_pts

    def finished(self) -> Iterator[ClipFrames[T]]:
        """Clips that have all their samples, or that the decoder has left behind."""
        while self.at < len(self.plans):
            plan = self.plans[self.at]
            left = self.index.ordered and self.seen_past_end > _PATIENCE
            if not left and not all(pts in self.exact for pts in plan.sample_pts):
                return
            yield self._close(plan)

    def rest(self, session: Session) -> Iterator[ClipFrames[T]]:
        """All remaining clips, at the end of the file."""
        while self.queue and self.last is not None and self.index.ordered:
            planned = self.queue.pop()
            shown, own = self.last
            self.instead[planned] = own, self.measure(session.frame(shown, own))
        while self.at < len(self.plans):
            yield self._close(self.plans[self.at])

    def _close(self, plan: ClipPlan) -> ClipFrames[T]:
        found: dict[int, T] = {}
        missing = 0
        for planned in plan.sample_pts:
            if planned in self.exact:
                found[planned] = self.exact.pop(planned)
                continue
            shown = self.instead.pop(planned, None)
            if shown is not None and plan.start_pts <= shown[0] < plan.end_pts:
                found.setdefault(*shown)
            else:
                missing += 1
        warnings: tuple[str, ...] = ()
        if missing:
            at_s = self.index.ms(plan.start_pts) / 1000
            warnings = (f"clip at {at_s:.3f} s: {missing} of {len(plan.sample_pts)} pictures cannot be decoded",)
        clip = ClipFrames(self.at, plan, [(self.index.ms(p), p, found[p]) for p in sorted(found)], warnings)
        self.at += 1
        self.seen_past_end = 0
        return clip
