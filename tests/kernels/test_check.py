"""`fdvs kernels check` finds what is wrong, and says what cannot run and why."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fdvs.errors import InputError, UnknownBackendError
from fdvs.kernels import check as module
from fdvs.kernels.check import CheckSettings, Finding, check, summarise
from fdvs.kernels.gather import GatherOps
from fdvs.kernels.plans import Attended, Plan
from fdvs.kernels.samples import PLAN_KINDS, TILED, Shape, sample
from fdvs.kernels.tolerance import judge
from tests.cli.commands import fdvs


class OffByOneKey(GatherOps):
    """A back end whose bands end one key too early."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: Plan, *, scale: float | None = None) -> Attended:
        shifted = Plan(plan.q_positions - 1, plan.band_start, plan.pooled, plan.selected, plan.tiles, plan.is_remainder)
        return super().attend(q, k, v, shifted, scale=scale)


class Failing(GatherOps):
    def merge(self, parts: Any) -> Attended:
        raise RuntimeError("out of shared memory\nand so on")


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WIDE", (Shape(1, 4, 2, 5, 17, 16),))
    monkeypatch.setattr(module, "SMALL", (Shape(1, 2, 1, 3, 9, 16),))


@pytest.mark.usefixtures("_small")
def test_what_is_right_is_right_in_every_type() -> None:
    findings = check(CheckSettings(("gather",), "cpu"))
    assert {one.outcome for one in findings} == {"right"}
    assert {one.dtype for one in findings} == {"fp32", "fp16", "bf16"}
    operations = {one.operation for one in findings}
    assert {"attend permuted", "decode, merge", "pool", "column scores", "top-k, compact"} <= operations


@pytest.mark.usefixtures("_small")
def test_a_back_end_without_tiles_is_not_asked_for_them() -> None:
    findings = check(CheckSettings(("rows",), "cpu", ("fp32",)))
    assert {one.outcome for one in findings} == {"right"}
    assert not any(one.operation.removeprefix("attend ") in TILED for one in findings)
    assert all((sample(kind, Shape()).plan.tiles is not None) == (kind in TILED) for kind in PLAN_KINDS)


@pytest.mark.usefixtures("_small")
def test_a_wrong_key_and_a_failing_kernel_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "open_ops", lambda name: {"early": OffByOneKey(), "failing": Failing()}[name])
    findings = check(CheckSettings(("early", "failing"), "cpu", ("fp32",)))
    wrong = {(one.backend, one.operation) for one in findings if one.outcome == "wrong"}
    assert {("early", "attend dense"), ("early", "attend band"), ("failing", "decode, merge")} <= wrong
    assert not any(operation == "pool" for _, operation in wrong)
    (failed,) = [one for one in findings if one.backend == "failing" and one.operation == "decode, merge"]
    assert failed.reason == "RuntimeError: out of shared memory"


@pytest.mark.usefixtures("_small")
def test_bfloat16_in_the_interpreter_is_said_once_with_its_reason() -> None:
    pytest.importorskip("triton")
    findings = check(CheckSettings(("triton",), "cpu", ("bf16",)))
    assert [(one.operation, one.outcome) for one in findings] == [("all", "not run")]
    assert "bit patterns" in findings[0].reason


def test_a_row_shows_the_case_that_came_nearest_to_its_limit() -> None:
    one = Finding("gather", "pool", "fp32", "a", "right", error=1e-3, allowed=1.0)
    rows = summarise(
        [one, Finding("gather", "pool", "fp32", "b", "wrong", error=1e-5, allowed=1e-6, reason="v is off")]
    )
    assert [(row.cases, row.wrong, row.error, row.reason) for row in rows] == [(2, 1, 1e-5, "b: v is off")]


def test_nan_and_infinity_in_the_wrong_place_are_never_right() -> None:
    truth = torch.tensor([1.0, -torch.inf])
    assert judge("lse", truth, truth, truth, torch.float32).is_right
    assert "NaN" in judge("lse", torch.tensor([torch.nan, -torch.inf]), truth, truth, torch.float32).reason
    assert "infinite" in judge("lse", torch.tensor([1.0, 2.0]), truth, truth, torch.float32).reason
    assert "shape" in judge("lse", torch.ones(3), truth, truth, torch.float32).reason
    assert not judge("lse", torch.tensor([1.01, -torch.inf]), truth, truth, torch.float32).is_right


def test_names_that_do_not_exist_are_refused() -> None:
    with pytest.raises(InputError, match="known: fp32, fp16, bf16"):
        CheckSettings(dtypes=("fp8",))
    with pytest.raises(UnknownBackendError, match="known: auto, flex"):
        check(CheckSettings(("fastest",)))


@pytest.mark.usefixtures("_small")
def test_the_command_shows_a_table_and_ends_with_one_where_something_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = fdvs("kernels", "check", "--backend", "gather", "--dtype", "fp32", "--device", "cpu")
    assert shown.code == 0
    assert "attend remainder" in shown.out
    assert "0 wrong" in shown.out
    monkeypatch.setattr(module, "open_ops", lambda name: OffByOneKey())
    spoilt = fdvs("kernels", "check", "--backend", "gather", "--dtype", "fp32", "--device", "cpu", "--json")
    assert spoilt.code == 1
    assert spoilt.json["wrong"] > 0
    assert {"backend", "operation", "dtype", "case", "outcome", "error", "allowed", "reason"} <= set(
        spoilt.json["findings"][0]
    )


@pytest.mark.usefixtures("_small")
def test_the_command_ends_with_one_where_nothing_could_be_checked() -> None:
    pytest.importorskip("triton")
    ended = fdvs("kernels", "check", "--backend", "triton", "--dtype", "bf16", "--device", "cpu")
    assert ended.code == 1
    assert "triton bf16 cannot run here" in ended.out
