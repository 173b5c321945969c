"""Requests that come one by one, answered many at a time by a model in this process."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from fdvs.chat.base import ChatReply, ChatRequest, Finish

GATHER_S = 0.005
"""How long a batch that is not full waits for more requests while they keep coming."""
MAX_REASON_CHARS = 400

_log = logging.getLogger(__name__)


class OutOfRoomError(Exception):
    """The model has no memory for a batch of this size."""


@dataclass(slots=True)
class Waiting:
    """A request on its way: its future, and what it took so far."""

    request: ChatRequest
    future: Future[ChatReply] = field(default_factory=Future)
    attempts: int = 0
    seconds: float = 0.0

    def finish(self, reply: ChatReply) -> None:
        """Set the result, with what it took. The future must be running."""
        usage = replace(
            reply.usage,
            requests=self.attempts,
            retries=max(0, self.attempts - 1),
            images=self.request.num_pictures if self.attempts else 0,
            seconds=self.seconds,
        )
        self.future.set_result(replace(reply, usage=usage))


def failed(reason: str, *, is_retryable: bool = False) -> ChatReply:
    """The reply of a request that came to nothing."""
    return ChatReply("", Finish.FAILED, reason, is_retryable=is_retryable)


class QueuedChat(ABC):
    """`ChatModel` whose requests wait in a queue for one thread that works the model.

    Attributes:
        is_closing: set when nobody waits for replies any more; what runs then may end early.
    """

    name = "queued"

    def __init__(self, model: str, in_flight: int, context_tokens: int) -> None:
        self.model = model
        self.in_flight = in_flight
        self.context_tokens = context_tokens
        self.is_closing = threading.Event()
        self._queue: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @abstractmethod
    def run(self) -> None:
        """Work until `is_closing`; the only place where the model is used. Gives every request it took its reply."""

    def release(self) -> None:  # noqa: B027 - nothing to do for most
        """Let go of the model's memory; called once, when `run` has ended."""

    def submit(self, request: ChatRequest) -> Future[ChatReply]:
        one = Waiting(request)
        with self._changed:
            if self.is_closing.is_set():
                one.finish(failed("the model is closed"))
                return one.future
            if self._thread is None:
                self._thread = threading.Thread(target=self.run, name=f"fdvs-{self.name}", daemon=True)
                self._thread.start()
            self._queue.append(one)
            self._changed.notify_all()
        return one.future

    def chat(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        return [future.result() for future in [self.submit(request) for request in requests]]

    def close(self) -> None:
        with self._changed:
            was_open = not self.is_closing.is_set()
            self.is_closing.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if not was_open:
            return
        for one in self._taken(len(self._queue)):
            one.finish(failed("given up: the model was closed before it answered", is_retryable=True))
        self.release()

    def take(self, most: int, *, wait: bool = True) -> list[Waiting]:
        """Up to `most` requests from the queue, their futures running.

        Args:
            wait: for the first one, and a little for more while they keep coming. Then nothing means closed.
        """
        while True:
            with self._changed:
                if wait:
                    self._changed.wait_for(lambda: self._queue or self.is_closing.is_set())
                    self._gather(most)
                if self.is_closing.is_set():
                    return []
                came = min(most, len(self._queue))
                taken = self._taken(came)
            if taken or not wait:
                return taken  # else all of them were cancelled

    def _gather(self, most: int) -> None:
        """Wait for a batch that begins to fill, as long as each short wait brings more."""
        before = 1
        while before < len(self._queue) < most and not self.is_closing.is_set():
            before = len(self._queue)
            self._changed.wait_for(lambda: len(self._queue) >= most or self.is_closing.is_set(), GATHER_S)

    def _taken(self, count: int) -> list[Waiting]:
        taken = [self._queue.popleft() for _ in range(count)]
        return [one for one in taken if one.future.set_running_or_notify_cancel()]


class BatchedChat(QueuedChat):
    """`ChatModel` over a model that answers several requests in one call.

    A call that fails is repeated for each of its requests alone, so that one clip's trouble stays its own. One that
    runs out of memory is repeated in halves, and batches stay that small from then on.

    Attributes:
        batch: requests answered at once; may get smaller.
        num_halvings: how often memory has run out.
    """

    name = "batched"

    def __init__(self, model: str, batch: int, context_tokens: int = 0) -> None:
        self.batch = max(1, batch)
        self.num_halvings = 0
        super().__init__(model, 2 * self.batch, context_tokens)  # one batch is answered while the next one is made

    @abstractmethod
    def answer(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """The replies to at most `batch` requests, in their order; seconds and attempts are counted by the caller.

        Called on one thread only. Looks at `is_closing` where it can end early; its replies are then thrown away.

        Raises:
            OutOfRoomError: there is no memory for so many.
        """

    def run(self) -> None:
        while taken := self.take(self.batch):
            self._answer(taken)

    def _answer(self, taken: Sequence[Waiting]) -> None:
        """Give every request its reply, by as many calls of the model as that takes."""
        for one in taken:
            one.attempts += 1
        started = time.perf_counter()
        replies: list[ChatReply] | None = None
        reason = ""
        parts = [[one] for one in taken]
        try:
            replies = self._checked([one.request for one in taken])
        except OutOfRoomError as error:
            reason = f"out of memory: {error}"
            if len(taken) > 1:
                parts = self._halved(taken)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever the model raises becomes a reply
            reason = f"{type(error).__name__}: {error}"[:MAX_REASON_CHARS]
            _log.warning("%s failed on %d requests: %s", self.name, len(taken), reason, exc_info=len(taken) == 1)
        spent = time.perf_counter() - started
        for one in taken:
            one.seconds += spent
        if self.is_closing.is_set():
            replies = [failed("given up: the model was closed while it answered", is_retryable=True) for _ in taken]
        if replies is not None:
            for one, reply in zip(taken, replies, strict=True):
                one.finish(reply)
        elif len(taken) == 1:
            taken[0].finish(failed(reason))
        else:
            for part in parts:
                self._answer(part)

    def _checked(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        replies = self.answer(requests)
        assert len(replies) == len(requests)
        return replies

    def _halved(self, taken: Sequence[Waiting]) -> list[list[Waiting]]:
        half = (len(taken) + 1) // 2
        self.batch = min(self.batch, half)
        self.num_halvings += 1
        _log.warning("%s ran out of memory on %d requests; from now on %d at once", self.name, len(taken), self.batch)
        return [list(taken[:half]), list(taken[half:])]
