"""What `fdvs serve` promises of a real vLLM server: who reaches it, what it takes, and what it remembers."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serve.conftest import FAMILIES
from tests.serve.running import (
    Endpoint,
    Running,
    all_gone,
    family_of,
    image,
    launched,
    listening_at,
    ready,
    text,
    times,
    video,
)

NUMBERS = [1, 2, 3, 4, 5, 6, 7, 8]
QUESTION = text("Describe what happens in these pictures.")
LOOPBACK = {"0100007F", "0" * 24 + "01000000"}  # 127.0.0.1 and ::1

pytestmark = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture
def one(running: Callable[[str], Running], family: str) -> Running:
    return running(family)


def test_it_is_healthy_and_serves_the_model_by_its_name(
    one: Running, checkpoint: Callable[[str], Path], family: str
) -> None:
    assert one.ask("/health")[0] == 200
    _, models = one.ask("/v1/models")
    assert [model["id"] for model in models["data"]] == [one.at.model]
    assert one.at.model.startswith(f"{checkpoint(family).name}@")


def test_without_the_key_nothing_is_answered(one: Running) -> None:
    status, reply = one.ask("/v1/models", key="another")
    assert (status, reply) == (401, {"error": "Unauthorized"})


def test_only_this_machine_reaches_it(one: Running) -> None:
    found = listening_at(family_of(one.process.pid))
    assert found
    assert found <= LOOPBACK


def test_no_user_of_this_machine_sees_the_key(one: Running) -> None:
    pids = family_of(one.process.pid)
    assert len(pids) > 3
    assert not [pid for pid in pids if one.at.key in Path(f"/proc/{pid}/cmdline").read_text()]
    assert one.at.key not in one.log.read_text()


def test_frames_are_seen_as_video_and_as_pictures(one: Running) -> None:
    few, many = (one.chat([video(NUMBERS[:count]), QUESTION])[1]["usage"] for count in (4, 8))
    words = one.chat([QUESTION])[1]["usage"]
    assert words["prompt_tokens"] < few["prompt_tokens"] < many["prompt_tokens"]
    status, reply = one.chat([*(image(number) for number in NUMBERS), QUESTION])
    assert status == 200
    assert reply["usage"]["prompt_tokens"] > words["prompt_tokens"]


def test_the_true_times_of_frames_are_taken(one: Running, family: str) -> None:
    """Qwen3-VL writes the time before each pair of frames: later times are longer words."""
    near, far = (
        one.chat([video(NUMBERS), QUESTION], **times([step * frame for frame in range(8)])) for step in (1, 100)
    )
    assert (near[0], far[0]) == (200, 200), (near, far)
    longer = far[1]["usage"]["prompt_tokens"] - near[1]["usage"]["prompt_tokens"]
    assert longer > 0 if family == "qwen3_vl" else longer == 0


def test_all_frames_are_kept_where_the_server_is_told_so(one: Running) -> None:
    numbers = list(range(40))  # more than the 32 that it takes by itself
    by_itself = one.chat([video(numbers), QUESTION])
    told = one.chat([video(numbers), QUESTION], **times([0.5 * second for second in range(40)]))
    assert (by_itself[0], told[0]) == (200, 200), (by_itself, told)
    assert told[1]["usage"]["prompt_tokens"] > by_itself[1]["usage"]["prompt_tokens"]


def test_a_video_that_was_seen_is_not_computed_again(one: Running) -> None:
    seen = [video([11, 12, 13, 14, 15, 16, 17, 18]), text("What is shown first? " * 8)]
    first, second = (one.chat(seen, **times([0, 1, 2, 3, 4, 5, 6, 7]))[1] for _ in range(2))
    assert not (first["usage"]["prompt_tokens_details"] or {}).get("cached_tokens")
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] >= 128
    assert first["choices"][0]["message"] == second["choices"][0]["message"]


def test_a_reply_is_bound_to_a_schema(one: Running) -> None:
    schema = {
        "type": "object",
        "properties": {"people": {"type": "integer", "enum": [0, 1, 2]}, "indoors": {"type": "boolean"}},
        "required": ["people", "indoors"],
        "additionalProperties": False,
    }
    bound = {"type": "json_schema", "json_schema": {"name": "caption", "schema": schema}}
    status, reply = one.chat([video(NUMBERS), QUESTION], response_format=bound, max_tokens=64)
    assert status == 200, reply
    said = json.loads(reply["choices"][0]["message"]["content"])
    assert set(said) == {"people", "indoors"}
    assert said["people"] in (0, 1, 2)


def test_a_turn_longer_than_the_context_is_refused_as_such(one: Running) -> None:
    status, reply = one.chat([text("a long story " * 20_000)])
    assert status == 400
    assert "context length" in reply["error"]["message"]


def test_a_server_that_trusts_no_request_takes_frames_without_times(
    checkpoint: Callable[[str], Path], family: str, tmp_path: Path
) -> None:
    """And nothing of it is left when `fdvs serve` is killed."""
    if family != FAMILIES[0]:
        pytest.skip("one family shows it")
    options = ("--max-model-len", "4096", "--", "--no-trust-request-mm-kwargs")
    with launched(checkpoint(family), tmp_path / "log", *options) as process:
        one = ready(process, tmp_path / "log")
        pids = family_of(process.pid)
        assert one.chat([video(NUMBERS), QUESTION])[0] == 200
        status, reply = one.chat([video(NUMBERS), QUESTION], **times([0, 1, 2, 3, 4, 5, 6, 7]))
        assert status == 400
        assert "--trust-request-mm-kwargs" in reply["error"]["message"]
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(pids) > 3
        assert all_gone(pids, within_s=20)


def test_where_it_is_can_be_taken_apart(server: Callable[[str], Endpoint], family: str) -> None:
    url, key, model = server(family)
    assert url.startswith("http://127.0.0.1:")
    assert url.endswith("/v1")
    assert key
    assert "@" in model
