"""Budgets: proportions, shares, calibration to a retained mass, and their file."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.errors import InputError, ShapeError
from fdvs.kernels.coverage import seen_tokens
from fdvs.kernels.layout import Layout, protect
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.budget_file import read_budgets, write_budgets
from fdvs.kernels.methods.budgets import PUBLISHED_SHARE, Budgets, HeadBudget, log_gaussian
from fdvs.kernels.methods.calibration import Measurement, calibrate, candidates, masses_of
from fdvs.kernels.methods.selection import Selection
from fdvs.kernels.methods.tca import Tca
from tests.kernels.inputs import qkv

SELECTION = Selection(block=8)
WINDOW = 8


def prompts(num_layers: int = 2, length: int = 96, heads: tuple[int, int] = (4, 2)) -> list[Prompt]:
    layout = Layout(length, exact=protect(length, sinks=1))
    return [Prompt(*qkv(2, *heads, length, length, 8, seed=n), layout=layout, layer=n) for n in range(num_layers)]


def test_the_published_share_is_the_published_cache_and_ratio() -> None:
    assert pytest.approx(0.61) == 1 - PUBLISHED_SHARE
    assert pytest.approx(2.6, abs=0.05) == 1 / PUBLISHED_SHARE
    assert pytest.approx(PUBLISHED_SHARE) == 3.12 / 8.00
    assert Budgets.uniform(PUBLISHED_SHARE).all()[0].share == pytest.approx(0.39, abs=1e-9)


def test_rho_is_the_mean_of_what_blocks_keep() -> None:
    assert HeadBudget((0.5, 0.25, 0.25)).share == pytest.approx((0.5 * 1 + 0.25 * 2 + 0.25 * 4) / 4)
    assert HeadBudget((0.0, 0.0, 1.0)).share == 1
    assert HeadBudget((1.0, 0.0, 0.0)).share == 0.25
    p = log_gaussian(3, 2, 8)
    assert p[3] == max(p)
    assert p[1] == p[5]  # two octaves to each side
    assert p[1] / p[3] == pytest.approx(2.718281828 ** (-(2**2) / (2 * 2**2)))


def test_rho_is_the_share_that_is_kept_of_many_blocks() -> None:
    selection = Selection(block=16)
    for centre, spread in ((0.0, 1.0), (3.0, 2.0), (5.0, 0.5)):
        budget = HeadBudget(log_gaussian(centre, spread, 5))
        quotas = selection.quotas(torch.rand(1, 1, 4000), torch.tensor([budget.proportions]))
        assert float(quotas.sum()) / (4000 * 16) == pytest.approx(budget.share, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(block=st.sampled_from((1, 2, 8, 128)), place=st.floats(0, 1))
def test_a_uniform_budget_keeps_the_share_it_names(block: int, place: float) -> None:
    share = 1 / block + place * (1 - 1 / block)
    assert Budgets.uniform(share, Selection(block=block)).all()[0].share == pytest.approx(share, abs=1e-9)


def test_candidates_are_different_and_sorted_and_end_with_everything() -> None:
    found = candidates(128)
    shares = [budget.share for budget in found]
    assert shares == sorted(shares)
    assert shares[0] == 1 / 128
    assert found[-1].proportions == (0.0,) * 7 + (1.0,)
    assert len({budget.proportions for budget in found}) == len(found) > 60
    assert max(b - a for a, b in itertools.pairwise(shares)) < 0.15, "no share is far from a candidate"


@pytest.mark.parametrize("counts_window", [True, False])
@pytest.mark.parametrize("queries", ["spread", "last"])
def test_calibration_takes_the_sparsest_candidate_that_retains_enough(queries: Any, counts_window: bool) -> None:
    measurement = Measurement(queries=queries, num_queries=200, counts_window=counts_window, step=1)
    budgets = calibrate(prompts(), target=0.8, window=WINDOW, selection=SELECTION, measurement=measurement)
    choices = candidates(8, step=1)
    for prompt in prompts():
        rows = torch.arange(WINDOW, 96) if queries == "spread" else torch.tensor([95])
        mass = torch.stack([slow_mass(prompt, choice, rows, counts_window) for choice in choices])
        for head, budget in enumerate(budgets.heads[prompt.layer]):
            place = [choice.proportions for choice in choices].index(budget.proportions)
            assert budget.retained_mass == pytest.approx(float(mass[place, head]), abs=1e-6)
            assert mass[place, head] >= 0.8
            assert (mass[:place, head] < 0.8).all(), "a sparser candidate would have done"


def slow_mass(prompt: Prompt, choice: HeadBudget, rows: torch.Tensor, counts_window: bool) -> torch.Tensor:
    """`[Hk]`: the mass by the plan's own mask and dense weights."""
    shared = Budgets(SELECTION, shared=choice)
    seen = seen_tokens(Tca(block=8, window=WINDOW, budgets=shared).plan(prompt), 96, 4)
    logits = prompt.q @ prompt.k.repeat_interleave(2, 1).mT * prompt.softmax_scale
    positions = torch.arange(96)
    weights = logits.masked_fill(positions > positions[:, None], -torch.inf).softmax(-1)
    if counts_window:
        kept = (weights * seen)[:, :, rows].sum(-1)
        share: torch.Tensor = kept.mean(2).mean(0).unflatten(0, (2, 2)).mean(1)
        return share
    far = weights * (positions <= positions[:, None] - WINDOW)
    kept, there = ((far * mask)[:, :, rows].sum((2, 3)).unflatten(1, (2, 2)).sum(2) for mask in (seen, True))
    of_far: torch.Tensor = (kept / there).mean(0)
    return of_far


