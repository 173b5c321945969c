"""The seam between fdvs and any model that writes text: one request, one reply, one protocol.

Captioners, writers and readers make requests; what carries them out (a server over HTTP, vLLM or transformers in
process) knows nothing of videos. A request that fails is a reply that says so, never an exception: one clip's trouble
stays its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from fdvs.records import TimedPicture


@dataclass(frozen=True, slots=True)
class Frames:
    """Pictures of one stretch of video, in time order: a part of a request, next to its text."""

    pictures: tuple[TimedPicture, ...]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a model is asked.

    Attributes:
        system: who the model is and the rules it keeps; the same for all requests of one kind.
        parts: the user's turn in order: text, and frames where the model sees. Frames come before the question, so
            that a server can reuse what it computed of them.
        schema: JSON Schema of the reply, where one is wanted. A back end that can bind the model to it does; the
            reply's text is still to be parsed and checked by whoever asked.
        schema_name: a short name for it, `[a-z_]+`.
        max_tokens: of the reply; one that would be longer ends with `Finish.LENGTH`.
        temperature: 0: the most likely token at each step.
        seed: for temperatures above 0.
    """

    system: str
    parts: tuple[str | Frames, ...]
    schema: Mapping[str, Any] | None = None
    schema_name: str = "reply"
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0

    @property
    def num_pictures(self) -> int:
        return sum(len(part.pictures) for part in self.parts if isinstance(part, Frames))


class Finish(StrEnum):
    """How a reply ended. `STOP` and `LENGTH` replies carry the model's text, the others none."""

    STOP = "stop"
    LENGTH = "length"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Usage:
    """What requests took. Adds up.

    Attributes:
        requests: sent to the model, retries included.
        retries: of these, those that repeated one.
        tokens_in, tokens_out: as the model counts them; 0 where it does not say.
        images: pictures sent.
        seconds: from sending to the last byte, over all attempts.
    """

    requests: int = 0
    retries: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    images: int = 0
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.retries + other.retries,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.images + other.images,
            self.seconds + other.seconds,
        )

    def __sub__(self, earlier: Usage) -> Usage:
        return Usage(
            self.requests - earlier.requests,
            self.retries - earlier.retries,
            self.tokens_in - earlier.tokens_in,
            self.tokens_out - earlier.tokens_out,
            self.images - earlier.images,
            self.seconds - earlier.seconds,
        )


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What came of a request.

    Attributes:
        text: the model's words, untouched; empty where `finish` is `REFUSED` or `FAILED`.
        reason: why it was refused or failed, in words for people, without keys and without the request's text.
        is_retryable: a failure that may pass by itself: a time-out, a full server, a lost connection.
        is_unreachable: of these, that no server answered at all.
    """

    text: str
    finish: Finish
    reason: str = ""
    is_retryable: bool = False
    is_unreachable: bool = False
    usage: Usage = field(default=NO_USAGE)


class ChatModel(Protocol):
    """A model that answers requests.

    Attributes:
        name: the back end: `openai`, `vllm`, `transformers`.
        model: the model's name as it goes into ids and exports: equal on every machine, never a path.
        in_flight: requests that are worth having open at once; more only wait.
        context_tokens: tokens that request and reply may have together; 0 where it is not known.
    """

    name: str
    model: str
    in_flight: int
    context_tokens: int

    def submit(self, request: ChatRequest) -> Future[ChatReply]:
        """Begin a request. Never blocks for the model; callers keep no more than a few times `in_flight` open.

        The future never raises: what goes wrong is a reply. It may be cancelled.
        """
        ...

    def chat(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """The replies to `requests`, in their order."""
        ...

    def close(self) -> None:
        """Give up what is still open and let go of connections and memory; a second call does nothing."""
        ...
