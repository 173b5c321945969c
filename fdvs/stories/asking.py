"""Many pieces of work that ask a model, carried out at once: the model stays busy, replies are kept, order plays no
part in what comes of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Generic, Protocol, TypeVar

from fdvs.chat.base import NO_USAGE, ChatModel, ChatReply, ChatRequest, Finish, Frames, Usage
from fdvs.errors import ServerError
from fdvs.records import content_id

T = TypeVar("T")

Asking = Generator[list[ChatRequest], list[ChatReply], T]
"""A piece of work: it yields requests that can be open at once, is sent their replies, and returns its result."""

_OPEN_PER_SLOT = 2  # requests that wait at the model, so that no slot of it is ever empty


class Replies(Protocol):
    """Replies that are kept, so that a request is never carried out twice."""

    def get(self, key: str) -> ChatReply | None: ...

    def put(self, key: str, reply: ChatReply) -> None: ...


class Asker:
    """Asks one model and knows the replies that are there already.

    Attributes:
        usage: what the requests took that were carried out now.
        reused: how many replies were there already.
    """

    def __init__(self, model: ChatModel, replies: Replies | None, fingerprint: str) -> None:
        self._model = model
        self._replies = replies
        self._fingerprint = fingerprint
        self.usage: Usage = NO_USAGE
        self.reused = 0

    def run(self, work: Sequence[Asking[T]]) -> list[T]:
        """The results of `work`, in its order.

        Raises:
            ServerError: no server answers. What was answered before is kept.
        """
        run = _Run(self, work)
        try:
            return run.results()
        finally:
            run.give_up()

    def key(self, request: ChatRequest) -> str:
        """What a reply is kept under: all that shapes it."""
        assert not any(isinstance(part, Frames) for part in request.parts), "pictures are not part of the key"
        return content_id(
            "reply",
            self._model.model,
            self._fingerprint,
            request.system,
            list(request.parts),
            request.schema,
            request.max_tokens,
            request.temperature,
            request.seed,
        )

    def known(self, key: str) -> ChatReply | None:
        reply = self._replies.get(key) if self._replies is not None else None
        self.reused += reply is not None
        return reply

    def submit(self, request: ChatRequest) -> Future[ChatReply]:
        return self._model.submit(request)

    def keep(self, key: str, reply: ChatReply) -> None:
        """Count and keep a reply that came now; what was refused or failed is asked again another time."""
        self.usage += reply.usage
        if self._replies is not None and reply.finish in (Finish.STOP, Finish.LENGTH):
            self._replies.put(key, reply)

    @property
    def max_open(self) -> int:
        return _OPEN_PER_SLOT * max(1, self._model.in_flight)


class _Run(Generic[T]):
    """One call of `Asker.run`: which requests wait, which are open, and whose they are."""

    def __init__(self, asker: Asker, work: Sequence[Asking[T]]) -> None:
        self._asker = asker
        self._work = work
        self._results: dict[int, T] = {}
        self._replies: dict[int, dict[int, ChatReply]] = {}
        self._wanted: dict[int, int] = {}
        self._waiting: deque[tuple[int, int, str, ChatRequest]] = deque()
        self._open: dict[Future[ChatReply], tuple[int, int, str]] = {}

    def results(self) -> list[T]:
        for one in range(len(self._work)):
            self._go_on(one, None)
            while self._waiting and not self._fill():  # work is begun only when the model has room for it
                self._take_some()
        while self._open:
            self._take_some()
        return [self._results[one] for one in range(len(self._work))]

    def give_up(self) -> None:
        """After an error or an interruption: cancel what is open, and keep what was answered meanwhile."""
        for future, (_, _, key) in self._open.items():
            if not future.cancel() and future.done() and future.exception() is None:
                self._asker.keep(key, future.result())
        for one in self._work:
            one.close()

    def _take_some(self) -> None:
        """Wait for replies and go on with the work they belong to."""
        done, _ = wait(self._open, return_when=FIRST_COMPLETED)
        taken = []
        for future in done:
            one, place, key = self._open[future]
            reply = future.result()
            del self._open[future]
            self._asker.keep(key, reply)
            taken.append((one, place, reply))
        for _, _, reply in taken:
            if reply.is_unreachable:
                raise ServerError(f"the writer's model does not answer: {reply.reason}")
        for one, place, reply in taken:
            self._replies[one][place] = reply
            if len(self._replies[one]) == self._wanted[one]:
                self._go_on(one, self._in_order(one))
        self._fill()

    def _in_order(self, one: int) -> list[ChatReply]:
        return [self._replies[one][place] for place in range(self._wanted[one])]

    def _go_on(self, one: int, replies: list[ChatReply] | None) -> None:
        """Send replies in and take what is asked next, as long as all of that is known already."""
        while True:
            try:
                asked = next(self._work[one]) if replies is None else self._work[one].send(replies)
            except StopIteration as end:
                self._results[one] = end.value
                return
            self._wanted[one], self._replies[one] = len(asked), {}
            for place, request in enumerate(asked):
                key = self._asker.key(request)
                known = self._asker.known(key)
                if known is None:
                    self._waiting.append((one, place, key, request))
                else:
                    self._replies[one][place] = known
            if len(self._replies[one]) < len(asked):
                return
            replies = self._in_order(one)

    def _fill(self) -> bool:
        """Open what waits, as far as there is room; whether nothing waits any more."""
        while self._waiting and len(self._open) < self._asker.max_open:
            one, place, key, request = self._waiting.popleft()
            self._open[self._asker.submit(request)] = (one, place, key)
        return not self._waiting
