"""The fake server keeps its own promises; other tests rest on them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.chat.fake_server import ALL, RATE_LIMITED, FakeServer, Reply, Seen, error, every, sequence


def ask(server: FakeServer, **more: object) -> tuple[int, Any]:
    """Status and data of one plain request."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        body = {"model": "fake", "messages": [{"role": "user", "content": "Hello?"}], **more}
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@contextmanager
def asking(server: FakeServer, count: int) -> Iterator[list[Future[tuple[int, Any]]]]:
    with ThreadPoolExecutor(count) as pool:
        yield [pool.submit(ask, server) for _ in range(count)]


def test_answers_come_from_the_tests_function() -> None:
    with FakeServer(lambda seen: {"heard": seen.text}) as server:
        status, data = ask(server)
        assert status == 200
        assert json.loads(data["choices"][0]["message"]["content"]) == {"heard": "Hello?"}
        assert (len(server.requests), server.answered, server.open) == (1, 1, 0)


def test_requests_wait_in_line_for_a_slot() -> None:
    with FakeServer(slots=3) as server:
        server.hold()
        with asking(server, 40) as futures:
            assert server.wait_until(lambda server: server.open == 40 and server.working == 3)
            server.release()
            assert {future.result()[0] for future in futures} == {200}
        assert (server.peak, server.peak_working) == (40, 3)


def test_too_many_requests_are_refused() -> None:
    with FakeServer(refuse_over=2) as server:
        server.hold()
        with asking(server, 5) as futures:
            assert server.wait_until(lambda server: server.answered == 3)
            server.release()
            assert sorted(future.result()[0] for future in futures) == [200, 200, 429, 429, 429]


def test_a_client_that_goes_is_noticed() -> None:
    with FakeServer(script=sequence(Reply(forever=True))) as server:
        connection = HTTPConnection("127.0.0.1", server.port)
        connection.request("POST", "/v1/chat/completions", json.dumps({"model": "fake", "messages": []}))
        assert server.wait_until(lambda server: server.open == 1)
        connection.close()
        assert server.wait_until(lambda server: server.gone == 1 and server.open == 0)


def test_an_answer_that_raises_fails_the_test_and_not_only_the_request() -> None:
    def answer(_: Seen) -> str:
        raise KeyError("the prompt has no times")

    with pytest.raises(KeyError, match="no times"), FakeServer(answer) as server:
        assert ask(server)[0] == 500


def test_scripts_can_be_combined() -> None:
    numbers = [Seen(number, "POST", "", {}) for number in range(6)]
    script = every(3, sequence(RATE_LIMITED, None, None, None))
    assert [script(seen) for seen in numbers] == [RATE_LIMITED, None, None, None, None, None]
    assert error(400, "No.", param="x").raw == (
        b'{"error": {"message": "No.", "type": "BadRequestError", "param": "x", "code": 400}}'
    )


@pytest.mark.parametrize("name", sorted(ALL))
def test_what_it_does_not_take_it_refuses(name: str) -> None:
    url = "data:video/jpeg;base64,AA==,AA=="
    using: dict[str, dict[str, object]] = {
        "video": {"messages": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": url}}]}]},
        "images": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]},
        "kwargs": {"media_io_kwargs": {}},
        "json_schema": {"response_format": {"type": "json_schema"}},
        "json_object": {"response_format": {"type": "json_object"}},
        "max_tokens": {"max_tokens": 5},
    }
    with FakeServer(takes=ALL - {name}) as server:
        assert ask(server, **using[name])[0] == 400
        assert ask(server)[0] == 200
    with FakeServer() as server:
        assert ask(server, **using[name])[0] == 200


def test_what_it_cannot_lack_is_an_error() -> None:
    with pytest.raises(ValueError, match="vidoe"):
        FakeServer(takes=frozenset({"vidoe"}))


def test_by_hand_it_serves_until_ctrl_c() -> None:
    command = [sys.executable, "-m", "tests.chat.fake_server", "--port", "0", "--slots", "1", "--text", "Hi."]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        server = FakeServer(port=int(url.removesuffix("/v1").rpartition(":")[2]))
        assert ask(server)[1]["choices"][0]["message"]["content"] == "Hi."
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
        assert out == "1 requests, at most 1 open and 1 worked on at once\n"
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def test_nothing_of_it_outlives_its_context() -> None:
    with FakeServer() as server:
        ask(server)
    assert "fake-server" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(ConnectionRefusedError):
        ask(server)
