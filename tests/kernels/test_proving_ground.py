"""The proving ground proves something: its tasks can be solved, its model learns, its measures are those of dense."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.proving_ground import __main__ as command
from benchmarks.proving_ground.evaluation import Planned, answer, ask_later, cost_of
from benchmarks.proving_ground.model import Decoder, Size, build
from benchmarks.proving_ground.report import table
from benchmarks.proving_ground.rows import RowFile, write_csv
from benchmarks.proving_ground.tasks import BEGIN, TASKS, make, solve
from benchmarks.proving_ground.training import Stage, found, train, trained
from fdvs.kernels.names import open_method, open_ops

TINY = Size(width=32, heads_q=2, heads_k=1, head_size=16, hidden=32)


@pytest.fixture(scope="module")
def model() -> Decoder:
    return build(TINY, 0)


@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("length", [128, 1024])
def test_reading_the_context_answers_every_question(task: str, length: int) -> None:
    batch = make(task, length, 3, seed=5)
    assert batch.tokens.shape == (3, batch.places[-1] + 1)
    assert length - batch.tokens.shape[1] in {0, 1}
    assert (batch.tokens[:, 0] == BEGIN).all()
    assert torch.equal(solve(batch), batch.answers.sort(-1).values)
    assert torch.equal(batch.tokens, make(task, length, 3, seed=5).tokens)
    assert not torch.equal(batch.tokens, make(task, length, 3, seed=6).tokens)


def test_a_score_counts_the_right_answers_among_as_many_best() -> None:
    batch = make("needles", 128, 1, seed=0)
    logits = torch.zeros(1, len(batch.places), TINY.vocabulary)
    logits[0, 0, batch.answers[0, 0, :2]] = 1.0  # two of three, and then one of many equal ones
    assert found(logits, batch)[0, 0] == pytest.approx(2 / 3)


def test_twenty_steps_lower_the_loss() -> None:
    losses = train(build(TINY, 0), [Stage(64, 20, 8, 1e-2)], warm_up=1)
    assert sum(losses[-4:]) < sum(losses[:4]) - 2  # four losses; from guessing among all tokens towards the right kind


def test_a_plan_that_keeps_everything_answers_like_dense_attention(model: Decoder) -> None:
    batch = make("recall", 96, 2, seed=1)
    with torch.no_grad():
        expected = model(batch.tokens)
        for settings in ({"window": 96}, {"window": 8, "share": 1.0}):
            kept = Planned(open_method("tca", **settings), TINY, open_ops("reference"))
            torch.testing.assert_close(model(batch.tokens, kept), expected, atol=1e-5, rtol=1e-4)
    dense, method = found(expected[:, batch.places], batch), open_method("dense")
    got = answer(model, method, open_ops("gather"), [batch])
    assert got.in_prompt == pytest.approx(float(dense.mean()))
    assert got.retained == pytest.approx(1.0)
    assert (got.later, got.kept_entries) == ask_later(model, method, open_ops("gather"), batch)
    assert (got.later, got.kept_entries) == pytest.approx((float(dense.mean()), 1.0))


def test_planning_has_a_price(model: Decoder) -> None:
    batch = make("recall", 96, 1, seed=1)
    seen = Planned(open_method("dense"), TINY, open_ops("reference"))
    model(batch.tokens, seen)
    free = cost_of(open_method("dense"), seen.prompts[1], repeats=1)
    assert (free.kept_share, free.planning) == (1.0, 0.0)
    paid = cost_of(open_method("tca", window=16, share=0.25), seen.prompts[1], repeats=1)
    assert paid.kept_share < 0.6
    length = batch.tokens.shape[1]
    pairs = 2 * length * (length + 1) / 2  # two heads
    assert paid.planning == pytest.approx(2 * length / 2 / pairs)  # two heads' last query by every key, no values


def test_a_model_is_trained_once_for_each_recipe(tmp_path: Path) -> None:
    stages = (Stage(64, 1, 2, 1e-3, guided=True),)
    first, seconds = trained(tmp_path, stages)
    again, as_told = trained(tmp_path, stages)
    assert as_told == pytest.approx(seconds, abs=0.1)
    assert torch.equal(first.head.weight, again.head.weight)
    other, _ = trained(tmp_path, (Stage(64, 2, 2, 1e-3),))
    assert not torch.equal(first.head.weight, other.head.weight)


def test_the_quick_command_writes_table_and_plot_and_measures_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["--work", str(tmp_path), "--quick", "--length", "128", "--methods", "dense", "tca"]
    command.main([*told, "--save", str(tmp_path / "ground")])
    shown = capsys.readouterr().out
    assert "| tca |  | `window=64 share=" in shown
    lines = (tmp_path / "ground.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * len(TASKS)
    assert (tmp_path / "ground.svg").stat().st_size > 1000
    assert (tmp_path / "ground.md").read_text().count("\n| ") == 2 + 2
    kept = (tmp_path / "quick" / "rows.jsonl").read_text()
    command.main(told)
    assert (tmp_path / "quick" / "rows.jsonl").read_text() == kept
    file = RowFile(tmp_path / "quick" / "rows.jsonl", "another model")
    assert not file.rows
    write_csv(file.rows, tmp_path / "empty.csv")
    assert len(table(file.rows)) == 2
