"""Results, one row for each method, setting and task, kept in a file so that a run can go on where one stopped."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

CSV_PLACES = 4


@dataclass(frozen=True, slots=True)
class Row:
    """One method with one setting on one task.

    Attributes:
        method: the method and its variant.
        training: `none`, or the steps of fine-tuning with the method in place.
        settings: in words.
        target: the share of pairs that the setting was chosen for.
        task, length, sequences: what was asked.
        in_prompt, last, later, retained, kept_entries: see `evaluation.Answers`.
        kept_share, planning, planning_ms, attention_ms, dense_ms: see `evaluation.Cost`.
    """

    method: str
    training: str
    settings: str
    target: float
    task: str
    length: int
    sequences: int
    in_prompt: float
    last: float
    later: float
    retained: float
    kept_entries: float
    kept_share: float
    planning: float
    planning_ms: float
    attention_ms: float
    dense_ms: float

    @property
    def key(self) -> tuple[str, ...]:
        return (self.method, self.training, self.settings, self.task, str(self.length), str(self.sequences))

    @property
    def pairs(self) -> float:
        return self.kept_share + self.planning

    @property
    def time(self) -> float:
        return (self.planning_ms + self.attention_ms) / self.dense_ms


class RowFile:
    """Rows of one trained model, one JSON line each, written as they come."""

    def __init__(self, path: Path, model: str) -> None:
        self._path, self._model = path, model
        self.rows: list[Row] = []
        if path.exists():
            lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
            told = [Row(**line["row"]) for line in lines if line["model"] == model]
            self.rows = list({row.key: row for row in told}.values())  # two runs at once may have measured the same

    def has(self, key: tuple[str, ...]) -> bool:
        return any(row.key == key for row in self.rows)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"model": self._model, "row": asdict(row)}) + "\n")


def write_csv(rows: Iterable[Row], path: Path) -> None:
    """All rows, floats to four places."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(Row)])
        for row in rows:
            values = asdict(row).values()
            writer.writerow([round(value, CSV_PLACES) if isinstance(value, float) else value for value in values])


def by_setting(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of one method and setting together, in the order they first came, tasks in the order of the first."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.method, row.training, row.settings), []).append(row)
    return list(groups.values())
