"""The benchmark of kernels: its inputs, its rows, going on after a stop, its page and its picture."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fdvs.errors import InputError, UnknownBackendError
from fdvs.kernels.bench import run as bench_run
from fdvs.kernels.bench import timing
from fdvs.kernels.bench.inputs import BRIGHT_SHARE, make_inputs
from fdvs.kernels.bench.report import to_markdown
from fdvs.kernels.bench.rows import Case, Ledger, Row
from fdvs.kernels.bench.run import BenchSettings, contender, run_bench

CASE = Case("prefill", "tiny", 64, "tca", "gather", "float32", "some CPU", "torch 1")
QUICK = BenchSettings(lengths=(96,), methods=("tca:window=16,block=8",), parts=("operator",), backend="reference")


@pytest.fixture(autouse=True)
def _few_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SECONDS_PER_CASE", 0.0)


def test_a_row_survives_its_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "kernels.csv")
    row = Row(CASE, plan_ms=1.5, run_ms_50=2.0, speedup=0.5, error_of_kernel=1e-07)
    ledger.add(row)
    ledger.add(Row(replace(CASE, length=128), status="no, said the device"))
    again = Ledger(tmp_path / "kernels.csv")
    assert again.find(CASE) == row
    assert again.find(replace(CASE, length=128)) == Row(replace(CASE, length=128), status="no, said the device")
    assert again.find(replace(CASE, versions="torch 2")) is None


def test_a_line_cut_short_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "kernels.csv"
    Ledger(path).add(Row(CASE))
    path.write_text(path.read_text() + "prefill,tiny,128,tca\n")
    assert [row.case.length for row in Ledger(path).rows] == [64]


def test_a_file_of_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kernels.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="other columns"):
        run_bench(tmp_path, QUICK, "bench")


def test_what_was_measured_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_bench(tmp_path, QUICK, "bench")
    assert first.is_complete
    assert [path.name for path in first.files] == ["kernels.csv", "kernels.md", "kernels.png"]
    by_part = {(row.case.part, row.case.method): row for row in first.rows}
    assert by_part.keys() == {
        (part, method) for part in ("prefill", "decode") for method in ("dense", "tca (block=8, window=16)")
    }
    row = by_part["prefill", "tca (block=8, window=16)"]
    assert row.kept_share is not None
    assert row.retained_mass is not None
    assert 0 < row.kept_share < 1
    assert 0 < row.retained_mass <= 1
    assert row.error_of_kernel is not None
    assert row.error_of_method is not None
    assert row.error_of_kernel < 1e-5 < row.error_of_method  # the arithmetic is right, and something was left out
    step = by_part["decode", "tca (block=8, window=16)"]
    assert step.cache_share is not None
    assert step.cache_share < 1
    assert step.error_of_kernel is not None
    assert step.error_of_kernel < 1e-5

    def never(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("fdvs.kernels.bench.operator.measure", never)
    again = run_bench(tmp_path, QUICK, "bench")
    assert [row.case for row in again.rows] == [row.case for row in first.rows]


def test_nothing_is_begun_when_the_time_is_up(tmp_path: Path) -> None:
    result = run_bench(tmp_path, replace(QUICK, minutes=0.0), "bench")
    assert not result.is_complete
    assert not result.rows
    assert (tmp_path / "kernels.md").read_text() == "Nothing was measured.\n"


def test_a_method_that_cannot_do_this_leaves_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise InputError("not with these inputs")

    monkeypatch.setattr("fdvs.kernels.methods.tca.Tca.plan", refuse)
    rows = run_bench(tmp_path, QUICK, "bench").rows
    assert [row.status for row in rows if row.case.method != "dense"] == ["not with these inputs"] * 2
    assert "- prefill, tiny, 96, tca (block=8, window=16): not with these inputs" in to_markdown(rows, "bench")


def test_the_page_says_with_what_it_was_measured(tmp_path: Path) -> None:
    page = to_markdown([Row(CASE, plan_ms=1.0, run_ms_50=2.0, total_ms=3.0, speedup=0.333, kept_share=0.25)], "x y")
    assert "`x y` · some CPU · torch 1 · float32" in page
    assert "| prefill | tiny | 64 | tca | gather | 1 | 2 | 3 | 0.33 | 25.0% |" in page


def test_inputs_have_bright_columns_and_are_the_same_again() -> None:
    made = make_inputs(4, 2, 2048, 64, dtype=torch.float32, device=torch.device("cpu"))
    again = make_inputs(4, 2, 2048, 64, dtype=torch.float32, device=torch.device("cpu"))
    assert torch.equal(made.q, again.q)
    logits = made.q[0, 0, -1] @ made.k[0, 0].T / 8
    weights = logits.softmax(-1).sort(descending=True).values
    assert weights[: int(2048 * 4 * BRIGHT_SHARE)].sum() > 0.5


def test_contenders_are_told_with_their_settings() -> None:
    assert contender("tca:window=16,block=8").label == "tca (block=8, window=16)"
    with pytest.raises(UnknownBackendError):
        contender("nothing")
    with pytest.raises(InputError, match="unknown shape"):
        bench_run.run_bench(Path("unused"), replace(QUICK, shapes=("huge",)), "bench")
    with pytest.raises(InputError, match="unknown part"):
        bench_run.run_bench(Path("unused"), replace(QUICK, parts=("all",)), "bench")


def test_the_columns_are_the_fields(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "kernels.csv")
    ledger.add(Row(CASE))
    with (tmp_path / "kernels.csv").open(newline="") as file:
        line = next(csv.DictReader(file))
    assert line["method"] == "tca"
    assert line["status"] == "ok"
    assert line["speedup"] == ""
