"""The process that holds models: `python -m fdvs.hosting.host SOCKET`, the settings as one JSON line on stdin.

It loads what the settings name, says so in one JSON line on stdout, and serves every process that connects to its
socket. It ends when its stdin does, which is when the build that started it ends, however that was.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdvs.captioners.attention import attention_of
from fdvs.captioners.base import HEAVY, captioner, enricher, enriches
from fdvs.chat.base import ChatModel
from fdvs.chat.registry import IN_PROCESS, Serving, open_chat
from fdvs.errors import FdvsError
from fdvs.hosting import wire
from fdvs.hosting.batches import CaptionBatches
from fdvs.settings import Settings, settings_from_json

if TYPE_CHECKING:
    from fdvs.kernels.choice import AttentionChoice

CAPTIONER, ENRICHER, WRITER = "captioner", "enricher", "writer"
SUMMARY = "summary"
"""What a client asks as that only wants to know what was done."""

BACKLOG = 64

Answer = Callable[[Mapping[str, Any], bytes], Future[dict[str, Any]]]


def roles_of(settings: Settings) -> tuple[str, ...]:
    """What a build with these settings has to host: models that its workers cannot each load for themselves."""
    captions, story = settings.captions, settings.story
    wanted = {
        CAPTIONER: captions.captioner in IN_PROCESS | HEAVY,
        ENRICHER: enriches(captions),
        WRITER: story.writer in IN_PROCESS,
    }
    return tuple(role for role, is_wanted in wanted.items() if is_wanted)


class HostedModels:
    """The models of `roles_of(settings)`, loaded; one that captions and writes with one attention is loaded once.

    Raises:
        FdvsError: one of them cannot be loaded; the message says what to do.
    """

    def __init__(self, settings: Settings, settings_hash: str) -> None:
        self._settings, self._hash = settings, settings_hash
        self._chats: dict[tuple[str, str, AttentionChoice | None], ChatModel] = {}
        self._served = {role: self._load(role) for role in roles_of(settings)}

    def _load(self, role: str) -> tuple[dict[str, Any], Answer]:
        captions, story = self._settings.captions, self._settings.story
        if role == WRITER:
            return _over_chat(self._chat(story.writer, story.writer_model, story.writer_url, None))
        if role == ENRICHER:
            return _over_captioner(CaptionBatches(enricher(captions, self._hash), self._hash))
        if captions.captioner in HEAVY:
            return _over_captioner(CaptionBatches(captioner(captions, self._hash), self._hash))
        attention = attention_of(captions)
        return _over_chat(self._chat(captions.captioner, captions.captioner_model, captions.captioner_url, attention))

    def _chat(self, name: str, model: str, where: str, attention: AttentionChoice | None) -> ChatModel:
        key = (name, where or model, attention)
        if key not in self._chats:
            run, captions = self._settings.run, self._settings.captions
            serving = Serving(requests=run.requests, frames_as=captions.frames_as, attention=attention)
            self._chats[key] = open_chat(name, model, where, serving)
        return self._chats[key]

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for people about what was loaded."""
        return self._lines("notes")

    def _lines(self, name: str) -> tuple[str, ...]:
        return tuple(line for chat in self._chats.values() for line in getattr(chat, name, ()))

    def hello(self, role: str) -> dict[str, Any]:
        """What a client needs to know of a model; as `SUMMARY`, lines for people about what all of them did."""
        if role == SUMMARY:
            return {"lines": self._lines("summary")}
        return self._served[role][0]

    def answer(self, role: str, data: Mapping[str, Any], blob: bytes) -> Future[dict[str, Any]]:
        """Begin to answer a message."""
        return self._served[role][1](data, blob)


def _over_chat(chat: ChatModel) -> tuple[dict[str, Any], Answer]:
    hello = {"name": chat.name, "model": chat.model, "in_flight": chat.in_flight, "context_tokens": chat.context_tokens}

    def answer(data: Mapping[str, Any], blob: bytes) -> Future[dict[str, Any]]:
        return _mapped(chat.submit(wire.request_in(data, blob)), wire.reply_out)

    return hello, answer


def _over_captioner(batches: CaptionBatches) -> tuple[dict[str, Any], Answer]:
    by = batches.captioner
    hello = {
        "name": by.name,
        "wants_frames": by.wants_frames,
        "wants_all_samples": by.wants_all_samples,
        "in_flight": batches.in_flight,
    }

    def answer(data: Mapping[str, Any], blob: bytes) -> Future[dict[str, Any]]:
        return _mapped(batches.submit(wire.clip_in(data, blob)), wire.captions_out)

    return hello, answer


def _mapped(future: Future[Any], change: Callable[[Any], dict[str, Any]]) -> Future[dict[str, Any]]:
    changed: Future[dict[str, Any]] = Future()

    def take(done: Future[Any]) -> None:
        if not done.cancelled():
            changed.set_result(change(done.result()))

    future.add_done_callback(take)
    return changed


class _Client(threading.Thread):
    """One connection: reads questions as they come, sends answers as they are ready."""

    def __init__(self, connection: socket.socket, models: HostedModels) -> None:
        super().__init__(daemon=True)
        self._connection, self._models = connection, models
        self._sending = threading.Lock()

    def run(self) -> None:
        with self._connection:
            first = wire.receive(self._connection)
            if first is None:
                return
            role = str(first[0]["role"])
            self._send(self._models.hello(role))
            while (message := wire.receive(self._connection)) is not None:
                data, blob = message
                number = data.pop("number")
                answered = self._models.answer(role, data, blob)
                answered.add_done_callback(lambda done, n=number: self._send({**done.result(), "number": n}))  # type: ignore[misc]

    def _send(self, data: Mapping[str, Any]) -> None:
        with self._sending, contextlib.suppress(OSError):  # a worker that ended wants no answer any more
            wire.send(self._connection, data)


def serve(listener: socket.socket, models: HostedModels) -> None:
    """Take connections for as long as the process lives."""
    while True:
        connection, _ = listener.accept()
        _Client(connection, models).start()


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # what vLLM has started for itself ends, too
    os._exit(0)


def main() -> None:
    """The whole life of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us decides; we lead a group of our own
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print goes to stderr
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        models = HostedModels(settings_from_json(task["settings"]), task["settings_hash"])
    except FdvsError as error:
        _tell(told, {"error": str(error)})
    except Exception as error:  # noqa: BLE001 - whatever a model's own code raises while it is loaded
        traceback.print_exc()
        _tell(told, {"error": f"the model cannot be loaded: {type(error).__name__}: {error}"})
    else:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(Path(sys.argv[1])))
            listener.listen(BACKLOG)
            _tell(told, {"ready": True, "notes": models.notes})
            serve(listener, models)


def _tell(told: Any, data: Mapping[str, Any]) -> None:
    told.write(json.dumps(data) + "\n")
    told.flush()


if __name__ == "__main__":
    main()
