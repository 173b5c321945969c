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

from fdvs.chat.base import ChatReply, ChatRequest, Finish, Usage

GATHER_S = 0.005
"""How long a batch that is not full waits for more requests while they keep coming."""

_log = logging.getLogger(__name__)


class OutOfRoomError(Exception):
    """The model has no memory for a batch of this size."""


@dataclass(slots=True)
class _Open:
    """A request that waits for its reply."""

    request: ChatRequest
    future: Future[ChatReply] = field(default_factory=Future)
    attempts: int = 0
    seconds: float = 0.0


def failed(reason: str, *, is_retryable: bool = False, usage: Usage | None = None) -> ChatReply:
    """The reply of a request that came to nothing."""
    return ChatReply("", Finish.FAILED, reason, is_retryable=is_retryable, usage=usage or Usage(requests=1))


class BatchedChat(ABC):
    """`ChatModel` over a model that answers several requests in one call, on one thread of its own.

    A call that fails is repeated for each of its requests alone, so that one clip's trouble stays its own. One that
    runs out of memory is repeated in halves, and batches stay that small from then on.

    Attributes:
        batch: requests answered at once; may get smaller.
        num_halvings: how often memory has run out.
    """

    name = "batched"

    def __init__(self, model: str, batch: int, context_tokens: int = 0) -> None:
        self.model = model
        self.batch = max(1, batch)
        self.in_flight = 2 * self.batch  # one batch is answered while the next one is made
        self.context_tokens = context_tokens
        self.num_halvings = 0
        self.is_closing = threading.Event()
        self._waiting: deque[_Open] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @abstractmethod
    def answer(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """The replies to at most `batch` requests, in their order; seconds and attempts are counted by the caller.

        Called on one thread only. Looks at `is_closing` where it can end early; its replies are then thrown away.

        Raises:
            OutOfRoomError: there is no memory for so many.
        """

    def release(self) -> None:  # noqa: B027 - nothing to do for most
        """Let go of the model's memory; called once, when no `answer` runs any more."""

    def submit(self, request: ChatRequest) -> Future[ChatReply]:
        one = _Open(request)
        with self._changed:
            if self.is_closing.is_set():
                one.future.set_result(failed("the model is closed", usage=Usage()))
                return one.future
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"fdvs-{self.name}", daemon=True)
                self._thread.start()
            self._waiting.append(one)
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
        if was_open:
            self.release()

    def _run(self) -> None:
        while taken := self._take():
            self._answer(taken)

    def _take(self) -> list[_Open]:
        """The next batch; empty when closed, after the rest was given up."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.is_closing.is_set())
            before = 0
            while before < len(self._waiting) < self.batch and len(self._waiting) > 1 and not self.is_closing.is_set():
                before = len(self._waiting)
                self._changed.wait_for(self._has_enough, GATHER_S)
            if self.is_closing.is_set():
                for one in self._waiting:
                    _finish(one, failed("given up: the model was closed before it answered", is_retryable=True))
                self._waiting.clear()
            taken = [self._waiting.popleft() for _ in range(min(self.batch, len(self._waiting)))]
        kept = [one for one in taken if one.future.set_running_or_notify_cancel()]
        return kept or (self._take() if taken else [])

    def _has_enough(self) -> bool:
        return len(self._waiting) >= self.batch or self.is_closing.is_set()

    def _answer(self, taken: Sequence[_Open]) -> None:
        """Give every request its reply, by as many calls of the model as that takes."""
        for one in taken:
            one.attempts += 1
        started = time.perf_counter()
        replies: list[ChatReply] | None = None
        reason = ""
        parts = [[one] for one in taken]
        try:
            replies = self.answer([one.request for one in taken])
        except OutOfRoomError as error:
            reason = f"out of memory: {error}"
            if len(taken) > 1:
                parts = self._halved(taken)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever the model raises becomes a reply
            reason = f"{type(error).__name__}: {error}"
            _log.warning("%s failed on %d requests: %s", self.name, len(taken), reason, exc_info=len(taken) == 1)
        spent = time.perf_counter() - started
        for one in taken:
            one.seconds += spent
        if self.is_closing.is_set():
            replies = [failed("given up: the model was closed while it answered", is_retryable=True) for _ in taken]
        if replies is not None:
            for one, reply in zip(taken, replies, strict=True):
                _finish(one, reply)
        elif len(taken) == 1:
            _finish(taken[0], failed(reason))
        else:
            for part in parts:
                self._answer(part)

    def _halved(self, taken: Sequence[_Open]) -> list[list[_Open]]:
        half = (len(taken) + 1) // 2
        self.batch = min(self.batch, half)
        self.num_halvings += 1
        _log.warning("%s ran out of memory on %d requests; from now on %d at once", self.name, len(taken), self.batch)
        return [list(taken[:half]), list(taken[half:])]


def _finish(one: _Open, reply: ChatReply) -> None:
    """Set the result, with what it took; a request that was cancelled meanwhile gets none."""
    if not one.future.running() and not one.future.set_running_or_notify_cancel():
        return
    usage = replace(
        reply.usage,
        requests=max(1, one.attempts),
        retries=max(0, one.attempts - 1),
        images=reply.usage.images or one.request.num_pictures,
        seconds=one.seconds,
    )
    one.future.set_result(replace(reply, usage=usage))
