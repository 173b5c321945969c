"""Asking a server that runs whether sparse attention is what it computes with. Nobody else's word counts."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fdvs.errors import ServerError, UsageError

if TYPE_CHECKING:
    from fdvs.kernels.choice import AttentionChoice
    from fdvs.kernels.plugs.vllm.asked import Asked
    from fdvs.kernels.plugs.vllm.proof import Seen

REPLY_WITHIN_S = 600.0
ATTEMPTS = 3
_SOME_TOKENS = 64

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
    from fdvs.kernels.plugs.vllm.plugin import adapter_of

    adapter_of(version)
    method = open_method(choice.method, **dict(choice.settings))
    if decode == "reduced" and method.cache() is None:
        raise UsageError(f"{choice.method} keeps every token for writing: leave --attention-decode at dense")
    if length_of_proof(choice) + 2 > longest:
        raise UsageError(
            f"prompts below {choice.dense_below} tokens are attended to in full, and a request has at most {longest}: "
            "raise --max-model-len, or lower it with --attention-set dense_below=TOKENS"
        )
    return Asked(choice, decode)


@contextlib.contextmanager
def reported(asked: Asked | None) -> Iterator[Asked | None]:
    """The same, told to report into a folder that is there for the block and that its owner alone can read.

    A server that ends in the block because our attention cannot run in it has said why in its report, and its log ends
    with what came of that: the error that leaves the block begins with the reason.
    """
    if asked is None:
        yield None
        return
    from fdvs.kernels.plugs.vllm.proof import read_reports

    with tempfile.TemporaryDirectory(prefix="fdvs-attention-", ignore_cleanup_errors=True) as folder:
        try:
            yield replace(asked, report=Path(folder))
        except ServerError as error:
            refusals = read_reports(Path(folder)).refusals
            if not refusals:
                raise
            raise ServerError(f"{refusals[0]}\n{error}") from error


def summary(asked: Asked) -> str:
    """What was planned in all, for people."""
    from fdvs.kernels.plugs.vllm.proof import read_reports

    assert asked.report is not None, "nothing was reported"
    return read_reports(asked.report).total()


def length_of_proof(choice: AttentionChoice) -> int:
    """Tokens of the prompt that shows whether a method plans: a few more than those it leaves alone."""
    return max(choice.dense_below, 2) + _SOME_TOKENS


def prove(url: str, key: str, model: str, asked: Asked) -> Seen:
    """Let the server attend to one prompt of our own, and see in its processes' reports that a method planned it.

    Args:
        url: of the server, without `/v1`.

    Raises:
        ServerError: it did not, with the reason; or it did not answer.
    """
    from fdvs.kernels.plugs.vllm.proof import read_reports

    assert asked.report is not None, "without reports nothing can be proven"
    before = read_reports(asked.report)
    token = _post(url, "/tokenize", key, {"model": model, "prompt": " a", "add_special_tokens": False})["tokens"][-1]
    prompt = {
        "model": model,
        "prompt": [int(token)] * length_of_proof(asked.choice),
        "max_tokens": 2,
        "ignore_eos": True,
        "temperature": 0,
    }
    for _ in range(ATTEMPTS):
        _post(url, "/v1/completions", key, prompt)
        seen = read_reports(asked.report)
        if seen.planned_calls > before.planned_calls:
            return seen
        time.sleep(0.6)  # the reports are not written at every step
    raise ServerError(f"asked for attention {asked.choice.words()}, and it does not run: {seen.what_is_wrong()}")


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
