"""What a server sent, understood: the model's words or why there are none. Nothing a server sends is trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fdvs.chat.base import Finish

MAX_REPLY_BYTES = 4 << 20
"""Of one reply's body; more is not read."""

_MAX_REASON = 240  # characters
_MAX_PLAIN = 2000  # bytes of an error that is no JSON
_ECHO = 16  # characters of the request in a row that a message may not repeat
_TOKEN_BOUND = 1 << 40

_FINISHES = {
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "content_filter": Finish.REFUSED,
    "safety": Finish.REFUSED,
    "refusal": Finish.REFUSED,
    "error": Finish.FAILED,
    "abort": Finish.FAILED,
}
_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_SECRETS = re.compile(r"\b(?:sk|pk|hf)[-_][\w.*-]{6,}|[A-Za-z0-9+/=_-]{48,}")


@dataclass(frozen=True, slots=True)
class Said:
    """What one response comes to, before retries: as `ChatReply`."""

    text: str
    finish: Finish
    reason: str = ""
    is_retryable: bool = False
    tokens_in: int = 0
    tokens_out: int = 0


def failed(reason: str, *, is_retryable: bool = False) -> Said:
    return Said("", Finish.FAILED, reason, is_retryable)


def understood(body: bytes) -> Said:
    """The outcome in the body of a response with status 200."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        looks_like = "a web page" if body[:512].lstrip()[:1] == b"<" else "no JSON"
        return failed(f"the server's reply is {looks_like}", is_retryable=True)
    if not isinstance(data, Mapping):
        return failed("the server's reply is no chat completion")
    choices = data.get("choices")
    if not (isinstance(choices, list) and choices and isinstance(choices[0], Mapping)):
        if data.get("error"):
            return failed(f"the server reports an error: {message_in(data)}".rstrip(": "), is_retryable=True)
        return failed("the server's reply holds no choice")
    message = choices[0].get("message")
    said = _outcome(message if isinstance(message, Mapping) else {}, choices[0].get("finish_reason"))
    tokens_in, tokens_out = _tokens(data.get("usage"))
    return Said(said.text, said.finish, said.reason, said.is_retryable, tokens_in, tokens_out)


def _outcome(message: Mapping[str, Any], reason: object) -> Said:
    finish = _FINISHES.get(reason.lower(), Finish.STOP) if isinstance(reason, str) else Finish.STOP
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal.strip():
        return Said("", Finish.REFUSED, f"the model refused: {shortened(refusal)}")
    if finish is Finish.REFUSED:
        return Said("", Finish.REFUSED, "the server's content filter stopped the reply")
    if finish is Finish.FAILED:
        return failed("the server broke off the reply", is_retryable=True)
    text = _content(message.get("content"))
    words = without_thought(text)
    return Said(words, finish) if words.strip() else failed(_why_empty(message, text, finish))


def _why_empty(message: Mapping[str, Any], text: str, finish: Finish) -> str:
    if text.strip() or any(message.get(name) for name in ("reasoning_content", "reasoning")):
        return "the model only thought and wrote no reply; allow more tokens or turn its thinking off"
    return "the reply is empty" + (" and was cut by the limit of tokens" if finish is Finish.LENGTH else "")


def _content(content: object) -> str:
    """A message's text; parts are joined. Empty where it is in no known form."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        content = "".join(text for text in texts if isinstance(text, str))
    # JSON can spell half a surrogate pair, which no file and no database takes.
    return content.encode("utf-8", "replace").decode("utf-8") if isinstance(content, str) else ""


def without_thought(text: str) -> str:
    """`text` without the thinking before it, empty where the thinking never ends.

    Some chat templates begin the thinking themselves, so that only its end is in the reply.
    """
    if (thought := _THOUGHT.match(text)) is not None:
        return text[thought.end() :].lstrip()
    if text.lstrip().startswith("<think>"):
        return ""
    before, end, after = text.partition("</think>")
    return after.lstrip() if end and "<think>" not in before else text


def _tokens(usage: object) -> tuple[int, int]:
    if not isinstance(usage, Mapping):
        return 0, 0
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    tokens_in, tokens_out = (n if type(n) is int and 0 <= n < _TOKEN_BOUND else 0 for n in counts)
    return tokens_in, tokens_out


def message_in(data: object, limit: int = _MAX_REASON) -> str:
    """The words of an error as servers spell one, shortened; only fields that hold the server's own words."""
    if not isinstance(data, Mapping):
        return ""
    error = data.get("error", data)
    if isinstance(error, str):
        return shortened(error, limit)
    if not isinstance(error, Mapping):
        return ""
    for name in ("message", "msg", "detail"):
        told = error.get(name)
        if isinstance(told, str) and told.strip():
            return shortened(told, limit)
        if isinstance(told, list):  # checks of fields; `input` beside them repeats what was sent
            found = [one for one in told if isinstance(one, Mapping)]
            return shortened("; ".join(f"{_path(one.get('loc'))}: {one.get('msg')}" for one in found), limit)
    return ""


def _path(loc: object) -> str:
    return ".".join(str(step) for step in loc) if isinstance(loc, list | tuple) else ""


def code_in(data: object) -> str:
    """The short name of an error (`insufficient_quota`), empty where there is none."""
    error = data.get("error") if isinstance(data, Mapping) else None
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if isinstance(code, str) else ""


def error_in(body: bytes) -> object:
    """An error response's body as data: JSON, or a plain line of text as an error's message; None for a web page."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        text = body[:_MAX_PLAIN].decode("utf-8", "replace").strip()
        return {"error": text} if text and not text.startswith("<") else None


def shortened(text: str, limit: int = _MAX_REASON) -> str:
    """`text` on one line, printable, of at most `limit` characters."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def clean_of(text: str, key: str, sent: str) -> str:
    """`text` without keys and without what it repeats of the request `sent`; each is replaced by `…`."""
    text = _SECRETS.sub("…", text.replace(key, "…") if key else text)
    kept, place = [], 0
    while place < len(text):
        end = place + _ECHO
        if end <= len(text) and text[place:end] in sent:
            while end < len(text) and text[place : end + 1] in sent:
                end += 1
            kept.append("…")
            place = end
        else:
            kept.append(text[place])
            place += 1
    return "".join(kept)
