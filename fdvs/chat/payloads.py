"""A request as JSON, in the dialect that the server takes."""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fdvs.chat.base import ChatRequest, Frames
from fdvs.chat.dialects import Binding, Dialect, Media
from fdvs.records import TimedPicture, clock

Json = dict[str, Any]

_TICKS_PER_SECOND = 1000  # frame numbers in milliseconds: any true time is exact
_FRAMES_WITHOUT_KWARGS = 32  # vLLM takes no more of a list of frames unless it is told to


def body_of(request: ChatRequest, model: str, dialect: Dialect) -> bytes:
    """The body of a chat completion request.

    Pictures are most of it and need no escaping, so they are put between the JSON of the rest instead of through it.
    """
    body: Json = {
        "model": model,
        "max_tokens" if dialect.old_limit else "max_completion_tokens": request.max_tokens,
    }
    if dialect.sampling:
        body |= {"temperature": request.temperature, "seed": request.seed}
    if request.schema is not None and dialect.binding is Binding.JSON_SCHEMA:
        body["response_format"] = {"type": "json_schema", "json_schema": _named_schema(request)}
    elif request.schema is not None and dialect.binding is Binding.JSON_OBJECT:
        body["response_format"] = {"type": "json_object"}
    timed = [part for part in request.parts if isinstance(part, Frames) and _media(part, dialect) is Media.TIMED_VIDEO]
    if timed:
        body["media_io_kwargs"] = {"video": frame_times(timed[0].pictures)}
    return b"".join((_json(body)[:-1], b',"messages":[', b",".join(_messages(request, dialect)), b"]}"))


def _messages(request: ChatRequest, dialect: Dialect) -> Iterator[bytes]:
    if system := _system(request, dialect):
        yield _json({"role": "system", "content": system})
    if request.parts:
        yield b'{"role":"user","content":' + _content(request, dialect) + b"}"


def has_video(request: ChatRequest) -> bool:
    """True when a part of it can be sent as video: several pictures."""
    return any(isinstance(part, Frames) and len(part.pictures) > 1 for part in request.parts)


def frame_times(pictures: Sequence[TimedPicture]) -> Json:
    """What a server is told of a list of frames: all are to be kept, and when each was shown.

    The clock of the video begins with its first frame, so that equal pictures make equal requests. The last frame lasts
    as long as the others do on average. Servers want at least as many ticks as frames.
    """
    start_ms = pictures[0].time_ms
    times = [picture.time_ms - start_ms for picture in pictures]
    duration_ms = max(round(times[-1] * len(times) / (len(times) - 1)), times[-1] + 1, len(times))
    return {
        "num_frames": -1,
        "fps": _TICKS_PER_SECOND,
        "frames_indices": times,
        "total_num_frames": duration_ms,
        "duration": duration_ms / 1000,
    }


def _system(request: ChatRequest, dialect: Dialect) -> str:
    """The rules; where a server cannot be bound to a schema, the schema is among them."""
    if request.schema is None or dialect.binding is Binding.JSON_SCHEMA:
        return request.system
    schema = json.dumps(request.schema, ensure_ascii=False, separators=(",", ":"))
    rule = f"Reply with one JSON object that is valid under this JSON Schema, and with nothing else: {schema}"
    return f"{request.system}\n\n{rule}" if request.system else rule


def _named_schema(request: ChatRequest) -> Json:
    named: Json = {"name": request.schema_name, "schema": request.schema}
    if _is_closed(request.schema):
        named["strict"] = True  # hosted servers bind a model only then, and only to schemas that leave nothing open
    return named


def _is_closed(schema: object) -> bool:
    """True when every object in a schema requires all its properties and allows no others."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "object":
            properties = schema.get("properties", {})
            if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties):
                return False
        return all(_is_closed(value) for value in schema.values())
    if isinstance(schema, list | tuple):
        return all(_is_closed(value) for value in schema)
    return True


def _content(request: ChatRequest, dialect: Dialect) -> bytes:
    if all(isinstance(part, str) for part in request.parts):
        # Plain text: servers of models without eyes often take no list of parts.
        return _json("\n\n".join(str(part) for part in request.parts))
    parts: list[bytes] = []
    for part in request.parts:
        parts += [_text(part)] if isinstance(part, str) else _shown(part, _media(part, dialect))
    return b"[" + b",".join(parts) + b"]"


def _media(frames: Frames, dialect: Dialect) -> Media:
    """How these frames go: one picture is an image; so are frames that a server would thin out unless told not to."""
    count = len(frames.pictures)
    if count < 2 or (dialect.media is Media.VIDEO and count > _FRAMES_WITHOUT_KWARGS):
        return Media.IMAGES
    return dialect.media


def _shown(frames: Frames, media: Media) -> list[bytes]:
    if media is not Media.IMAGES:
        return [_media_part(b"video", frames.pictures)]
    parts: list[bytes] = []
    for picture in frames.pictures:
        image = _media_part(b"image", (picture,))
        parts += [_text(f"Frame at {moment(picture.time_ms)}:"), image] if len(frames.pictures) > 1 else [image]
    return parts


def _media_part(kind: bytes, pictures: Sequence[TimedPicture]) -> bytes:
    data = b",".join(b2a_base64(picture.jpeg, newline=False) for picture in pictures)
    return b'{"type":"%b_url","%b_url":{"url":"data:%b/jpeg;base64,%b"}}' % (kind, kind, kind, data)


def moment(time_ms: int) -> str:
    """A time on the video's time line with tenths of a second: `1:02.5`."""
    return f"{clock(time_ms)}.{time_ms % 1000 // 100}"


def _text(text: str) -> bytes:
    return _json({"type": "text", "text": text})


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")
