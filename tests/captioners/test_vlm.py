"""Captions over a chat model: requests out, captions back, in whatever order and however they fail."""

from __future__ import annotations

import pytest

from fdvs.captioners.base import ClipInput, StreamingCaptioner, captioner, fingerprint
from fdvs.captioners.facts import PictureFacts
from fdvs.captioners.vlm import VlmCaptioner
from fdvs.chat.base import ChatReply, Finish, Frames
from fdvs.errors import ServerError
from fdvs.records import Clip, Outcome, Span, TimedPicture
from fdvs.settings import CaptionSettings
from tests.chat.scripted import ScriptedChat, failed, refused, said

SETTINGS = CaptionSettings(captioner="openai", captioner_model="m", max_tokens=50)


def item(number: int, *times_ms: int) -> ClipInput:
    clip = Clip(f"clip-{number}", "v", Span(1000 * number, 1000 * number + 1000), 1000 * number, times_ms)
    return ClipInput(clip, PictureFacts(), (), tuple(TimedPicture(time, b"%d" % time) for time in times_ms), times_ms)


def test_each_clip_becomes_one_request_with_its_kept_pictures() -> None:
    chat = ScriptedChat(["A dog runs.", "A cat sits."])
    by = captioner(SETTINGS, "hash", chat)
    assert isinstance(by, StreamingCaptioner)
    first, second = by.caption([item(0, 0, 500), item(1, 1000)])
    assert [c.text for made in (first, second) for c in made.captions] == ["A dog runs.", "A cat sits."]
    frames = chat.requests[0].parts[0]
    assert isinstance(frames, Frames)
    assert [picture.time_ms for picture in frames.pictures] == [0, 500]
    caption = first.captions[0]
    assert (caption.backend, caption.settings_hash, caption.clip_id) == ("openai", "hash", "clip-0")
    assert first.usage.requests == 1


def test_every_outcome_is_recorded_and_none_is_an_exception() -> None:
    script: list[ChatReply | str] = [
        said("A dog runs. A cat", Finish.LENGTH),
        refused(),
        failed("the server answered 500"),
        "I'm sorry, but no.",
    ]
    made = VlmCaptioner(SETTINGS, "hash", ScriptedChat(script)).caption([item(n, n) for n in range(4)])
    outcomes = [(c.outcome, c.text) for one in made for c in one.captions]
    assert outcomes == [
        (Outcome.TRUNCATED, "A dog runs."),
        (Outcome.REFUSED, ""),
        (Outcome.FAILED, ""),
        (Outcome.REFUSED, ""),
    ]
    assert [c.reason for one in made for c in one.captions][2] == "the server answered 500"


def test_a_clip_without_pictures_is_not_asked_about() -> None:
    chat = ScriptedChat([])
    ((made),) = VlmCaptioner(SETTINGS, "hash", chat).caption([item(0)])
    assert made.captions[0].outcome is Outcome.FAILED
    assert made.captions[0].reason == "no picture was decoded"
    assert not chat.requests


def test_a_server_that_is_not_there_ends_the_video_and_blames_no_clip() -> None:
    by = VlmCaptioner(SETTINGS, "hash", ScriptedChat([failed("nothing listens", is_unreachable=True)]))
    with pytest.raises(ServerError, match="nothing listens"):
        by.submit(item(0, 0)).result()


def test_replies_in_another_order_reach_their_own_clips() -> None:
    chat = ScriptedChat(lambda request: f"At {request.parts[1]}"[:40], shuffled=3, in_flight=8)
    made = VlmCaptioner(SETTINGS, "hash", chat).caption([item(n, 1000 * n) for n in range(8)])
    for number, one in enumerate(made):
        assert f"{number}.0 s" in one.captions[0].text


def test_the_prompt_is_part_of_what_a_caption_is_made_with() -> None:
    assert fingerprint(CaptionSettings()) == ""
    assert fingerprint(SETTINGS) != ""
