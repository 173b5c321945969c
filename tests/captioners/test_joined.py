"""A captioner and what enriches it, as one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import pytest

from fdvs.captioners.base import ClipCaptions, ClipInput, StreamingCaptioner
from fdvs.captioners.facts import PictureFacts
from fdvs.captioners.joined import Joined
from fdvs.chat.base import Usage
from fdvs.errors import ServerError
from fdvs.records import Caption, CaptionKind, Clip, Outcome, Span, TimedPicture


class Looker:
    """A captioner that tells which pictures it was given."""

    wants_frames = 100

    def __init__(self, name: str, *, wants_all_samples: bool = False) -> None:
        self.name, self.wants_all_samples = name, wants_all_samples

    def caption(self, clips: Sequence[ClipInput]) -> list[ClipCaptions]:
        return [self.look(clip) for clip in clips]

    def look(self, clip: ClipInput) -> ClipCaptions:
        text = f"{self.name} saw {[picture.time_ms for picture in clip.pictures]}"
        caption = Caption(
            f"cap-{self.name}",
            clip.clip.id,
            clip.clip.span,
            CaptionKind.VISUAL,
            text,
            Outcome.OK,
            "",
            self.name,
            "hash",
        )
        return ClipCaptions((caption,), Usage(requests=1))


class Stream(Looker):
    """The same as a stream whose futures the test completes."""

    in_flight = 3

    def __init__(self, name: str, *, wants_all_samples: bool = False) -> None:
        super().__init__(name, wants_all_samples=wants_all_samples)
        self.open: list[tuple[ClipInput, Future[ClipCaptions]]] = []
        self.closed = 0

    def submit(self, clip: ClipInput) -> Future[ClipCaptions]:
        future: Future[ClipCaptions] = Future()
        self.open.append((clip, future))
        return future

    def answer(self, place: int) -> None:
        clip, future = self.open[place]
        future.set_result(self.look(clip))

    def close(self) -> None:
        self.closed += 1


def clip(name: str = "a") -> ClipInput:
    pictures = tuple(TimedPicture(time, b"") for time in (0, 1000, 2000))
    return ClipInput(Clip(name, "v", Span(0, 3000), 0, (0, 1000, 2000)), PictureFacts(), (), pictures, (0, 2000))


def texts(made: ClipCaptions) -> list[str]:
    return [caption.text for caption in made.captions]


def test_each_gets_the_pictures_that_it_would_get_alone() -> None:
    first, second = Looker("eyes"), Stream("actions", wants_all_samples=True)
    both = Joined(first, second)
    assert both.wants_all_samples
    future = both.submit(clip())
    second.answer(0)
    assert texts(future.result()) == ["eyes saw [0, 2000]", "actions saw [0, 1000, 2000]"]


def test_a_clip_is_done_when_both_are_and_what_they_took_adds_up() -> None:
    first, second = Stream("eyes"), Stream("objects")
    both = Joined(first, second)
    assert isinstance(both, StreamingCaptioner)
    assert both.in_flight == 3
    futures = [both.submit(clip("a")), both.submit(clip("b"))]
    first.answer(1)
    second.answer(0)
    assert not any(future.done() for future in futures)
    second.answer(1)
    first.answer(0)
    assert [len(future.result().captions) for future in futures] == [2, 2]
    assert futures[0].result().usage == Usage(requests=2)
    both.close()
    assert (first.closed, second.closed) == (1, 1)


def test_what_ends_one_ends_the_clip() -> None:
    first, second = Stream("eyes"), Stream("objects")
    future = Joined(first, second).submit(clip())
    second.answer(0)
    first.open[0][1].set_exception(ServerError("gone"))
    with pytest.raises(ServerError, match="gone"):
        future.result()
