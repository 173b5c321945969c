"""The rows of a run as a table for people and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fdvs.errors import BackendUnavailableError
from fdvs.kernels.bench.rows import Row

HEADINGS = (
    "part",
    "shape",
    "tokens",
    "method",
    "back end",
    "plan ms",
    "run ms",
    "total ms",
    "× dense",
    "kept",
    "mass",
    "cache",
    "error (kernel)",
    "error (method)",
)
PANELS_IN_A_ROW = 2
SPEED_TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)

LEGEND = (
    "Times are medians. *× dense*: the fastest dense path of PyTorch over planning and running together; below 1 is",
    "slower than dense. *kept* is the share of pairs computed, *mass* the attention weight on tokens seen as they are,",
    "*cache* the entries that a step reads over the tokens there were; *errors* are relative L2, of the arithmetic",
    "under the same plan, and of leaving keys out. Inputs are made up (sinks, bright columns, a local band), so mass",
    "and the error of a method are those of such inputs, not of a trained model.",
)


def to_markdown(rows: Sequence[Row], command: str) -> str:
    """A page: where and with what it was measured, and one line a case."""
    if not rows:
        return "Nothing was measured.\n"
    case = rows[0].case
    lines = [
        "# Attention on this machine",
        "",
        f"`{command}` · {case.device} · {case.versions} · {case.dtype}",
        "",
        *LEGEND,
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "| " + " | ".join("---" if place in {0, 1, 3, 4} else "---:" for place in range(len(HEADINGS))) + " |",
    ]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows if row.status == "ok"]
    failed = [row for row in rows if row.status != "ok"]
    if failed:
        lines += ["", "Not measured:", ""]
        lines += [
            f"- {row.case.part}, {row.case.shape}, {row.case.length}, {row.case.method}: {row.status}" for row in failed
        ]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> list[str]:
    case = row.case
    return [
        case.part,
        case.shape,
        str(case.length),
        case.method,
        case.backend,
        *(_number(value, ".3g") for value in (row.plan_ms, row.run_ms_50, row.total_ms)),
        _number(row.speedup, ".2f"),
        *(_number(value, ".1%") for value in (row.kept_share, row.retained_mass, row.cache_share)),
        *(_number(value, ".1e") for value in (row.error_of_kernel, row.error_of_method)),
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Speed against length, one panel a shape and part, one line a method.

    Raises:
        BackendUnavailableError: matplotlib is not installed.
    """
    try:
        from matplotlib import colormaps
        from matplotlib.figure import Figure  # without pyplot: no window, no global state
    except ImportError as error:
        raise BackendUnavailableError("plots need matplotlib: pip install 'fdvs[plots]'") from error
    told = [row for row in rows if row.speedup is not None]
    panels = list(dict.fromkeys((row.case.part, row.case.shape) for row in told))
    lines = list(dict.fromkeys(_line_of(row) for row in told))
    if not panels:
        return
    num_rows = -(-len(panels) // PANELS_IN_A_ROW)
    figure = Figure(figsize=(5 * PANELS_IN_A_ROW + 3.5, 3.8 * num_rows), layout="constrained")
    every = figure.subplots(num_rows, PANELS_IN_A_ROW, squeeze=False).flat
    for axes, panel in zip(every, panels, strict=False):
        for number, line in enumerate(lines):
            mine = [row for row in told if (row.case.part, row.case.shape) == panel and _line_of(row) == line]
            places = sorted((row.case.length, row.speedup) for row in mine)
            colour = colormaps["tab20"](number % 20)  # the same in every panel
            axes.plot([x for x, _ in places], [y for _, y in places], marker="o", color=colour, label=line)
        lengths = sorted({row.case.length for row in told})
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set(xscale="log", yscale="log", title=", ".join(panel), xlabel="tokens", ylabel="times as fast as dense")
        axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
        axes.minorticks_off()
        low, high = axes.get_ylim()
        ticks = [tick for tick in SPEED_TICKS if low <= tick <= high]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    for axes in every:  # panels that nothing is left for
        axes.remove()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8)
    figure.savefig(path)


def _line_of(row: Row) -> str:
    return f"{row.case.method}, {row.case.backend}"
