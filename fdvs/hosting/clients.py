"""The worker's side: a hosted chat model or captioner, used like one in this process."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from fdvs.captioners.base import ClipCaptions, ClipInput
from fdvs.chat.base import ChatReply, ChatRequest, Finish
from fdvs.errors import ServerError
from fdvs.hosting import wire

T = TypeVar("T")
GONE = "the process that held the model has ended (out of memory?)"


class _Line(Generic[T]):
    """One connection: questions go out as they come, answers come back in any order."""

    def __init__(self, path: str, role: str, read: Callable[[Mapping[str, Any]], T], gone: Callable[[Future[T]], None]):
        self._read, self._gone = read, gone
        self._lock = threading.Lock()
        self._open: dict[int, Future[T]] = {}
        self._numbers = itertools.count()
        self._is_gone = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(path)
            wire.send(self._socket, {"role": role})
            hello = wire.receive(self._socket)
        except OSError:
            hello = None
        if hello is None:
            self._socket.close()
            raise ServerError(GONE)
        self.hello = hello[0]
        threading.Thread(target=self._listen, daemon=True).start()

    def ask(self, message: wire.Message) -> Future[T]:
        data, blob = message
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            number = next(self._numbers)
            if not self._is_gone:
                self._open[number] = future
                with contextlib.suppress(OSError):  # the listener sees the end, too, and answers for all
                    wire.send(self._socket, {**data, "number": number}, blob)
                return future
        self._gone(future)
        return future

    def _listen(self) -> None:
        while (message := wire.receive(self._socket)) is not None:
            data, _ = message
            with self._lock:
                future = self._open.pop(data["number"])
            future.set_result(self._read(data))
        with self._lock:
            self._is_gone = True
            left, self._open = list(self._open.values()), {}
        for future in left:
            self._gone(future)

    def close(self) -> None:
        """End the connection; what is open is answered by `gone`."""
        with contextlib.suppress(OSError):  # the other side was faster
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class HostedChat:
    """`ChatModel` over a model in another process."""

    def __init__(self, path: str, role: str) -> None:
        self._line = _Line(path, role, wire.reply_in, _reply_gone)
        hello = self._line.hello
        self.name, self.model = str(hello["name"]), str(hello["model"])
        self.in_flight, self.context_tokens = int(hello["in_flight"]), int(hello["context_tokens"])

    def submit(self, request: ChatRequest) -> Future[ChatReply]:
        return self._line.ask(wire.request_out(request))

    def chat(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        return [future.result() for future in [self.submit(request) for request in requests]]

    def close(self) -> None:
        self._line.close()


class HostedCaptioner:
    """`StreamingCaptioner` over a captioner in another process."""

    def __init__(self, path: str, role: str) -> None:
        self._line = _Line(path, role, wire.captions_in, _captions_gone)
        hello = self._line.hello
        self.name, self.wants_frames = str(hello["name"]), int(hello["wants_frames"])
        self.wants_all_samples, self.in_flight = bool(hello["wants_all_samples"]), int(hello["in_flight"])

    def submit(self, clip: ClipInput) -> Future[ClipCaptions]:
        return self._line.ask(wire.clip_out(clip))

    def caption(self, clips: Sequence[ClipInput]) -> list[ClipCaptions]:
        return [future.result() for future in [self.submit(clip) for clip in clips]]

    def close(self) -> None:
        self._line.close()


def _reply_gone(future: Future[ChatReply]) -> None:
    future.set_result(ChatReply("", Finish.FAILED, GONE, is_retryable=True, is_unreachable=True))


def _captions_gone(future: Future[ClipCaptions]) -> None:
    future.set_exception(ServerError(GONE))
