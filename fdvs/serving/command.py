"""How vLLM is started for this work: its command line and its environment. Pure functions; starts nothing."""

from __future__ import annotations

import ipaddress
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fdvs.errors import UsageError
from fdvs.serving.installed import Vllm
from fdvs.serving.model import ServedModel

if TYPE_CHECKING:
    from fdvs.kernels.plugs.vllm.asked import Asked

MAX_CONTEXT_TOKENS = 16384
"""Tokens of request and reply together, unless more is asked for: a clip, a scene or a question needs far fewer, and
what the longest request may take must fit into the cache before the server starts."""

PICTURES_PER_REQUEST = 64
SEQUENCES_ON_GPU = 64
SEQUENCES_ON_CPU = 4
CPU_CACHE_GIB = 4

# Ours to set: who may connect, with which key, and the name that requests use.
_RESERVED = ("--host", "--port", "--api-key", "--served-model-name", "--model", "--uds", "--root-path", "--grpc")


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the user may choose of a server.

    Attributes:
        host: an address of this machine alone.
        port: 1..65535.
        max_model_len: tokens of request and reply together; 0: the model's own bound, at most `MAX_CONTEXT_TOKENS`.
        max_num_seqs: requests computed at once; 0: what suits the hardware.
        gpu_memory: part of the GPU's memory (on a CPU build: of the machine's) it takes, 0..1; 0: vLLM's own choice.
        extra: further options of vLLM, which win over ours.
        attention: sparse attention in place of vLLM's own; None: vLLM's own.
    """

    host: str = "127.0.0.1"
    port: int = 0
    max_model_len: int = 0
    max_num_seqs: int = 0
    gpu_memory: float = 0.0
    extra: tuple[str, ...] = ()
    attention: Asked | None = None


def check(options: ServeOptions) -> None:
    """UsageError where an option cannot be, or would open the server to others."""
    if not _is_loopback(options.host):
        raise UsageError(
            f"--host must be an address of this machine alone, such as 127.0.0.1, got {options.host!r}; "
            "from elsewhere, reach it through a tunnel: ssh -L PORT:127.0.0.1:PORT THIS-MACHINE"
        )
    if not 0 <= options.gpu_memory <= 1:
        raise UsageError(f"--gpu-memory must lie in (0, 1], got {options.gpu_memory}")
    if options.extra and not options.extra[0].startswith("-"):
        raise UsageError(f"one MODEL is served; options of vLLM follow after --, got {options.extra[0]!r}")
    for word in options.extra:
        name = word.partition("=")[0].replace("_", "-")
        # vLLM takes a part of an option's name for the whole: --hos is --host.
        if name.startswith("--") and len(name) > 2 and any(reserved.startswith(name) for reserved in _RESERVED):
            raise UsageError(f"{name} cannot be passed on to vLLM: fdvs serve sets it")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def command_line(vllm: Vllm, model: ServedModel, options: ServeOptions) -> list[str]:
    """The command that starts the server. Carries no key: every user of a machine sees command lines."""
    words = [sys.executable, "-P", *vllm.launch(), *_who_and_where(model, options), *_for_stories(vllm, model, options)]
    return [*words, *options.extra]


def _who_and_where(model: ServedModel, options: ServeOptions) -> list[str]:
    words = ["--model", str(model.folder), "--served-model-name", model.name]
    return [*words, "--host", options.host, "--port", str(options.port)]


def _for_stories(vllm: Vllm, model: ServedModel, options: ServeOptions) -> list[str]:
    """Settings that suit this work; docs/serving.md says why each. What an older vLLM lacks is left out."""
    longest = longest_request(model, options)
    at_once = options.max_num_seqs or (SEQUENCES_ON_CPU if vllm.is_cpu else SEQUENCES_ON_GPU)
    wanted: list[tuple[str, str | None]] = [
        ("--max-model-len", str(longest)),
        ("--max-num-seqs", str(at_once)),
        *(_for_attention(vllm, longest, at_once) if options.attention else _for_reuse()),
        ("--generation-config", "vllm"),  # the model's own sampling defaults would make replies differ
        ("--seed", "0"),
        ("--enable-prompt-tokens-details", None),  # says how much of a request was in the cache
        ("--disable-uvicorn-access-log", None),
    ]
    if model.sees:
        wanted += [
            ("--limit-mm-per-prompt", json.dumps({"image": PICTURES_PER_REQUEST, "video": 1})),
            ("--trust-request-mm-kwargs", None),  # lets us say at which times the frames of a clip lie
            ("--mm-processor-cache-gb", "1" if vllm.is_cpu else "4"),
        ]
    if options.gpu_memory:
        wanted.append(("--gpu-memory-utilization", str(options.gpu_memory)))
    if vllm.is_cpu:
        wanted.append(("--enforce-eager", None))
    return [word for option, value in wanted if vllm.knows(option) for word in (option, value) if word is not None]


def longest_request(model: ServedModel, options: ServeOptions) -> int:
    """Tokens of request and reply together that the server will take."""
    return options.max_model_len or min(MAX_CONTEXT_TOKENS, model.context_tokens or MAX_CONTEXT_TOKENS)


def _for_reuse() -> list[tuple[str, str | None]]:
    return [
        ("--enable-prefix-caching", None),  # a video that was seen is not computed again for the next question
        ("--enable-chunked-prefill", None),  # a long video does not hold up the replies of others
    ]


def _for_attention(vllm: Vllm, longest: int, at_once: int) -> list[tuple[str, str | None]]:
    """What planned attention asks of vLLM: each prompt whole, and nothing of one in another."""
    whole: list[tuple[str, str | None]] = [
        ("--no-enable-prefix-caching", None),
        ("--no-enable-chunked-prefill", None),
        ("--max-num-batched-tokens", str(max(longest, at_once))),
    ]
    return whole if vllm.is_cpu else [*whole, ("--attention-backend", "CUSTOM")]


def environment(vllm: Vllm, options: ServeOptions, key: str, outer: Mapping[str, str]) -> dict[str, str]:
    """The server's environment: `outer` with the key, and with nothing that asks the network for anything."""
    from fdvs.kernels.plugs.vllm.asked import VARIABLE

    ours = {
        "VLLM_API_KEY": key,
        "VLLM_HOST_IP": "127.0.0.1",  # its own processes also talk to each other on this machine alone
        "HF_HUB_OFFLINE": "1",  # the model is a folder here
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    suggested = {"PYTHONUNBUFFERED": "1"}
    if vllm.is_cpu:
        suggested["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        suggested["OMP_NUM_THREADS"] = str(_cores())
        if not options.gpu_memory:
            # Its default is most of the machine's memory, which is rarely free.
            suggested["VLLM_CPU_KVCACHE_SPACE"] = str(CPU_CACHE_GIB)
    if options.attention:
        ours[VARIABLE] = options.attention.to_json()
    # A key of somebody else's server has no business in ours, and attention is what the command line says.
    kept = {name: value for name, value in outer.items() if name not in {"OPENAI_API_KEY", VARIABLE}}
    return suggested | kept | ours


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def line_to_use(model: ServedModel, options: ServeOptions, key: str, key_file: Path | None) -> str:
    """The command, ready to paste, that has this server write stories."""
    import shlex

    shown_key = f'"$(cat {shlex.quote(str(key_file))})"' if key_file else shlex.quote(key)
    url, name = base_url(options) + "/v1", shlex.quote(model.name)
    words = [f"OPENAI_API_KEY={shown_key} fdvs build VIDEOS"]
    if model.sees:
        words.append(f"--captioner openai --captioner-url {url} --captioner-model {name}")
    words.append(f"--writer openai --writer-url {url} --writer-model {name}")
    return " ".join(words)


def base_url(options: ServeOptions) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"http://{host}:{options.port}"
