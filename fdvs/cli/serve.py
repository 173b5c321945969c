"""`fdvs serve`: a vLLM server on this machine, with settings for this work, for as long as the command runs."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fdvs.cli.common import Terminated, note
from fdvs.errors import InputError, UsageError

if TYPE_CHECKING:
    from fdvs.kernels.plugs.vllm.asked import Asked

Decode = Literal["dense", "reduced"]


def serve(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder of a model, or its name in the local cache.")],
    extra: Annotated[
        list[str] | None, typer.Argument(metavar="[-- VLLM-OPTION...]", help="Further options of vLLM, after --.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen at; only this machine's own.")] = "127.0.0.1",
    max_model_len: Annotated[
        int, typer.Option(min=0, help="Tokens of request and reply together; 0: the model's bound, at most 16384.")
    ] = 0,
    max_num_seqs: Annotated[
        int, typer.Option(min=0, help="Requests computed at once; 0: 64 on a GPU, 4 on a CPU.")
    ] = 0,
    gpu_memory: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Part of the GPU's memory it may take; 0: vLLM's own choice.")
    ] = 0.0,
    served_name: Annotated[str, typer.Option(help="Name that requests call the model by.")] = "",
    api_key_file: Annotated[
        Path | None, typer.Option(help="File with the key that requests must bring; without one, a new key is made.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until it must be ready.")] = 900.0,
    log: Annotated[Path | None, typer.Option(help="File for what the server prints; without one, a new one.")] = None,
    attention: Annotated[
        str,
        typer.Option(metavar="METHOD", help="Sparse attention to prompts: tca, cca, dga, lca, …; empty: vLLM's own."),
    ] = "",
    attention_set: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A setting of the method, or dense_below, sinks; repeatable."),
    ] = None,
    attention_decode: Annotated[
        Decode, typer.Option(help="What a token being written attends to: all, or what the method keeps.")
    ] = "dense",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the command that would be run.")] = False,
) -> int:
    """Serve a model to fdvs build and fdvs ask.

    Starts vLLM, waits until it answers, prints the line to use it, and ends it with Ctrl-C.
    """
    import shlex

    from fdvs.chat.local import find_model
    from fdvs.kernels.choice import choice_of
    from fdvs.serving.attention import attention_to_ask_for, prove
    from fdvs.serving.command import (
        ServeOptions,
        base_url,
        check,
        command_line,
        environment,
        line_to_use,
        longest_request,
    )
    from fdvs.serving.installed import installed_vllm
    from fdvs.serving.model import served_model
    from fdvs.serving.server import Server, check_port, free_port

    options = ServeOptions(host, port, max_model_len, max_num_seqs, gpu_memory, tuple(extra or ()))
    check(options)
    label, folder = find_model(model)
    served = served_model(served_name or label, folder)
    vllm = installed_vllm()
    if port:
        check_port(host, port)
    longest = longest_request(served, options)
    asked = None
    if attention:
        choice = choice_of(attention, attention_set or [])
        asked = attention_to_ask_for(choice, attention_decode, vllm.version, longest)
    elif attention_set:
        raise UsageError("--attention-set is a setting of --attention METHOD, which is missing")
    port = port or free_port(host)
    options = ServeOptions(host, port, max_model_len, max_num_seqs, gpu_memory, options.extra, asked)
    command = command_line(vllm, served, options)
    if dry_run:
        shown = environment(vllm, options, "...", {})
        assigned = (f"{name}={shlex.quote(value)}" for name, value in shown.items())
        typer.echo(" ".join([*assigned, shlex.join(command)]))
        return 0

    key = _key_in(api_key_file) if api_key_file else secrets.token_urlsafe(32)
    path = log.absolute() if log else _new_log(options.port)
    hardware = "CPU" if vllm.is_cpu else "GPU"
    note(f"starting vLLM {vllm.version} ({hardware}) with {served.name} at {base_url(options)}; its log: {path}")
    start = time.monotonic()
    with _reported(asked) as reporting:
        options = replace(options, attention=reporting)
        try:
            with Server(command, environment(vllm, options, key, os.environ), path, base_url(options)) as server:
                server.wait_until_ready(served.name, key, timeout, note)
                if reporting:
                    note(f"attention: {prove(server.url, key, served.name, reporting)}")
                note(f"ready after {time.monotonic() - start:.0f} s; Ctrl-C ends it. To use it:")
                typer.echo(line_to_use(served, options, key, api_key_file))
                server.wait()
        except KeyboardInterrupt:
            return _ended(130, reporting)
        except Terminated:
            return _ended(143, reporting)
    raise AssertionError("a server that runs is waited for")


def _reported(asked: Asked | None) -> AbstractContextManager[Asked | None]:
    if asked is None:
        return nullcontext()
    from fdvs.kernels.plugs.vllm.proof import reported

    return reported(asked)


def _ended(code: int, asked: Asked | None) -> int:
    if asked and asked.report:
        from fdvs.kernels.plugs.vllm.proof import read_reports

        note(f"attention: {read_reports(asked.report).total()}")
    note("fdvs: the server has ended")
    return code


def _key_in(path: Path) -> str:
    try:
        key = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise InputError(f"{path} holds no key: it is not text") from None
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"{path} must hold one key: printable characters on one line")
    return key


def _new_log(port: int) -> Path:
    """Readable by its owner alone: requests that fail leave parts of themselves in it."""
    descriptor, name = tempfile.mkstemp(prefix=f"fdvs-serve-{port}-", suffix=".log")
    os.close(descriptor)
    return Path(name)
