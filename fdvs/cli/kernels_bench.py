"""`fdvs kernels bench`: how fast sparse attention is on this machine, and what it costs in accuracy."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fdvs.cli.common import JsonOption, note, print_json
from fdvs.kernels.names import require_torch


def bench(
    out: Annotated[Path, typer.Option(help="Folder for kernels.csv, kernels.md and kernels.png.")] = Path(
        "kernels-bench"
    ),
    shape: Annotated[
        list[str] | None,
        typer.Option(help="Head shape: qwen2.5-vl-7b, llama-3.1-8b or tiny. May be repeated; none: what fits here."),
    ] = None,
    length: Annotated[
        list[int] | None, typer.Option(min=1, help="Tokens of a prompt. May be repeated; none: 8K to 256K on a GPU.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:SETTING=VALUE,…]", help="Such as tca:window=1024. May be repeated; none: all."),
    ] = None,
    part: Annotated[
        list[str] | None, typer.Option(help="operator (one layer) or end-to-end (a whole decoder); none: both.")
    ] = None,
    backend: Annotated[str, typer.Option(help="Our own back end: auto, triton, gather, flex or reference.")] = "auto",
    minutes: Annotated[float, typer.Option(min=0, help="Begin no measurement after this; run again to go on.")] = 8.0,
    as_json: JsonOption = False,
) -> int:
    """Measure attention here: speed, kept share and error.

    Planning is part of the time; the fastest dense path of PyTorch is what everything is held against. Stopped, or out
    of time, the same command goes on where it was.
    """
    require_torch()
    from fdvs.kernels.bench.run import PARTS, BenchSettings, run_bench

    settings = BenchSettings(
        shapes=tuple(shape or ()),
        lengths=tuple(length or ()),
        methods=tuple(method or ()),
        parts=tuple(part or PARTS),
        backend=backend,
        minutes=minutes,
    )
    result = run_bench(out, settings, shlex.join(["fdvs", *sys.argv[1:]]), note)
    if as_json:
        rows = [
            asdict(row.case) | {key: value for key, value in asdict(row).items() if key != "case"}
            for row in result.rows
        ]
        print_json({"complete": result.is_complete, "files": [str(path) for path in result.files], "rows": rows})
        return 0
    for path in result.files:
        typer.echo(path)
    if not result.is_complete:
        note(f"{minutes:g} minutes were not enough for everything; the same command goes on from here")
    return 0
