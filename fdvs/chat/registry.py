"""Chat models by explicit name; the module behind a name is imported only when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fdvs.chat.base import ChatModel
from fdvs.errors import UnknownBackendError, UsageError

if TYPE_CHECKING:
    from fdvs.kernels.choice import AttentionChoice

FramesAs = Literal["auto", "video", "images"]

BACK_ENDS = {
    "openai": "fdvs.chat.openai:OpenAIChat",
    "vllm": "fdvs.chat.vllm:VllmChat",
    "transformers": "fdvs.chat.transformers:TransformersChat",
}
"""Name → `module:Class`, made with (model, where, serving)."""

IN_PROCESS = frozenset({"vllm", "transformers"})
"""Back ends that load the model into this process; the others ask a server."""


WITH_ATTENTION = frozenset({"transformers", "vllm"})
"""Back ends that attend as `Serving.attention` asks; with the others it is refused."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How requests are carried out; shapes no content but by `frames_as` and `attention`.

    Attributes:
        requests: in flight at once.
        timeout_s: for one attempt, from sending to the last byte.
        retries: attempts after the first one, on what may pass by itself.
        slots: a file whose byte ranges bound `requests` over all processes that use it; None: this process alone.
        frames_as: `video` or `images`, or `auto`: what the model takes, video first.
        attention: sparse attention for a model of a back end of `WITH_ATTENTION`; None: its own.
    """

    requests: int = 32
    timeout_s: float = 300.0
    retries: int = 6
    slots: Path | None = None
    frames_as: FramesAs = "auto"
    attention: AttentionChoice | None = None


def open_chat(name: str, model: str, where: str, serving: Serving | None = None) -> ChatModel:
    """The chat model `model` by the back end `name`.

    Args:
        model: the name it is known by, as `fdvs.models.resolve` leaves it.
        where: the address of its server, or `file:` and the folder with its files.

    Raises:
        UnknownBackendError: there is no such back end; the message lists the known names.
        UsageError: it has no attention that could be chosen, and one is.
        BackendUnavailableError: its packages or the model's files are not here.
        ServerError: its server does not answer.
    """
    if name not in BACK_ENDS:
        raise UnknownBackendError("chat model", name, list(BACK_ENDS))
    if serving is not None and serving.attention is not None and name not in WITH_ATTENTION:
        raise UsageError(f"the chat model {name} cannot use attention {serving.attention.words()}")
    module, _, attribute = BACK_ENDS[name].partition(":")
    made: ChatModel = getattr(import_module(module), attribute)(model, where, serving or Serving())
    return made
