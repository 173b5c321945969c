"""Asking a server that runs whether sparse attention is what it computes with. Nobody else's word counts."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Literal

from fdvs.errors import ServerError, UsageError

if TYPE_CHECKING:
    from fdvs.kernels.choice import AttentionChoice
    from fdvs.kernels.plugs.vllm.asked import Asked

REPLY_WITHIN_S = 600.0

# No proxy of the environment stands between us and this machine.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def attention_to_ask_for(
    choice: AttentionChoice, decode: Literal["dense", "reduced"], version: str, longest: int
) -> Asked:
    """What a server of this vLLM will be asked for; everything that can be known before it is started is checked.

    Args:
        longest: tokens of its longest request.

    Raises:
        BackendUnavailableError: this vLLM is none that our attention knows, or torch is missing.
        UsageError: the method or a setting cannot be, or no request could be long enough.
    """
    from fdvs.kernels.names import open_method
    from fdvs.kernels.plugs.vllm.asked import Asked
    from fdvs.kernels.plugs.vllm.fitting import why_it_does_not_fit
    from fdvs.kernels.plugs.vllm.plugin import adapter_of
    from fdvs.kernels.plugs.vllm.proof import length_of_proof

    adapter_of(version)
    method = open_method(choice.method, **dict(choice.settings))
    if reason := why_it_does_not_fit(method):
        raise UsageError(reason)
    if decode == "reduced" and method.cache() is None:
        raise UsageError(f"{choice.method} keeps every token for writing: leave --attention-decode at dense")
    if length_of_proof(choice) + 2 > longest:
        raise UsageError(
            f"prompts below {choice.dense_below} tokens are attended to in full, and a request has at most {longest}: "
            "raise --max-model-len, or lower it with --attention-set dense_below=TOKENS"
        )
    return Asked(choice, decode)


def prove(url: str, key: str, model: str, asked: Asked) -> str:
    """Let the server attend to one prompt of our own, and see that a method planned it. Returns what to tell people.

    Args:
        url: of the server, without `/v1`.

    Raises:
        BackendUnavailableError: none did; the message says why.
        ServerError: it does not answer.
    """
    from fdvs.kernels.plugs.vllm.proof import proven

    word = {"model": model, "prompt": " a", "add_special_tokens": False}
    token = int(_post(url, "/tokenize", key, word)["tokens"][-1])
    rest = {"model": model, "max_tokens": 2, "ignore_eos": True, "temperature": 0}
    return proven(asked, lambda length: _post(url, "/v1/completions", key, {"prompt": [token] * length, **rest}))


def _post(url: str, path: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)  # noqa: S310  our own http address
    try:
        with _open(request, timeout=REPLY_WITHIN_S) as reply:
            answer: dict[str, Any] = json.load(reply)
            return answer
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(500).decode(errors="replace")
        raise ServerError(f"whether its attention is sparse cannot be asked: {path}: {error}: {said}") from error
    except (OSError, ValueError) as error:
        raise ServerError(f"whether its attention is sparse cannot be asked: {path}: {error}") from error
