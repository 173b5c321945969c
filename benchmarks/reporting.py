"""How benchmarks end: targets as rows of a table, the result printed, saved, and told by the exit status."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

Gate = tuple[str, float, float, float]  # name, measured, gate, aim: the smaller the better


def gate_rows(gates: Sequence[Gate], form: str) -> list[str]:
    """A Markdown table of targets; `form` formats the measured values."""
    rows = ["| target | measured | gate | aim | |", "| --- | ---: | ---: | ---: | --- |"]
    for name, value, gate, aim in gates:
        verdict = "aim" if value <= aim else "gate" if value <= gate else "MISSED"
        rows.append(f"| {name} | {value:{form}} | {gate:g} | {aim:g} | {verdict} |")
    return rows


def all_hold(gates: Sequence[Gate]) -> bool:
    return all(value <= gate for _, value, gate, _ in gates)


def finish(lines: Sequence[str], held: bool, save: Path | None) -> None:
    """Print, save where asked for, and exit with 1 when a gate does not hold."""
    text = "\n".join(lines)
    print(text)
    if save:
        save.write_text(f"{text}\n", encoding="utf-8")
    sys.exit(0 if held else 1)
