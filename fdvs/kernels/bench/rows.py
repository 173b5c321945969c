"""One measurement as one row of a CSV file that a later run goes on from."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fdvs.errors import InputError


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured, and on what: two rows of the same case would be the same measurement."""

    part: str
    shape: str
    length: int
    method: str
    backend: str
    dtype: str
    device: str
    versions: str


@dataclass(frozen=True, slots=True)
class Row:
    """A case and what came out.

    Attributes:
        plan_ms: median time of planning alone.
        run_ms_20, run_ms_50, run_ms_80: quantiles of attention under the plan, or of a step, or of a whole prompt.
        total_ms: planning and attention together, medians.
        dense_ms: the fastest dense path of the same run, for the same work.
        speedup: dense_ms / total_ms.
        kept_share: pairs computed, over those of causal attention.
        retained_mass: attention weight on tokens seen as they are, on these inputs.
        cache_share: entries that decoding reads, over tokens.
        error_of_kernel, error_of_method: relative L2 against float64 under the same plan, and against dense attention.
        peak_mib: memory at the highest point, of the device.
        status: "ok", or why nothing was measured.
    """

    case: Case
    plan_ms: float | None = None
    run_ms_20: float | None = None
    run_ms_50: float | None = None
    run_ms_80: float | None = None
    total_ms: float | None = None
    dense_ms: float | None = None
    speedup: float | None = None
    kept_share: float | None = None
    retained_mass: float | None = None
    cache_share: float | None = None
    error_of_kernel: float | None = None
    error_of_method: float | None = None
    peak_mib: float | None = None
    status: str = "ok"

    def flat(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "case"}
        return asdict(self.case) | {name: _short(value) for name, value in values.items()}


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


COLUMNS = tuple(Row(Case("", "", 0, "", "", "", "", "")).flat())


class Ledger:
    """The rows of a file: those of earlier runs, and new ones as they come, each written at once."""

    def __init__(self, path: Path) -> None:
        """Reads what is there.

        Raises:
            InputError: the file has other columns, so it is of another program or version.
        """
        self.path = path
        self.rows = _read(path)

    def find(self, case: Case) -> Row | None:
        return next((row for row in self.rows if row.case == case), None)

    def add(self, row: Row) -> Row:
        is_new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if is_new:
                writer.writeheader()
            writer.writerow({name: "" if value is None else value for name, value in row.flat().items()})
        self.rows.append(row)
        return row


def _read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise InputError(f"{path} has other columns than this version writes; move it away or name another folder")
        return [_row_of(line) for line in reader if None not in line.values()]  # a line cut short is measured again


def _row_of(line: dict[str, str]) -> Row:
    of_case = {field.name: line[field.name] for field in fields(Case)}
    case = Case(**(of_case | {"length": int(of_case["length"])}))  # type: ignore[arg-type]
    numbers = {
        field.name: float(line[field.name]) if line[field.name] else None
        for field in fields(Row)
        if field.name not in {"case", "status"}
    }
    return Row(case, status=line["status"], **numbers)
