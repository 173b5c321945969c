"""A request as the conversation that a model's own chat template turns into a prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fdvs.chat.base import ChatRequest, Frames
from fdvs.records import TimedPicture

Message = dict[str, Any]
Render = Callable[[Sequence[Message]], str]
"""A model's chat template: conversation → prompt, which ends where the reply begins."""


def messages(request: ChatRequest, *, frames_as: str, has_system: bool = True) -> list[Message]:
    """The conversation.

    Args:
        frames_as: `video`: one placeholder for each `Frames` that has pictures; `images`: one for each picture;
            `none`: the model only reads, and every turn is a plain text.
        has_system: whether the template has a turn for the system; else the user's turn begins with it.
    """
    user: list[Message] = []
    for part in request.parts:
        if isinstance(part, str):
            user.append({"type": "text", "text": part})
        elif frames_as == "video" and part.pictures:
            user.append({"type": "video"})
        else:
            user += [{"type": "image"} for _ in part.pictures]
    if request.system and not has_system:
        user.insert(0, {"type": "text", "text": request.system + "\n\n"})
    turns: list[Message] = []
    if request.system and has_system:
        turns.append({"role": "system", "content": [{"type": "text", "text": request.system}]})
    turns.append({"role": "user", "content": user})
    return [_plain(turn) for turn in turns] if frames_as == "none" else turns


def _plain(turn: Message) -> Message:
    return {"role": turn["role"], "content": "\n".join(part["text"] for part in turn["content"])}


def takes_system(render: Render, frames_as: str) -> bool:
    """Whether a template renders what the system says; some have no turn for it, and say so or drop it."""
    mark = "fdvs asks whether you hear the system"
    try:
        return mark in render(messages(ChatRequest(mark, ("x",)), frames_as=frames_as))
    except Exception:  # noqa: BLE001 - templates raise what they like to refuse a turn
        return False


def has_place_for_video(render: Render, token: str, has_system: bool) -> bool:
    """Whether a template puts the model's mark `token` where a video stands."""
    request = ChatRequest("", (Frames((TimedPicture(0, b""),)), "x"))
    try:
        return token in render(messages(request, frames_as="video", has_system=has_system))
    except Exception:  # noqa: BLE001 - see above
        return False
