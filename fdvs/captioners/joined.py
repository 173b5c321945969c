"""Two captioners as one: the captions of both, clip by clip."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from fdvs.captioners.base import Captioner, ClipCaptions, ClipInput, StreamingCaptioner


class Joined:
    """`StreamingCaptioner` over a captioner and what enriches it; both work on a clip at once.

    Each gets the pictures that it wants: all samples where one of them wants all, and the kept ones among them for the
    other. Their short sides may differ; both get the larger one.
    """

    def __init__(self, first: Captioner, second: StreamingCaptioner) -> None:
        self._first, self._second = first, second
        self.name = first.name
        self.wants_frames = max(first.wants_frames, second.wants_frames)
        self.wants_all_samples = first.wants_all_samples or second.wants_all_samples
        self.in_flight = first.in_flight if isinstance(first, StreamingCaptioner) else second.in_flight

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of how the first one's model was asked."""
        return tuple(getattr(self._first, "notes", ()))

    def submit(self, clip: ClipInput) -> Future[ClipCaptions]:
        """Begin with a clip."""
        begun = [_submit(one, _for(one, clip, self.wants_all_samples)) for one in (self._first, self._second)]
        joined: Future[ClipCaptions] = Future()
        joined.set_running_or_notify_cancel()

        def take(_: Future[ClipCaptions]) -> None:
            if all(future.done() for future in begun) and not joined.done():
                _settle(joined, begun)

        for future in begun:
            future.add_done_callback(take)
        return joined

    def caption(self, clips: Sequence[ClipInput]) -> list[ClipCaptions]:
        """The captions of both for each clip."""
        return [future.result() for future in [self.submit(clip) for clip in clips]]

    def close(self) -> None:
        """Give up what is still open."""
        for one in (self._first, self._second):
            if isinstance(one, StreamingCaptioner):
                one.close()


def _for(one: Captioner, clip: ClipInput, has_all_samples: bool) -> ClipInput:
    if one.wants_all_samples or not has_all_samples:
        return clip
    kept = tuple(picture for picture in clip.pictures if picture.time_ms in clip.kept_ms)
    return ClipInput(clip.clip, clip.facts, clip.cues, kept, clip.kept_ms)


def _submit(one: Captioner, clip: ClipInput) -> Future[ClipCaptions]:
    if isinstance(one, StreamingCaptioner):
        return one.submit(clip)
    made: Future[ClipCaptions] = Future()
    made.set_result(one.caption([clip])[0])
    return made


def _settle(joined: Future[ClipCaptions], begun: Sequence[Future[ClipCaptions]]) -> None:
    for future in begun:
        error = future.exception()
        if error is not None:
            joined.set_exception(error)
            return
    first, second = (future.result() for future in begun)
    joined.set_result(ClipCaptions(first.captions + second.captions, first.usage + second.usage))
