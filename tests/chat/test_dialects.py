"""What a refusal says of a server, with the words that servers use, and that asking otherwise always ends."""

from __future__ import annotations

import itertools

import pytest

from fdvs.chat.dialects import (
    Binding,
    Dialect,
    Media,
    Refusal,
    Uses,
    differences,
    first_dialect,
    is_plain,
    joined,
    learnt,
    proven,
    step,
)

ALL = Uses(media=True, binding=True)
NOTHING = Uses(media=False, binding=False)
TOP = Dialect()


def after(
    message: str,
    dialect: Dialect = TOP,
    *,
    status: int = 400,
    uses: Uses = ALL,
    guesses: Uses = ALL,
    num_bases: int = 1,
    only_video: bool = False,
) -> Dialect | None:
    return step(
        dialect,
        Refusal(status, message),
        uses,
        guesses=guesses,
        num_bases=num_bases,
        frames_as="video" if only_video else "auto",
    )


def test_a_server_without_trust_in_kwargs_still_gets_video() -> None:
    message = "Per-request `media_io_kwargs` is not allowed, start with --trust-request-mm-kwargs"
    assert after(message) == Dialect(media=Media.VIDEO)
    assert after("Unrecognized request argument supplied: media_io_kwargs") == Dialect(media=Media.VIDEO)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "At most 0 video(s) may be provided in one prompt."),
        (400, "Invalid value: 'video_url'. Supported values are: 'text', 'image_url', 'input_audio' and 'file'."),
        (400, "Unknown part type: video_url"),
        (500, "unsupported content[].type"),
        (422, "messages.1.content.0.type: Input should be 'text' or 'image_url', not video_url"),
    ],
)
def test_a_server_without_video_gets_images_at_once(status: int, message: str) -> None:
    assert after(message, status=status) == Dialect(media=Media.IMAGES)


def test_an_unclear_word_on_the_message_goes_down_one_rung() -> None:
    assert after("invalid message format") == Dialect(media=Media.VIDEO)


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens in the messages.",
        "The decoder prompt (length 9000) is longer than the maximum model length of 4096.",
        "'max_tokens' or 'max_completion_tokens' is too large: 9000",
        "the request exceeds the available context size, try increasing it",
        "The model `video-llava` does not exist.",
    ],
)
def test_a_refusal_for_another_reason_is_not_asked_otherwise(message: str) -> None:
    assert after(message) is None
    assert not is_plain(Refusal(400, message))


@pytest.mark.parametrize("status", [401, 403, 413, 429, 502, 503])
def test_other_statuses_say_nothing_of_what_is_taken(status: int) -> None:
    assert after("video is not supported", status=status) is None


def test_a_broken_server_is_not_taken_for_one_that_refuses() -> None:
    assert after("Internal server error", status=500) is None


@pytest.mark.parametrize(
    "message",
    [
        "response_format type 'json_schema' is not supported",
        "Invalid value: 'json_schema'. Supported values are: 'json_object' and 'text'. (response_format.type)",
        "structured outputs are not enabled",
    ],
)
def test_a_server_without_schemas_is_asked_for_json(message: str) -> None:
    assert after(message) == Dialect(binding=Binding.JSON_OBJECT)


def test_a_server_without_json_is_asked_in_words() -> None:
    message = "'response_format.type' must be 'json_schema' or 'text'"
    assert after(message, Dialect(binding=Binding.JSON_OBJECT)) == Dialect(binding=Binding.NONE)


def test_the_limit_of_a_reply_has_two_names() -> None:
    message = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    )
    assert after(message) == Dialect(old_limit=False)


def test_a_model_with_a_fixed_temperature_is_asked_without_one() -> None:
    message = "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) is supported."
    assert after(message) == Dialect(sampling=False)


def test_a_wrong_path_leads_to_the_next_address_and_a_missing_model_does_not() -> None:
    assert after("Not Found", status=404, num_bases=2) == Dialect(base=1)
    assert after("Not Found", Dialect(base=1), status=404, num_bases=2) is None
    assert after("The model `x` does not exist.", status=404, num_bases=2) is None


def test_what_a_request_does_not_use_is_not_to_blame() -> None:
    assert after("video is not supported", uses=NOTHING, guesses=NOTHING) is None
    assert after("response_format is not supported", uses=NOTHING, guesses=NOTHING) is None


def test_an_unspoken_refusal_is_only_guessed_at_where_nothing_went_well_before() -> None:
    assert after("Bad Request") == Dialect(binding=Binding.JSON_OBJECT)
    assert after("Bad Request", guesses=Uses(media=True, binding=False)) == Dialect(media=Media.VIDEO)
    assert after("Bad Request", guesses=NOTHING) is None


def test_frames_that_must_go_as_video_never_go_as_images() -> None:
    assert after("At most 0 video(s) may be provided", only_video=True) == Dialect(media=Media.VIDEO)
    assert after("At most 0 video(s) may be provided", Dialect(media=Media.VIDEO), only_video=True) is None
    assert first_dialect("images") == Dialect(media=Media.IMAGES)


@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_asking_otherwise_always_ends(status: int) -> None:
    words = ["video", "media_io_kwargs", "response_format", "max_completion_tokens", "temperature", "not supported"]
    for chosen in itertools.chain.from_iterable(itertools.combinations(words, n) for n in range(len(words) + 1)):
        dialect: Dialect | None = TOP
        for steps in itertools.count():
            assert dialect is not None
            assert steps < 10
            lower = after(" ".join(chosen), dialect, status=status, num_bases=2)
            if lower is None:
                break
            assert lower != dialect
            assert joined(lower, dialect) == lower
            dialect = lower


def test_what_was_learnt_is_only_what_the_refusal_was_about() -> None:
    guessed = Dialect(binding=Binding.JSON_OBJECT)
    lower = Dialect(binding=Binding.JSON_OBJECT, media=Media.VIDEO)
    assert learnt(TOP, guessed, lower) == Dialect(media=Media.VIDEO)


def test_a_request_that_went_well_proves_only_what_it_used() -> None:
    mine = Dialect(media=Media.IMAGES, binding=Binding.NONE, old_limit=False)
    assert proven(TOP, mine, Uses(media=True, binding=False)) == Dialect(media=Media.IMAGES, old_limit=False)


def test_each_fallback_is_told_in_words() -> None:
    assert differences(TOP, TOP) == []
    told = differences(Dialect(Media.IMAGES, Binding.NONE, 0, False, False), TOP)
    assert len(told) == 4
    assert "single images" in told[0]
    assert differences(Dialect(Media.VIDEO, Binding.JSON_OBJECT), TOP) == [
        "it takes video, but no frame times (only the prompt tells them)",
        "replies cannot be bound to a schema, only to JSON",
    ]