def test_a_higher_target_keeps_more_and_all_of_it_is_dense() -> None:
    shares = []
    for target in (0.3, 0.7, 1.0):
        budgets = calibrate(prompts(), target=target, window=WINDOW, selection=SELECTION)
        shares.append(sum(budget.share for budget in budgets.all()) / len(budgets.all()))
        assert all((budget.retained_mass or 0) >= min(target, 1 - 1e-9) for budget in budgets.all())
    assert shares == sorted(shares)
    assert shares[0] < shares[-1] == 1
    plan = Tca(block=8, window=WINDOW, budgets=budgets).plan(prompts()[1])
    assert seen_tokens(plan, 96, 4).sum() == 2 * 4 * 96 * 97 // 2


def test_heads_of_their_own_get_budgets_of_their_own() -> None:
    prompt = prompts(1)[0]
    k = prompt.k.clone()
    k[:, 0] *= 6  # this head's attention is on few tokens
    sharp = Prompt(prompt.q, k, prompt.v, prompt.layout, layer=7)
    budgets = calibrate([sharp], target=0.7, window=WINDOW, selection=SELECTION, measurement=Measurement("last"))
    first, second = budgets.heads[7]
    assert first.share < 0.7 * second.share
    kept = Tca(block=8, window=WINDOW, budgets=budgets).choose(sharp).sum(-1)
    assert (kept[:, 0] < kept[:, 1]).all()


def test_several_samples_of_a_layer_count_by_their_mean() -> None:
    one, other = (Prompt(p.q, p.k, p.v, p.layout, layer=3) for p in prompts(2))
    both = calibrate([one, other], target=0.6, window=WINDOW, selection=SELECTION)
    choices = candidates(8)
    more = {"selection": SELECTION, "window": WINDOW, "measurement": Measurement()}
    masses = (masses_of(one, choices, **more) + masses_of(other, choices, **more)) / 2  # type: ignore[arg-type]
    for head, budget in enumerate(both.heads[3]):
        place = int((masses[:, head] >= 0.6).nonzero()[0])
        assert budget.proportions == choices[place].proportions


def test_calibration_refuses_what_says_nothing() -> None:
    with pytest.raises(InputError, match="within the window of 96"):
        calibrate(prompts(), window=96, selection=SELECTION)
    with pytest.raises(InputError, match="no prompts"):
        calibrate([])
    with pytest.raises(InputError, match="share of the attention"):
        calibrate(prompts(), target=1.2)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    budgets = calibrate(prompts(), target=0.8, window=WINDOW, selection=SELECTION, model="tiny")
    write_budgets(budgets, tmp_path / "budgets.json")
    again = read_budgets(tmp_path / "budgets.json", model="tiny")
    assert {layer: list(heads) for layer, heads in again.heads.items()} == budgets.heads
    assert (again.selection, again.window, again.target, again.model) == (SELECTION, WINDOW, 0.8, "tiny")
    assert again.settings["queries"] == "spread"
    said = json.loads((tmp_path / "budgets.json").read_text())
    assert said["layers"]["1"][0]["retained_mass"] >= 0.8
    assert said["layers"]["1"][0]["share"] == budgets.heads[1][0].share
    method = Tca(block=8, window=WINDOW, budgets=str(tmp_path / "budgets.json"))
    assert method.is_calibrated
    assert torch.equal(method.choose(prompts()[1]), Tca(block=8, window=WINDOW, budgets=budgets).choose(prompts()[1]))
    write_budgets(Budgets.uniform(0.3), tmp_path / "uniform.json")
    assert read_budgets(tmp_path / "uniform.json").shared == Budgets.uniform(0.3).shared


def test_a_wrong_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "budgets.json"
    write_budgets(calibrate(prompts(), window=WINDOW, selection=SELECTION, model="tiny"), path)
    with pytest.raises(InputError, match="measured on tiny, not on large"):
        read_budgets(path, model="large")
    with pytest.raises(InputError, match="cannot read"):
        read_budgets(tmp_path / "none.json")
    record = json.loads(path.read_text())
    for change, reason in (
        ({"version": 2}, "of version 2; this fdvs reads 1"),
        ({"kind": "story"}, "holds no attention budgets"),
        ({"layers": {"0": [{"share": 1.0, "retained_mass": 1.0, "proportions": [1.0, 0, 0, 0]}]}}, "is said to keep"),
        ({"layers": {"0": [{"share": 0.5, "retained_mass": 1.0, "proportions": [1.0, 0]}]}}, "4 proportions, got 2"),
        ({"layers": {"zero": []}}, "are damaged"),
        ({"selection": {"block": 12}}, "power of two"),
    ):
        path.write_text(json.dumps({**record, **change}))
        with pytest.raises(InputError, match=reason):
            read_budgets(path)
    path.write_text("{")
    with pytest.raises(InputError, match="no JSON"):
        read_budgets(path)


def test_budgets_serve_only_what_they_were_measured_for() -> None:
    budgets = calibrate(prompts(), target=0.8, window=WINDOW, selection=SELECTION)
    with pytest.raises(InputError, match="no budgets for layer 2; there are some for 0, 1"):
        budgets.of_layer(2, 2)
    with pytest.raises(ShapeError, match="layer 1 has 8 KV heads, the budgets are for 2"):
        budgets.of_layer(1, 8)
    for wrong in ({"window": 9}, {"alpha": 0.1}, {"num_queries": 2}, {"target": 0.9}):
        with pytest.raises(InputError, match="calibrate again"):
            Tca(**{"block": 8, "window": WINDOW, "budgets": budgets, **wrong})  # type: ignore[arg-type]
    with pytest.raises(InputError):
        HeadBudget((0.5, 0.4))
    with pytest.raises(InputError):
        Budgets(SELECTION)
