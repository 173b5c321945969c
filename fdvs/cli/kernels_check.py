"""`fdvs kernels check`: whether attention computes here what it should."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from fdvs.cli.common import JsonOption, note, print_json
from fdvs.kernels.names import require_torch

if TYPE_CHECKING:
    from fdvs.kernels.check import Summary


def check(
    backend: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this back end. May be repeated; none: all there are.")
    ] = None,
    dtype: Annotated[
        list[str] | None, typer.Option(metavar="TYPE", help="Only fp32, fp16 or bf16. May be repeated; none: all.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda; empty: a GPU where there is one.")] = "",
    as_json: JsonOption = False,
) -> int:
    """Check every kernel that can run on this machine.

    Each result is compared with the same computation in float64. What cannot run here is named with the reason. Without
    a GPU the Triton kernels run step by step in Python, which shows that they are right, not that they are fast.
    """
    require_torch()
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")  # read once, when Triton is imported: not before this line
    from fdvs.kernels.check import CheckSettings, Finding, summarise
    from fdvs.kernels.check import check as check_all

    settings = CheckSettings(tuple(backend or ()), device, tuple(dtype or ()))
    where = device or (torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu")
    note(f"checking on {where}, torch {torch.__version__}")
    told: set[str] = set()

    def report(finding: Finding) -> None:
        if finding.backend not in told:
            told.add(finding.backend)
            note(f"{finding.backend} …")

    findings = check_all(settings, report)
    num_wrong = sum(one.outcome == "wrong" for one in findings)
    if as_json:
        told_findings = [asdict(one) for one in findings]
        print_json({"device": where, "torch": torch.__version__, "wrong": num_wrong, "findings": told_findings})
    else:
        _print_table(summarise(findings))
        checked = sum(one.outcome != "not run" for one in findings)
        typer.echo(f"{checked - num_wrong} of {checked} right, {num_wrong} wrong")
    return 1 if num_wrong or not any(one.outcome == "right" for one in findings) else 0


def _print_table(rows: list[Summary]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    for name in ("back end", "operation", "type"):
        table.add_column(name, no_wrap=True)
    for name in ("cases", "error", "allowed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for row in rows:
        if row.cases:
            verdict = f"{row.wrong} wrong" if row.wrong else "right"
            table.add_row(
                row.backend, row.operation, row.dtype, str(row.cases), f"{row.error:.1e}", f"{row.allowed:.1e}", verdict
            )
    Console(highlight=False, markup=False, emoji=False).print(table)
    for row in rows:
        if not row.cases:
            typer.echo(f"{row.backend} {row.dtype} cannot run here: {row.reason}")
        elif row.wrong:
            typer.echo(f"WRONG: {row.backend} {row.operation} {row.dtype}: {row.reason}")
