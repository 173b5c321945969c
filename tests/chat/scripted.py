"""A chat model that says what a test wants: every request is kept, every reply comes from the test's own script."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

from fdvs.chat.base import ChatReply, ChatRequest, Finish, Frames, Usage

Script = Callable[[ChatRequest], "ChatReply | str"] | Sequence["ChatReply | str"]


def said(text: str, finish: Finish = Finish.STOP) -> ChatReply:
    """A reply with this text that took one request, and a token in and out for each four characters of it."""
    return ChatReply(text, finish, usage=Usage(requests=1, tokens_in=len(text) // 4, tokens_out=len(text) // 4))


def refused(reason: str = "content policy") -> ChatReply:
    return ChatReply("", Finish.REFUSED, reason, usage=Usage(requests=1))


def failed(reason: str = "the server answered 500", *, is_unreachable: bool = False) -> ChatReply:
    return ChatReply("", Finish.FAILED, reason, True, is_unreachable, Usage(requests=1))


def text_of(request: ChatRequest) -> str:
    """The words of a request's user turn, its parts joined by line breaks."""
    return "\n".join(part for part in request.parts if not isinstance(part, Frames))


class ScriptedChat:
    """Implements `ChatModel`.

    Args:
        script: the reply to each request, a text standing for a reply that ended by itself: a function of the request,
            or replies in the order of the requests. When these run out, the next request fails the test.
        shuffled: replies come in an order of their own, which the number seeds: up to `in_flight` requests are
            collected, then answered at random from another thread. None: each is answered as soon as it is made.

    Attributes:
        requests: all that were submitted, in their order.
        most_open: how many were open at once at most (always 1 where nothing is shuffled).
        is_closed: whether `close` was called.
    """

    name = "scripted"

    def __init__(
        self,
        script: Script,
        *,
        model: str = "scripted-1",
        in_flight: int = 4,
        context_tokens: int = 0,
        shuffled: int | None = None,
    ) -> None:
        self.model = model
        self.in_flight = in_flight
        self.context_tokens = context_tokens
        self.requests: list[ChatRequest] = []
        self.most_open = 0
        self.is_closed = False
        self._script = script if callable(script) else _in_order(script)
        self._order = None if shuffled is None else random.Random(shuffled)
        self._open: list[tuple[ChatRequest, Future[ChatReply]]] = []
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None

    def submit(self, request: ChatRequest) -> Future[ChatReply]:
        assert not self.is_closed, "a closed model was asked"
        future: Future[ChatReply] = Future()
        with self._changed:
            self.requests.append(request)
            self._open.append((request, future))
            self.most_open = max(self.most_open, len(self._open))
            self._changed.notify_all()
        if self._order is None:
            self._answer(0)
        elif self._worker is None:
            self._worker = threading.Thread(target=self._work, daemon=True)
            self._worker.start()
        return future

    def chat(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        return [future.result() for future in [self.submit(request) for request in requests]]

    def close(self) -> None:
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()
        if self._worker is not None:
            self._worker.join()

    def _work(self) -> None:
        """Answer at random: wait until enough are open, or until nothing more comes for a moment."""
        assert self._order is not None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._open or self.is_closed)
                if self.is_closed:
                    return
                while len(self._open) < self.in_flight and self._changed.wait(timeout=0.002):
                    pass
                chosen = self._order.randrange(len(self._open))
            self._answer(chosen)

    def _answer(self, index: int) -> None:
        """Carry out one open request. An exception of the script goes to whoever waits for the reply, so that a test
        can end a run in its middle."""
        with self._changed:
            request, future = self._open[index]
        if future.set_running_or_notify_cancel():
            try:
                reply = self._script(request)
                future.set_result(said(reply) if isinstance(reply, str) else reply)
            except BaseException as error:  # noqa: BLE001  whatever it is, it is the waiting test's
                future.set_exception(error)
        with self._changed:
            del self._open[index]


def _in_order(replies: Sequence[ChatReply | str]) -> Callable[[ChatRequest], ChatReply | str]:
    left: Iterator[ChatReply | str] = iter(replies)

    def reply(request: ChatRequest) -> ChatReply | str:
        following = next(left, None)
        assert following is not None, f"no reply is left for: {text_of(request)[:200]}"
        return following

    return reply
