"""Budgets as a JSON file: what was measured, on which model, and how."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fdvs.errors import FdvsError, InputError
from fdvs.kernels.methods.budgets import Budgets, HeadBudget
from fdvs.kernels.methods.selection import Selection

KIND = "fdvs attention budgets"
VERSION = 1
"""Raised when a file written today could be misread by yesterday's reader."""


def write_budgets(budgets: Budgets, path: str | Path) -> None:
    """Writes budgets in full; a head's share is written for the reader, its proportions are what counts."""
    record: dict[str, Any] = {
        "kind": KIND,
        "version": VERSION,
        "model": budgets.model,
        "target": budgets.target,
        "window": budgets.window,
        "selection": asdict(budgets.selection),
        "settings": dict(budgets.settings),
    }
    if budgets.shared is not None:
        record["shared"] = _head(budgets.shared)
    else:
        record["layers"] = {
            str(layer): [_head(head) for head in budgets.heads[layer]] for layer in sorted(budgets.heads)
        }
    Path(path).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_budgets(path: str | Path, *, model: str | None = None) -> Budgets:
    """Inverse of `write_budgets`.

    Args:
        model: name of the model they are wanted for. None: any; then only the number of heads tells a wrong file, and
            only when a layer is planned.

    Raises:
        InputError: the file cannot be read, is of another kind, version or model, or contradicts itself.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read budgets from {path}: {error}") from error
    except ValueError as error:
        raise InputError(f"budgets in {path} are no JSON: {error}") from error
    if not isinstance(record, dict) or record.get("kind") != KIND:
        raise InputError(f"{path} holds no attention budgets; `fdvs kernels calibrate` writes such files")
    if record.get("version") != VERSION:
        raise InputError(f"budgets in {path} are of version {record.get('version')}; this fdvs reads {VERSION}")
    if model is not None and record.get("model") != model:
        raise InputError(f"budgets in {path} were measured on {record.get('model')}, not on {model}: calibrate again")
    try:
        return Budgets(
            selection=Selection(**record["selection"]),
            heads={
                int(layer): [_read_head(head) for head in heads] for layer, heads in record.get("layers", {}).items()
            },
            shared=_read_head(record["shared"]) if "shared" in record else None,
            window=record["window"],
            target=record["target"],
            model=record["model"],
            settings=record["settings"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = str(error) if isinstance(error, FdvsError) else f"{type(error).__name__}: {error}"
        raise InputError(f"budgets in {path} are damaged: {said}") from error


def _head(budget: HeadBudget) -> dict[str, Any]:
    return {
        "share": budget.share,
        "retained_mass": budget.retained_mass,
        "proportions": list(budget.proportions),
    }


def _read_head(record: dict[str, Any]) -> HeadBudget:
    budget = HeadBudget(tuple(float(p) for p in record["proportions"]), record["retained_mass"])
    if not math.isclose(budget.share, record["share"], abs_tol=1e-6):
        raise InputError(f"a head is said to keep {record['share']}, but its proportions keep {budget.share}")
    return budget
