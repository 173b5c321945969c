"""`fdvs kernels calibrate`: what each head of a model needs of a prompt, as budgets for the method tca."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fdvs.cli.common import JsonOption, note, print_json


def calibrate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, or the name of a model that is here.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="File that is written: budgets and retained mass of each head.")
    ] = Path("tca-budgets.json"),
    text: Annotated[
        Path | None, typer.Option(help="Text to measure on; without one and without a video, a log of made-up scenes.")
    ] = None,
    video: Annotated[Path | None, typer.Option(help="Video to measure on, as the model would see it.")] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Length of the text.")] = 16384,
    frames: Annotated[int, typer.Option(min=1, help="Frames of the video, evenly spread.")] = 64,
    target: Annotated[float, typer.Option(min=0, max=1, help="Share of the attention that has to stay.")] = 0.9,
    window: Annotated[int, typer.Option(min=1, help="Newest tokens that are always seen.")] = 4096,
    block: Annotated[int, typer.Option(min=1, help="Tokens of a block; a power of two.")] = 128,
    sinks: Annotated[int, typer.Option(min=0, help="First tokens that are always seen.")] = 4,
    as_json: JsonOption = False,
) -> int:
    """Measure how many tokens each head of a model needs.

    One forward pass. Use the file with --attention tca --attention-set budgets=FILE.
    """
    from fdvs.kernels.methods.budget_file import write_budgets
    from fdvs.kernels.methods.selection import Selection
    from fdvs.kernels.plugs.transformers.calibrating import Sample, calibrate_model

    sample = Sample(text, video, tokens, frames)
    note(f"measuring {model} on {'a film' if video else 'a text'}, in one dense forward pass")
    budgets = calibrate_model(
        model, sample, target=target, window=window, selection=Selection(block=block), sinks=sinks
    )
    write_budgets(budgets, output)
    rows: list[dict[str, Any]] = [
        {
            "layer": layer,
            "share": sum(head.share for head in heads) / len(heads),
            "retained_mass": [head.retained_mass for head in heads],
        }
        for layer, heads in sorted(budgets.heads.items())
    ]
    if as_json:
        print_json({"model": budgets.model, "output": str(output), "target": target, "layers": rows})
        return 0
    for row in rows:
        masses = " ".join(f"{mass:.3f}" for mass in row["retained_mass"])
        typer.echo(f"layer {row['layer']:>3}  keeps {row['share']:6.1%}  retained mass of each KV head: {masses}")
    mean = sum(row["share"] for row in rows) / len(rows)
    typer.echo(f"{budgets.model}: {mean:.1%} of the tokens before the window, for a retained mass of {target}")
    typer.echo(f"Use it: --attention tca --attention-set budgets={output} --attention-set window={window}")
    return 0
