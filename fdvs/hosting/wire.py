"""Messages between a worker and the process that holds a model: JSON with pictures behind it, over a local socket.

A message is two lengths (of the JSON, of the pictures' bytes), the JSON, and the bytes. Nothing in it can carry code.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from fdvs.captioners.base import ClipCaptions, ClipInput
from fdvs.captioners.facts import PictureFacts
from fdvs.chat.base import ChatReply, ChatRequest, Finish, Frames, Usage
from fdvs.records import Caption, CaptionKind, Clip, Outcome, Span, TimedPicture

_HEAD = struct.Struct("!II")
Message = tuple[dict[str, Any], bytes]


def send(connection: socket.socket, data: Mapping[str, Any], blob: bytes = b"") -> None:
    """Send one message whole.

    Raises:
        OSError: the other side is gone.
    """
    text = json.dumps(data, separators=(",", ":")).encode()
    connection.sendall(_HEAD.pack(len(text), len(blob)) + text + blob)


def receive(connection: socket.socket) -> Message | None:
    """The next message; None where the other side has ended, also in the middle of one."""
    head = _exactly(connection, _HEAD.size)
    if head is None:
        return None
    text_bytes, blob_bytes = _HEAD.unpack(head)
    text, blob = _exactly(connection, text_bytes), _exactly(connection, blob_bytes)
    return None if text is None or blob is None else (json.loads(text), blob)


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        try:
            part = connection.recv(min(count - len(data), 1 << 20))
        except OSError:
            return None
        if not part:
            return None
        data += part
    return bytes(data)


# ---- pictures -------------------------------------------------------------------------------------------------------


def _pictures_out(pictures: Sequence[TimedPicture]) -> tuple[list[list[int]], bytes]:
    return [[one.time_ms, len(one.jpeg)] for one in pictures], b"".join(one.jpeg for one in pictures)


def _pictures_in(table: Sequence[Sequence[int]], blob: bytes, at: int = 0) -> tuple[tuple[TimedPicture, ...], int]:
    found = []
    for time_ms, size in table:
        found.append(TimedPicture(time_ms, blob[at : at + size]))
        at += size
    return tuple(found), at


# ---- requests and replies -------------------------------------------------------------------------------------------


def request_out(request: ChatRequest) -> Message:
    """A request as a message."""
    parts: list[Any] = []
    blobs = []
    for part in request.parts:
        if isinstance(part, Frames):
            table, blob = _pictures_out(part.pictures)
            parts.append(table)
            blobs.append(blob)
        else:
            parts.append(part)
    data = {
        "system": request.system,
        "parts": parts,
        "schema": request.schema,
        "schema_name": request.schema_name,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
    }
    return data, b"".join(blobs)


def request_in(data: Mapping[str, Any], blob: bytes) -> ChatRequest:
    """Inverse of `request_out`."""
    parts: list[str | Frames] = []
    at = 0
    for part in data["parts"]:
        if isinstance(part, str):
            parts.append(part)
        else:
            pictures, at = _pictures_in(part, blob, at)
            parts.append(Frames(pictures))
    return ChatRequest(
        data["system"],
        tuple(parts),
        data["schema"],
        data["schema_name"],
        data["max_tokens"],
        data["temperature"],
        data["seed"],
    )


def _usage_out(usage: Usage) -> list[float]:
    return [usage.requests, usage.retries, usage.tokens_in, usage.tokens_out, usage.images, usage.seconds]


def reply_out(reply: ChatReply) -> dict[str, Any]:
    """A reply as plain data."""
    return {
        "text": reply.text,
        "finish": str(reply.finish),
        "reason": reply.reason,
        "is_retryable": reply.is_retryable,
        "is_unreachable": reply.is_unreachable,
        "usage": _usage_out(reply.usage),
    }


def reply_in(data: Mapping[str, Any]) -> ChatReply:
    """Inverse of `reply_out`."""
    return ChatReply(
        data["text"],
        Finish(data["finish"]),
        data["reason"],
        data["is_retryable"],
        data["is_unreachable"],
        Usage(*data["usage"]),
    )


# ---- clips and captions ---------------------------------------------------------------------------------------------


def clip_out(item: ClipInput) -> Message:
    """What a captioner gets, as a message; without subtitles, which none of those that are hosted reads."""
    table, blob = _pictures_out(item.pictures)
    clip = item.clip
    data = {
        "clip": [clip.id, clip.video_id, clip.span.start_ms, clip.span.end_ms, clip.keyframe_ms, clip.sampled_ms],
        "facts": item.facts.to_json(),
        "pictures": table,
        "kept_ms": item.kept_ms,
    }
    return data, blob


def clip_in(data: Mapping[str, Any], blob: bytes) -> ClipInput:
    """Inverse of `clip_out`."""
    clip_id, video_id, start_ms, end_ms, keyframe_ms, sampled_ms = data["clip"]
    clip = Clip(clip_id, video_id, Span(start_ms, end_ms), keyframe_ms, tuple(sampled_ms))
    pictures, _ = _pictures_in(data["pictures"], blob)
    return ClipInput(clip, PictureFacts.from_json(data["facts"]), (), pictures, tuple(data["kept_ms"]))


def captions_out(made: ClipCaptions) -> dict[str, Any]:
    """A clip's captions as plain data."""
    rows = [
        [
            c.id,
            c.clip_id,
            c.span.start_ms,
            c.span.end_ms,
            c.kind,
            c.text,
            c.outcome,
            c.reason,
            c.backend,
            c.settings_hash,
        ]
        for c in made.captions
    ]
    return {"captions": rows, "usage": _usage_out(made.usage)}


def captions_in(data: Mapping[str, Any]) -> ClipCaptions:
    """Inverse of `captions_out`."""
    captions = tuple(
        Caption(one, clip, Span(start_ms, end_ms), CaptionKind(kind), text, Outcome(outcome), reason, backend, settings)
        for one, clip, start_ms, end_ms, kind, text, outcome, reason, backend, settings in data["captions"]
    )
    return ClipCaptions(captions, Usage(*data["usage"]))
