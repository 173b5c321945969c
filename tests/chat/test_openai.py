"""Models behind a server, against one that does everything a server can do wrong."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from fdvs.chat import openai, retries
from fdvs.chat.base import ChatRequest, Finish, Frames
from fdvs.chat.openai import OpenAIChat
from fdvs.chat.registry import Serving, open_chat
from fdvs.errors import UsageError
from fdvs.records import TimedPicture
from tests.chat import fake_server
from tests.chat.fake_server import ALL, SCRIPTS, FakeServer, Reply, Seen, error, sequence

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
QUESTION = ChatRequest("Answer.", ("What is it?",))
CLIP = ChatRequest(
    "You describe clips.",
    (Frames(tuple(TimedPicture(60_000 + 700 * i, b"\xff\xd8" + bytes([i]) * 50) for i in range(4))), "What happens?"),
)
BOUND = ChatRequest(CLIP.system, CLIP.parts, schema=SCHEMA, schema_name="caption")


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float | None]]:
    """(retry, seconds the server asked for) of each wait; none takes time. No key and no address in the environment."""
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    seen: list[tuple[int, float | None]] = []

    def no_delay(retry: int, asked_s: float | None, _: object) -> float:
        seen.append((retry, asked_s))
        return 0.0

    monkeypatch.setattr(retries, "delay_s", no_delay)
    monkeypatch.setattr(openai, "PATIENCE_S", 60.0)
    return seen


Open = Callable[..., OpenAIChat]


@pytest.fixture
def connect() -> Iterator[Open]:
    """`connect(server, **serving)`: a client that is closed at the end."""
    made: list[OpenAIChat] = []

    def connect(server: FakeServer, **serving: object) -> OpenAIChat:
        chat = OpenAIChat("fake", server.url, Serving(**{"requests": 8, "retries": 3, **serving}))  # type: ignore[arg-type]
        made.append(chat)
        return chat

    yield connect
    for chat in made:
        chat.close()


def test_a_reply_comes_back_with_what_it_took(connect: Open) -> None:
    with FakeServer(lambda request: f"Heard: {request.text}") as server:
        chat = connect(server)
        (reply,) = chat.chat([QUESTION])
        assert (reply.text, reply.finish) == ("Heard: What is it?", Finish.STOP)
        usage = reply.usage
        assert (usage.requests, usage.retries, usage.tokens_in, usage.tokens_out, usage.images) == (1, 0, 11, 7, 0)
        assert usage.seconds > 0
        assert (chat.name, chat.model, chat.in_flight, chat.context_tokens) == ("openai", "fake", 8, 32768)
        assert server.requests[0].system == "Answer."


def test_the_back_end_is_found_by_name() -> None:
    with FakeServer() as server:
        chat = open_chat("openai", "fake", server.url)
        assert isinstance(chat, OpenAIChat)
        assert chat.in_flight == Serving().requests
        chat.close()


@pytest.mark.parametrize(
    ("script", "finish", "text", "reason", "num_requests"),
    [
        ("cut", Finish.LENGTH, "A dog runs and", "", 1),
        ("thinking", Finish.STOP, "A dog runs.", "", 1),
        ("hostile", Finish.STOP, fake_server.HOSTILE, "", 1),
        ("empty", Finish.FAILED, "", "the reply is empty", 1),
        ("null", Finish.FAILED, "", "the reply is empty", 1),
        ("only-thought", Finish.FAILED, "", "only thought", 1),
        ("over-long", Finish.FAILED, "", "longer than 4,194,304 bytes", 1),
        ("refusing", Finish.REFUSED, "", "the model refused: I can't help with that.", 1),
        ("filtered", Finish.REFUSED, "", "content filter", 1),
        ("rate-limited", Finish.FAILED, "", "answered 429: Too many requests", 4),
        ("broken", Finish.FAILED, "", "answered 500: Internal server error", 4),
        ("html", Finish.FAILED, "", "answered 502", 4),
        ("invalid-json", Finish.FAILED, "", "no JSON", 4),
        ("half-closed", Finish.FAILED, "", "the connection broke off", 4),
        ("dropped", Finish.FAILED, "", "the connection broke off", 4),
    ],
)
def test_every_trouble_is_an_outcome(
    script: str, finish: Finish, text: str, reason: str, num_requests: int, *, connect: Open
) -> None:
    with FakeServer(script=SCRIPTS[script]) as server:
        (reply,) = connect(server).chat([QUESTION])
        assert (reply.finish, reply.text) == (finish, text)
        assert reason in reply.reason
        assert bool(reply.reason) == (finish in (Finish.FAILED, Finish.REFUSED))
        assert len(server.requests) == reply.usage.requests == num_requests
        assert reply.usage.retries == num_requests - 1
        assert reply.is_retryable == (num_requests > 1)
        assert not reply.is_unreachable


@pytest.mark.parametrize("name", ["rate-limited", "broken", "html", "invalid-json", "half-closed", "dropped"])
def test_what_passes_by_itself_costs_a_retry_and_nothing_else(name: str, connect: Open) -> None:
    trouble = SCRIPTS[name](Seen(0, "POST", "", {}))
    with FakeServer(script=sequence(trouble, trouble)) as server:
        (reply,) = connect(server).chat([QUESTION])
        assert (reply.text, reply.finish) == ("A reply.", Finish.STOP)
        assert (reply.usage.requests, reply.usage.retries) == (3, 2)


def test_with_all_troubles_at_once_no_reply_is_lost_or_mixed_up(connect: Open) -> None:
    with FakeServer(lambda request: f"Heard: {request.text}", script=SCRIPTS["flaky"]) as server:
        replies = connect(server, retries=10).chat([ChatRequest("", (f"Number {i}?",)) for i in range(60)])
        assert [reply.text for reply in replies] == [f"Heard: Number {i}?" for i in range(60)]
        assert sum(reply.usage.requests for reply in replies) == len(server.requests) > 60


def test_a_server_is_given_the_time_it_asks_for(connect: Open, waits: list[tuple[int, float | None]]) -> None:
    busy = error(429, "Slow down.", {"Retry-After": "17"})
    with FakeServer(script=sequence(busy, fake_server.BROKEN)) as server:
        assert connect(server).chat([QUESTION])[0].finish is Finish.STOP
    assert waits == [(0, 17.0), (1, None)]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_a_wrong_request_is_not_repeated(status: int, connect: Open) -> None:
    with FakeServer(script=fake_server.always(error(status, "No, because of the wind."))) as server:
        (reply,) = connect(server).chat([QUESTION])
        assert (reply.finish, reply.is_retryable) == (Finish.FAILED, False)
        assert reply.reason.endswith(f"answered {status}: No, because of the wind.")
        assert len(server.requests) == 1


def test_a_server_that_never_answers_is_given_up_in_time(connect: Open) -> None:
    with FakeServer(script=SCRIPTS["slow"]) as server:
        (reply,) = connect(server, timeout_s=0.05, retries=1).chat([QUESTION])
        assert reply.reason.endswith("no reply within 0.05 s")
        assert (reply.finish, reply.is_retryable, reply.usage.requests) == (Finish.FAILED, True, 2)
        assert server.wait_until(lambda server: server.gone == 2)


def test_a_server_that_has_gone_is_unreachable(connect: Open) -> None:
    with FakeServer() as server:
        chat = connect(server)
    (reply,) = chat.chat([QUESTION])
    assert (reply.finish, reply.is_retryable, reply.is_unreachable) == (Finish.FAILED, True, True)
    assert f"{server.url.removesuffix('/v1')}: no connection" in reply.reason
    assert reply.usage.requests == 4


def test_a_key_does_not_follow_a_redirect(connect: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hunter2")
    with FakeServer() as thief:
        moved = error(307, "Moved", {"Location": f"{thief.url}/chat/completions"})
        with FakeServer(script=fake_server.always(moved)) as server:
            (reply,) = connect(server).chat([QUESTION])
        assert (reply.finish, reply.is_retryable) == (Finish.FAILED, False)
        assert "elsewhere" in reply.reason
        assert thief.requests + thief.others == []


def test_requests_in_flight_are_bounded_and_keep_the_server_full(connect: Open) -> None:
    with FakeServer(slots=5) as server:
        chat = connect(server, requests=5)
        server.hold()
        futures = [chat.submit(QUESTION) for _ in range(40)]
        assert server.wait_until(lambda server: server.working == 5)
        server.release()
        assert all(future.result(20).finish is Finish.STOP for future in futures)
        assert server.peak == server.peak_working == 5


def test_several_clients_on_one_file_share_one_bound(connect: Open, tmp_path: Path) -> None:
    with FakeServer() as server:
        chats = [connect(server, requests=3, slots=tmp_path / "slots") for _ in range(2)]
        server.hold()
        futures = [chat.submit(QUESTION) for _ in range(10) for chat in chats]
        assert server.wait_until(lambda server: server.open == 3)
        server.release()
        assert all(future.result(20).finish is Finish.STOP for future in futures)
        assert server.peak == 3


# What the server takes


def test_frames_go_as_video_with_their_times_where_the_server_takes_that(connect: Open) -> None:
    with FakeServer() as server:
        chat = connect(server)
        (reply,) = chat.chat([CLIP])
        (seen,) = server.requests
        assert seen.kinds == ("video_url", "text")
        assert seen.pictures == tuple(picture.jpeg for picture in CLIP.parts[0].pictures)  # type: ignore[union-attr]
        assert seen.media_kwargs is not None
        assert seen.media_kwargs["video"]["frames_indices"] == [0, 700, 1400, 2100]
        assert seen.text == "What happens?"
        assert reply.usage.images == 4
        assert chat.fallbacks == ()


@pytest.mark.parametrize(
    ("lacks", "kinds", "num_refused"),
    [
        ({"kwargs"}, ("video_url", "text"), 1),
        ({"video"}, ("text", "image_url") * 4 + ("text",), 1),
    ],
)
def test_the_first_request_finds_out_what_is_taken_and_the_others_wait(
    lacks: set[str],
    kinds: tuple[str, ...],
    num_refused: int,
    connect: Open,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "fdvs")
    with FakeServer(takes=ALL - lacks) as server:
        chat = connect(server)
        replies = chat.chat([CLIP] * 20)
        assert [reply.finish for reply in replies] == [Finish.STOP] * 20
        assert len(server.requests) == 20 + num_refused
        assert all(seen.kinds == kinds and seen.media_kwargs is None for seen in server.requests[num_refused:])
        assert sum(reply.usage.retries for reply in replies) == num_refused
        assert [record.getMessage() for record in caplog.records] == [
            f"fake ({chat.server}): {fallback}" for fallback in chat.fallbacks
        ]
        assert len(chat.fallbacks) == 1


def test_what_a_server_says_it_does_not_take_is_kept_even_when_the_request_fails(connect: Open) -> None:
    lacks = error(400, "media_io_kwargs need --trust-request-mm-kwargs")
    with FakeServer(script=sequence(lacks, fake_server.BROKEN)) as server:
        chat = connect(server, retries=0)
        assert [reply.finish for reply in chat.chat([CLIP]) + chat.chat([CLIP])] == [Finish.FAILED, Finish.STOP]
        assert [seen.media_kwargs is None for seen in server.requests] == [False, True, True]


def test_a_slow_first_reply_holds_nobody_up_for_long(connect: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "PATIENCE_S", 0.01)
    with FakeServer() as server:
        server.hold()
        chat = connect(server)
        futures = [chat.submit(CLIP) for _ in range(8)]
        assert server.wait_until(lambda server: server.open == 8)
        server.release()
        assert all(future.result(20).finish is Finish.STOP for future in futures)


def test_a_finder_that_is_cancelled_leaves_the_finding_to_the_next(connect: Open) -> None:
    with FakeServer(takes=ALL - {"kwargs"}, script=lambda _: None) as server:
        server.script = sequence(Reply(forever=True))
        server.takes = ALL
        chat = connect(server)
        first = chat.submit(CLIP)
        assert server.wait_until(lambda server: server.open == 1)
        others = [chat.submit(CLIP) for _ in range(5)]
        server.takes = ALL - {"kwargs"}
        first.cancel()
        assert [future.result(20).finish for future in others] == [Finish.STOP] * 5
        assert len(server.requests) == 1 + 1 + 5


@pytest.mark.parametrize(("frames_as", "kind"), [("images", "image_url"), ("video", "video_url")])
def test_how_frames_go_can_be_said(frames_as: str, kind: str, connect: Open) -> None:
    with FakeServer() as server:
        assert connect(server, frames_as=frames_as).chat([CLIP])[0].finish is Finish.STOP
        assert server.requests[0].kinds.count(kind) == (4 if kind == "image_url" else 1)


def test_frames_that_must_go_as_video_fail_where_there_is_none(connect: Open) -> None:
    with FakeServer(takes=ALL - {"video"}) as server:
        (reply,) = connect(server, frames_as="video").chat([CLIP])
        assert reply.finish is Finish.FAILED
        assert "At most 0 video(s)" in reply.reason
        assert "image_url" not in {kind for seen in server.requests for kind in seen.kinds}


def test_a_model_without_eyes_is_an_outcome_that_says_so(connect: Open) -> None:
    with FakeServer(takes=ALL - {"video", "images"}) as server:
        chat = connect(server)
        (reply,) = chat.chat([CLIP])
        assert (reply.finish, reply.is_retryable) == (Finish.FAILED, False)
        assert "At most 0 image(s)" in reply.reason
        assert len(server.requests) == 2
        assert chat.chat([QUESTION])[0].finish is Finish.STOP


def test_too_long_a_request_is_refused_and_not_asked_otherwise(connect: Open) -> None:
    too_long = error(400, "This model's maximum context length is 4096 tokens. Your messages have 5000.")
    with FakeServer(script=sequence(too_long)) as server:
        chat = connect(server)
        (reply,) = chat.chat([BOUND])
        assert "maximum context length is 4096" in reply.reason
        assert len(server.requests) == 1
        assert chat.chat([BOUND])[0].finish is Finish.STOP
        assert server.requests[1].kinds == ("video_url", "text")
        assert chat.fallbacks == ()


def test_a_refusal_without_a_reason_teaches_nothing_unless_another_way_is_taken(connect: Open) -> None:
    with FakeServer(script=fake_server.always(error(400, "Bad request."))) as server:
        chat = connect(server)
        assert chat.chat([BOUND])[0].finish is Finish.FAILED
        assert len(server.requests) == 5  # as it was asked, then two looser bindings, then two plainer videos
        server.script = SCRIPTS["usual"]
        assert chat.chat([BOUND])[0].finish is Finish.STOP
        assert server.requests[5].kinds == ("video_url", "text")
        assert server.requests[5].response_format == "json_schema"
        assert chat.fallbacks == ()
        server.script = sequence(*[None] * 6, error(400, "Bad request."))
        assert chat.chat([BOUND])[0].finish is Finish.FAILED
        assert len(server.requests) == 7  # it went well before, so the request itself is to blame


def test_a_server_is_believed_when_it_silently_lacks_something(connect: Open) -> None:
    def script(seen: Seen) -> Reply | None:
        return error(400, "Bad request.") if "video_url" in seen.kinds else None

    with FakeServer(script=script) as server:
        chat = connect(server)
        assert [reply.finish for reply in chat.chat([CLIP] * 4)] == [Finish.STOP] * 4
        assert len(server.requests) == 2 + 4
        assert chat.fallbacks == ("it takes no video: frames are sent as single images",)


def test_replies_are_bound_as_tightly_as_the_server_can(connect: Open) -> None:
    answer = json.dumps({"text": "A dog."})
    for lacks, formats in (
        (set(), ["json_schema"]),
        ({"json_schema"}, ["json_schema", "json_object"]),
        ({"json_schema", "json_object"}, ["json_schema", "json_object", ""]),
    ):
        with FakeServer(lambda _: {"text": "A dog."}, takes=ALL - lacks) as server:
            replies = connect(server).chat([BOUND] * 6)
            assert {reply.text for reply in replies} == {answer}
            assert [seen.response_format for seen in server.requests] == formats + formats[-1:] * 5
            assert server.requests[0].schema == SCHEMA
            assert ("JSON Schema" in server.requests[-1].system) == bool(lacks)


def test_a_server_that_calls_the_limit_otherwise_gets_it_so(connect: Open) -> None:
    with FakeServer(takes=ALL - {"max_tokens"}) as server:
        chat = connect(server)
        assert [reply.finish for reply in (chat.chat([QUESTION]) + chat.chat([QUESTION]))] == [Finish.STOP] * 2
        assert [seen.body.get("max_completion_tokens") for seen in server.requests] == [None, 256, 256]


# Addresses and keys


@pytest.mark.parametrize(
    ("prefix", "given"), [("/v1", ""), ("", ""), ("/api/v1", "/api"), ("/api", "/api"), ("/v1", "/v1/chat/completions")]
)
@pytest.mark.parametrize("listing", [None, b"<html>"], ids=["lists", "lists nothing"])
def test_an_address_works_as_people_write_it(prefix: str, given: str, listing: bytes | None) -> None:
    with FakeServer(prefix=prefix, listing=listing) as server:
        chat = OpenAIChat("fake", f"http://127.0.0.1:{server.port}{given}", Serving(retries=0))
        try:
            assert [reply.finish for reply in (chat.chat([QUESTION]) + chat.chat([QUESTION]))] == [Finish.STOP] * 2
        finally:
            chat.close()


def test_proxies_of_the_environment_do_not_see_what_stays_on_this_machine(
    connect: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeServer() as proxy, FakeServer() as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        assert connect(server).chat([QUESTION])[0].finish is Finish.STOP
        assert proxy.requests + proxy.others == []


def test_a_key_is_sent_and_never_told(
    connect: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Neither a key nor the request's text is in any log, at any level of any library, or in a reason."""
    caplog.set_level(logging.DEBUG)
    key, secret = "hunter2-is-the-key", "The treasure lies under the old oak tree."
    monkeypatch.setenv("OPENAI_API_KEY", key)
    request = ChatRequest(secret, (secret,))

    def echo(seen: Seen) -> Reply | None:
        told = f"You sent {seen.headers['authorization']} and {seen.text} and {json.dumps(seen.body)}"
        return error((400, 401, 429, 500)[seen.number % 4], told) if seen.number < 8 else Reply(refusal=told)

    with FakeServer(script=echo, api_key=key) as server:
        chat = connect(server, retries=0, slots=tmp_path / "slots")
        replies = [chat.chat([request])[0] for _ in range(9)]
        assert {reply.finish for reply in replies} == {Finish.FAILED, Finish.REFUSED}
        assert all(seen.headers["authorization"] == f"Bearer {key}" for seen in server.requests)
    chat.chat([request])
    shown = caplog.text + repr(replies) + repr(chat)
    assert caplog.records
    for hidden in ("hunter2", "treasure", "old oak"):
        assert hidden not in shown


