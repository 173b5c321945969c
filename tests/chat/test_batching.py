"""Requests that come one by one and are answered many at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from fdvs.chat.base import ChatReply, ChatRequest, Finish, Frames, Usage
from fdvs.chat.batching import BatchedChat, OutOfRoomError
from fdvs.records import TimedPicture

PATIENCE_S = 30


def ask(text: str) -> ChatRequest:
    return ChatRequest("", (text,))


class Shouting(BatchedChat):
    """Answers in capitals; `before` may fail or wait, and sees every batch."""

    def __init__(self, batch: int, before: Callable[[Sequence[str]], None] = lambda _: None) -> None:
        super().__init__("shouting", batch)
        self.batches: list[list[str]] = []
        self.num_released = 0
        self._before = before

    def answer(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        texts = [str(request.parts[-1]) for request in requests]
        self.batches.append(texts)
        self._before(texts)
        return [ChatReply(text.upper(), Finish.STOP, usage=Usage(tokens_out=1)) for text in texts]

    def release(self) -> None:
        self.num_released += 1


class Gate:
    """Holds the first batch until `open` is called."""

    def __init__(self) -> None:
        self.reached, self._opened = threading.Event(), threading.Event()

    def __call__(self, _: Sequence[str]) -> None:
        self.reached.set()
        assert self._opened.wait(PATIENCE_S)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open()


def test_replies_come_in_the_order_of_the_requests() -> None:
    model = Shouting(batch=3)
    replies = model.chat([ask(f"word {i}") for i in range(10)])
    model.close()
    assert [reply.text for reply in replies] == [f"WORD {i}" for i in range(10)]
    assert all(reply.finish is Finish.STOP for reply in replies)
    assert max(len(batch) for batch in model.batches) <= 3


def test_what_gathers_while_a_batch_runs_is_answered_together(gate: Gate) -> None:
    model = Shouting(4, gate)
    first = model.submit(ask("first"))
    assert gate.reached.wait(PATIENCE_S)
    others = [model.submit(ask(f"{i}")) for i in range(8)]
    gate.open()
    assert [future.result(PATIENCE_S).text for future in [first, *others]] == ["FIRST", *map(str, range(8))]
    assert model.batches == [["first"], ["0", "1", "2", "3"], ["4", "5", "6", "7"]]
    model.close()


def test_one_request_that_breaks_the_model_fails_alone_and_says_why() -> None:
    def before(texts: Sequence[str]) -> None:
        if "bad" in texts:
            raise RuntimeError("no such word")

    model = Shouting(8, before)
    replies = model.chat([ask("one"), ask("bad"), ask("two")])
    model.close()
    assert [reply.text for reply in replies] == ["ONE", "", "TWO"]
    assert replies[1].finish is Finish.FAILED
    assert replies[1].reason == "RuntimeError: no such word"
    assert not replies[1].is_retryable


def test_attempts_pictures_and_seconds_are_counted(gate: Gate) -> None:
    def before(texts: Sequence[str]) -> None:
        if len(texts) > 1:
            raise RuntimeError("one at a time")
        if "first" in texts:
            gate(texts)

    model = Shouting(8, before)
    first = model.submit(ask("first"))
    assert gate.reached.wait(PATIENCE_S)
    seen = Frames((TimedPicture(0, b"a"), TimedPicture(1, b"b")))
    two = [model.submit(ChatRequest("", (seen, "x"))), model.submit(ask("y"))]
    gate.open()
    usages = [future.result(PATIENCE_S).usage for future in [first, *two]]
    model.close()
    assert [(usage.requests, usage.retries, usage.images, usage.tokens_out) for usage in usages] == [
        (1, 0, 0, 1),
        (2, 1, 2, 1),
        (2, 1, 0, 1),
    ]
    assert all(usage.seconds > 0 for usage in usages)


def test_a_model_that_answers_too_few_is_a_failure_and_not_a_wait_without_end() -> None:
    class Lazy(Shouting):
        def answer(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
            return []

    model = Lazy(4)
    assert model.submit(ask("x")).result(PATIENCE_S).finish is Finish.FAILED
    model.close()


def test_batches_halve_until_they_fit_into_memory_and_stay_small(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    def before(texts: Sequence[str]) -> None:
        if "first" in texts:
            gate(texts)
        if len(texts) > 2:
            raise OutOfRoomError("8 GB wanted")

    model = Shouting(8, before)
    model.submit(ask("first"))
    assert gate.reached.wait(PATIENCE_S)
    futures = [model.submit(ask(f"{i}")) for i in range(16)]
    with caplog.at_level(logging.WARNING):
        gate.open()
        replies = [future.result(PATIENCE_S) for future in futures]
    model.close()
    assert [reply.text for reply in replies] == [f"{i}" for i in range(16)]
    assert [len(batch) for batch in model.batches] == [1, 8, 4, 2, 2, 4, 2, 2, 2, 2, 2, 2]
    assert (model.batch, model.num_halvings) == (2, 3)
    assert "ran out of memory on 8 requests" in caplog.text
    assert replies[0].usage.retries == 2
    assert replies[15].usage.retries == 0


def test_a_single_request_without_room_is_a_failed_reply() -> None:
    def before(_: Sequence[str]) -> None:
        raise OutOfRoomError("80 GB wanted")

    model = Shouting(4, before)
    reply = model.chat([ask("x")])[0]
    model.close()
    assert (reply.finish, reply.reason) == (Finish.FAILED, "out of memory: 80 GB wanted")


def test_cancelled_requests_are_not_answered(gate: Gate) -> None:
    model = Shouting(4, gate)
    first = model.submit(ask("first"))
    assert gate.reached.wait(PATIENCE_S)
    unwanted, wanted = model.submit(ask("unwanted")), model.submit(ask("wanted"))
    assert unwanted.cancel()
    gate.open()
    assert (first.result(PATIENCE_S).text, wanted.result(PATIENCE_S).text) == ("FIRST", "WANTED")
    assert model.batches == [["first"], ["wanted"]]
    model.close()


def test_closing_gives_up_what_is_open_and_ends_the_thread() -> None:
    closing: list[threading.Event] = []
    running = threading.Event()

    def before(_: Sequence[str]) -> None:
        running.set()
        assert closing[0].wait(PATIENCE_S)  # what a long generation does: it looks whether anybody still waits

    model = Shouting(1, before)
    closing.append(model.is_closing)
    futures = [model.submit(ask(f"{i}")) for i in range(3)]
    assert running.wait(PATIENCE_S)
    model.close()
    model.close()
    replies = [future.result(0) for future in futures]
    assert [(reply.finish, reply.text, reply.is_retryable) for reply in replies] == [(Finish.FAILED, "", True)] * 3
    assert model.batches == [["0"]]
    assert model.num_released == 1
    assert "fdvs-batched" not in {thread.name for thread in threading.enumerate()}
    assert model.submit(ask("late")).result(0).reason == "the model is closed"
