"""The table and the plot of the proving ground."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.proving_ground.rows import Row, by_setting

TASKS = ("recall", "needles", "copy")
COLUMNS = (
    "| method | trained with it | settings | pairs | + planning | time | cache | retained "
    "| recall | needles | copy | mean | last | later |",
    "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
)


def mean(rows: Sequence[Row], value: Callable[[Row], float]) -> float:
    return sum(value(row) for row in rows) / len(rows)


def table(rows: Sequence[Row]) -> list[str]:
    """A Markdown table, one line for each method and setting; shares and accuracies in per cent."""
    lines = list(COLUMNS)
    for group in by_setting(rows):
        first, tasks = group[0], {row.task: row for row in group}
        cells = [
            first.method,
            "" if first.training == "none" else first.training,
            f"`{first.settings}`" if first.settings else "",
            _percent(mean(group, lambda row: row.kept_share), 1),
            _percent(mean(group, lambda row: row.planning), 1),
            f"{mean(group, lambda row: row.time):.1f}×",
            _percent(mean(group, lambda row: row.kept_entries)),
            _percent(mean(group, lambda row: row.retained)),
            *(_percent(tasks[task].in_prompt) if task in tasks else "" for task in TASKS),
            f"**{_percent(mean(group, lambda row: row.in_prompt))}**",
            _percent(mean(group, lambda row: row.last)),
            f"**{_percent(mean(group, lambda row: row.later))}**",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _percent(value: float, places: int = 0) -> str:
    return f"{100 * value:.{places}f}"


def plot(rows: Sequence[Row], path: Path) -> None:
    """Mean accuracy of the tasks over pairs, planning included: asked in the prompt, and asked later."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "fdvs", "font.size": 8})
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    lines: dict[tuple[str, str], list[list[Row]]] = {}
    for group in by_setting(rows):
        lines.setdefault((group[0].method, group[0].training), []).append(group)
    panels = (
        ("asked in the prompt", lambda row: row.in_prompt),
        ("asked later, over the cache", lambda row: row.later),
    )
    for axis, (title, accuracy) in zip(axes, panels, strict=True):
        for number, ((method, training), groups) in enumerate(lines.items()):
            points = sorted((mean(group, lambda row: row.pairs), mean(group, accuracy)) for group in groups)
            label = method if training == "none" else f"{method}, trained"
            axis.plot(
                [100 * x for x, _ in points],
                [100 * y for _, y in points],
                "--" if training != "none" else "-",
                marker="osv^Dx"[number % 6],
                color=plt.get_cmap("tab20")(number % 20),
                markersize=4,
                linewidth=1,
                label=label,
            )
        axis.set(xscale="log", xlabel="pairs, planning included, % of dense", title=title)
        axis.set_xticks([6, 12.5, 25, 50, 100], labels=["6", "12.5", "25", "50", "100"])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("right answers, %, mean of three tasks")
    axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
