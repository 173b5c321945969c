"""Captions on their way: what was answered is stored, also beside what ends the video."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import pytest

from fdvs.batch.captioning import OPEN_PER_SLOT, Captioning
from fdvs.captioners.base import ClipCaptions, ClipInput
from fdvs.captioners.facts import PictureFacts
from fdvs.errors import ServerError
from fdvs.pipeline import SaidAndAdded
from fdvs.records import Clip, Span

NO_TEXTS = SaidAndAdded((), (), 100_000, "hash", "key")


class Eyes:
    """A captioner whose futures the test completes."""

    name, wants_frames, wants_all_samples, in_flight = "eyes", 0, False, 2

    def __init__(self) -> None:
        self.asked: list[Future[ClipCaptions]] = []

    def caption(self, clips: Sequence[ClipInput]) -> list[ClipCaptions]:
        raise AssertionError("it streams")

    def submit(self, clip: ClipInput) -> Future[ClipCaptions]:
        self.asked.append(Future())
        return self.asked[-1]

    def close(self) -> None:
        pass


def clip(number: int) -> ClipInput:
    return ClipInput(Clip(f"clip-{number}", "v", Span(number, number + 1), number, ()), PictureFacts())


def test_what_was_answered_beside_the_end_of_a_server_is_stored() -> None:
    eyes, stored = Eyes(), list[str]()
    captioning = Captioning(eyes, NO_TEXTS, lambda clip, _captions, _usage: stored.append(clip.id))
    for number in range(OPEN_PER_SLOT * eyes.in_flight):
        captioning.add(clip(number))
    eyes.asked[0].set_exception(ServerError("gone"))
    for future in eyes.asked[1:]:
        future.set_result(ClipCaptions(()))
    with pytest.raises(ServerError, match="gone"):
        captioning.finish()
    assert sorted(stored) == ["clip-1", "clip-2", "clip-3"]