@pytest.mark.parametrize("key", ["hunter2\r\nX-Evil: 1", "hunter2 x", "hunter2é"])
def test_a_key_that_cannot_be_one_is_refused_unseen(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with FakeServer() as server, pytest.raises(UsageError) as caught:
        OpenAIChat("fake", server.url, Serving())
    assert "hunter2" not in str(caught.value)
    assert server.others == []


def test_name_and_password_in_an_address_are_sent_and_never_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with FakeServer(script=fake_server.always(fake_server.BROKEN)) as server:
        chat = OpenAIChat("fake", server.url.replace("://", "://anna:s3cret@"), Serving(retries=0))
        (reply,) = chat.chat([QUESTION])
        chat.close()
        assert server.requests[0].headers["authorization"].startswith("Basic ")
    assert "s3cret" not in caplog.text + repr(reply) + chat.server


def test_a_key_that_goes_unencrypted_to_another_machine_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hunter2")
    monkeypatch.setattr(openai, "list_models", lambda *_: (None, ""))
    for where in ("http://10.9.8.7:8000/v1", "https://10.9.8.7/v1", "http://127.0.0.1:8000/v1"):
        OpenAIChat("fake", where, Serving()).close()
    assert [record.getMessage() for record in caplog.records] == [
        "the key in OPENAI_API_KEY goes to http://10.9.8.7:8000 unencrypted"
    ]


# The end


def test_closing_gives_up_all_that_is_open(connect: Open, tmp_path: Path) -> None:
    with FakeServer(script=SCRIPTS["slow"]) as server:
        chat = connect(server, requests=4, slots=tmp_path / "slots")
        futures = [chat.submit(QUESTION) for _ in range(12)]
        assert server.wait_until(lambda server: server.open == 4)
        chat.close()
        assert all(future.cancelled() for future in futures)
        assert server.wait_until(lambda server: server.gone == 4)
        chat.close()
        assert chat.submit(QUESTION).result(1).reason == "the connection to the model is closed"
        assert len(server.requests) == 4


def test_a_cancelled_request_stops_and_makes_room_for_the_next(connect: Open) -> None:
    with FakeServer(script=sequence(Reply(forever=True))) as server:
        chat = connect(server, requests=1)
        first, second = chat.submit(QUESTION), chat.submit(QUESTION)
        assert server.wait_until(lambda server: server.open == 1)
        assert first.cancel()
        assert second.result(20).finish is Finish.STOP
        assert server.gone == 1
        with pytest.raises(CancelledError):
            first.result()


def test_who_is_interrupted_while_waiting_for_replies_leaves_none_open(connect: Open) -> None:
    main = threading.main_thread().ident
    assert main is not None
    with FakeServer(script=SCRIPTS["slow"]) as server:

        def interrupt() -> None:
            server.wait_until(lambda server: server.open == 8)
            signal.pthread_kill(main, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            connect(server).chat([QUESTION] * 20)
        thread.join()
        assert server.wait_until(lambda server: server.gone == 8)


def test_connections_on_which_requests_were_given_up_are_not_missed(connect: Open) -> None:
    with FakeServer(script=SCRIPTS["slow"]) as server:
        chat = connect(server, requests=3, timeout_s=0.2, retries=0)
        for round_number in range(1, 4):
            futures = [chat.submit(QUESTION) for _ in range(3)]
            assert server.wait_until(lambda server, n=round_number: len(server.requests) == 3 * n)  # type: ignore[misc]
            futures[0].cancel()
            assert [future.result(20).finish for future in futures[1:]] == [Finish.FAILED] * 2
        server.script = SCRIPTS["usual"]
        assert [reply.finish for reply in chat.chat([QUESTION] * 9)] == [Finish.STOP] * 9


# In processes of their own

ASKER = """
import sys
from pathlib import Path
from fdvs.chat.base import ChatRequest
from fdvs.chat.openai import OpenAIChat
from fdvs.chat.registry import Serving

where, slots, count, closes = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "closes"
chat = OpenAIChat("fake", where, Serving(requests=4, slots=slots))
try:
    replies = chat.chat([ChatRequest("", (f"Number {i}?",)) for i in range(count)])
    print(sum(reply.text == "A reply." for reply in replies))
finally:
    if closes:
        chat.close()
"""


def asker(server: FakeServer, slots: Path, count: int, closes: bool = True) -> subprocess.Popen[str]:
    arguments = [server.url, str(slots), str(count), "closes" if closes else "leaves"]
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", ASKER, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def askers(tmp_path: Path) -> Iterator[Callable[[FakeServer, int], subprocess.Popen[str]]]:
    """`askers(server, count)`: a process that asks `count` times; all of a test share one file of 4 slots."""
    made: list[subprocess.Popen[str]] = []

    def start(server: FakeServer, count: int) -> subprocess.Popen[str]:
        made.append(asker(server, tmp_path / "slots", count))
        return made[-1]

    yield start
    for process in made:
        process.kill()
        process.communicate()


Askers = Callable[[FakeServer, int], "subprocess.Popen[str]"]


def test_processes_never_exceed_the_bound_that_they_share(askers: Askers) -> None:
    with FakeServer() as server:
        server.hold()
        both = [askers(server, count) for count in (30, 20)]
        assert server.wait_until(lambda server: len(server.others) == 2 and server.open == 4)
        server.release()
        assert [process.communicate(timeout=60) for process in both] == [("30\n", ""), ("20\n", "")]
        assert server.peak == 4
        assert len(server.requests) == 50


def test_a_killed_process_frees_its_slots_and_leaves_nothing_open(askers: Askers) -> None:
    with FakeServer() as server:
        server.hold()
        killed = askers(server, 30)
        assert server.wait_until(lambda server: server.open == 4)
        other = askers(server, 20)
        assert server.wait_until(lambda server: len(server.others) == 2)
        os.kill(killed.pid, signal.SIGKILL)
        assert server.wait_until(lambda server: server.gone == 4)
        server.release()
        assert other.communicate(timeout=60) == ("20\n", "")
        assert server.wait_until(lambda server: server.open == 0)


def test_ctrl_c_ends_a_process_at_once_and_cleanly(askers: Askers) -> None:
    with FakeServer(script=SCRIPTS["slow"]) as server:
        process = askers(server, 20)
        assert server.wait_until(lambda server: server.open == 4)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode != 0
        assert err.rstrip().endswith("KeyboardInterrupt")
        assert err.count("Traceback") == 1  # no task and no socket is found lying about
        assert server.wait_until(lambda server: server.gone == 4)
        assert len(server.requests) == 4


def test_a_client_that_nobody_closes_keeps_no_process_alive(tmp_path: Path) -> None:
    with FakeServer() as server:
        process = asker(server, tmp_path / "slots", 3, closes=False)
        out, _ = process.communicate(timeout=60)
        assert (out, process.returncode) == ("3\n", 0)
