"""Requests as JSON: pictures before the question, true times, and schemas in each dialect."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from fdvs.chat.base import ChatRequest, Frames
from fdvs.chat.dialects import Binding, Dialect, Media
from fdvs.chat.payloads import body_of, frame_times, has_video, moment
from fdvs.records import TimedPicture

SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}


def frames(*times_ms: int) -> Frames:
    return Frames(tuple(TimedPicture(time, b"\xff\xd8" + str(time).encode()) for time in times_ms))


def sent(request: ChatRequest, dialect: Dialect | None = None) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(body_of(request, "eye", dialect or Dialect()))
    return body


def content(body: dict[str, Any]) -> Any:
    return body["messages"][-1]["content"]


def test_frames_go_as_one_video_of_jpegs_before_the_question() -> None:
    body = sent(ChatRequest("Rules.", (frames(61_000, 62_500, 65_000), "What happens?"), max_tokens=99, seed=3))
    assert body["messages"][0] == {"role": "system", "content": "Rules."}
    video, question = content(body)
    assert question == {"type": "text", "text": "What happens?"}
    assert video["type"] == "video_url"
    kind, _, data = video["video_url"]["url"].partition(",")
    assert kind == "data:video/jpeg;base64"
    assert [base64.b64decode(frame) for frame in data.split(",")] == [
        b"\xff\xd861000",
        b"\xff\xd862500",
        b"\xff\xd865000",
    ]
    assert (body["model"], body["max_tokens"], body["temperature"], body["seed"]) == ("eye", 99, 0.0, 3)


def test_the_server_is_told_when_each_frame_was_shown() -> None:
    told = sent(ChatRequest("", (frames(61_000, 62_500, 65_000), "?")))["media_io_kwargs"]["video"]
    assert told["num_frames"] == -1
    assert [index / told["fps"] for index in told["frames_indices"]] == [0.0, 1.5, 4.0]
    assert told["duration"] == told["total_num_frames"] / told["fps"] == 6.0
    assert max(told["frames_indices"]) < told["total_num_frames"]


def test_times_begin_with_the_first_frame_so_that_equal_pictures_make_equal_requests() -> None:
    assert frame_times(frames(0, 500, 1000).pictures) == frame_times(frames(7_000, 7_500, 8_000).pictures)


@pytest.mark.parametrize("times", [(5, 5), (5, 5, 5, 6), (0, 1), (0, 3_600_000)])
def test_there_are_always_more_ticks_than_frames_and_frame_numbers(times: tuple[int, ...]) -> None:
    told = frame_times(frames(*times).pictures)
    assert told["total_num_frames"] >= len(times) == len(told["frames_indices"])
    assert told["total_num_frames"] > max(told["frames_indices"])


def test_a_server_that_takes_no_kwargs_gets_the_video_alone() -> None:
    body = sent(ChatRequest("", (frames(0, 1000), "?")), Dialect(media=Media.VIDEO))
    assert "media_io_kwargs" not in body
    assert [part["type"] for part in content(body)] == ["video_url", "text"]


def test_more_frames_than_such_a_server_keeps_go_as_images() -> None:
    many = ChatRequest("", (frames(*range(0, 33_000, 1000)), "?"))
    assert [part["type"] for part in content(sent(many, Dialect(media=Media.VIDEO)))].count("image_url") == 33
    assert [part["type"] for part in content(sent(many))] == ["video_url", "text"]


def test_images_are_each_preceded_by_their_time() -> None:
    body = sent(ChatRequest("", (frames(62_540, 3_600_000), "?")), Dialect(media=Media.IMAGES))
    assert [part.get("text", part["type"]) for part in content(body)] == [
        "Frame at 1:02.5:",
        "image_url",
        "Frame at 1:00:00.0:",
        "image_url",
        "?",
    ]
    assert content(body)[1]["image_url"]["url"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("media", list(Media))
def test_one_picture_is_an_image(media: Media) -> None:
    request = ChatRequest("", (frames(5_000), "?"))
    body = sent(request, Dialect(media=media))
    assert [part["type"] for part in content(body)] == ["image_url", "text"]
    assert "media_io_kwargs" not in body
    assert not has_video(request)


def test_text_alone_is_sent_as_text() -> None:
    assert content(sent(ChatRequest("Rules.", ("One.", "Two.")))) == "One.\n\nTwo."


def test_a_schema_that_leaves_nothing_open_is_strict() -> None:
    body = sent(ChatRequest("Rules.", ("?",), schema=SCHEMA, schema_name="caption"))
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "caption", "schema": SCHEMA, "strict": True},
    }
    assert body["messages"][0]["content"] == "Rules."
    open_schema = {"type": "array", "items": [{"type": "object", "properties": {"text": {}}}]}
    assert "strict" not in sent(ChatRequest("", ("?",), schema=open_schema))["response_format"]["json_schema"]


@pytest.mark.parametrize(("binding", "wanted"), [(Binding.JSON_OBJECT, {"type": "json_object"}), (Binding.NONE, None)])
def test_where_a_reply_cannot_be_bound_the_schema_is_told_in_words(
    binding: Binding, wanted: dict[str, str] | None
) -> None:
    body = sent(ChatRequest("Rules.", ("?",), schema=SCHEMA), Dialect(binding=binding))
    assert body.get("response_format") == wanted
    system = body["messages"][0]["content"]
    assert system.startswith("Rules.\n\n")
    assert json.loads(system[system.index("{") :]) == SCHEMA


def test_limit_and_sampling_follow_the_dialect() -> None:
    body = sent(ChatRequest("", ("?",), max_tokens=5), Dialect(old_limit=False, sampling=False))
    assert body["max_completion_tokens"] == 5
    assert not body.keys() & {"max_tokens", "temperature", "seed"}


def test_moments_have_tenths() -> None:
    assert [moment(time) for time in (0, 59_999, 3_661_250)] == ["0:00.0", "0:59.9", "1:01:01.2"]
