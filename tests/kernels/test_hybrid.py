"""The hybrid: every token counts exactly once, groups weigh what their tokens weigh, and a cache that folds."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.errors import InputError
from fdvs.kernels import reference
from fdvs.kernels.coverage import count_matrix, num_pairs
from fdvs.kernels.layout import Layout, protect
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.hybrid import Hybrid, HybridCache, left_of
from fdvs.kernels.methods.tca import Tca
from fdvs.kernels.names import open_method
from fdvs.kernels.plans import NEVER, dense_plan
from tests.kernels.inputs import qkv, sdpa_causal

few = settings(max_examples=30, deadline=None)


class Case(NamedTuple):
    """One shape to try the hybrid on."""

    heads: tuple[int, int]
    length: int
    window: int
    group: int
    share: float
    mass: float | None
    borders: tuple[int, ...]
    seed: int

    def layout(self, length: int | None = None) -> Layout:
        length = self.length if length is None else length
        borders = sorted(border for border in self.borders if border < length)
        return Layout(length, torch.tensor(borders, dtype=torch.int64), protect(length, sinks=2))

    def prompt(self, length: int | None = None) -> Prompt:
        length = self.length if length is None else length
        return Prompt(*qkv(2, *self.heads, length, length, 8, seed=self.seed), layout=self.layout(length))

    def method(self, **more: Any) -> Hybrid:
        rule: dict[str, Any] = {} if self.mass is None else {"select_by": "mass", "mass": self.mass}
        return Hybrid(block=4, window=self.window, group=self.group, share=self.share, **rule, **more)


cases = st.builds(
    Case,
    heads=st.sampled_from(((1, 1), (4, 1), (7, 1), (8, 1), (4, 2))),
    length=st.sampled_from((1, 7, 31, 32, 63, 65)),
    window=st.sampled_from((1, 5, 16)),
    group=st.sampled_from((1, 3, 8)),
    share=st.sampled_from((0.25, 0.5, 1.0)),
    mass=st.sampled_from((None, 0.0, 0.3, 0.9, 1.0)),
    borders=st.sets(st.integers(1, 64), max_size=5).map(tuple),
    seed=st.integers(0, 99),
)


@few
@given(case=cases)
def test_every_token_before_a_query_is_counted_exactly_once(case: Case) -> None:
    prompt, method = case.prompt(), case.method()
    chosen = method.choose(prompt)
    plan = method.plan_with(prompt, chosen)
    members = method.members(prompt, chosen)
    counts = count_matrix(plan, case.length, case.heads[0], members)
    assert torch.equal(counts, torch.ones(case.length, case.length, dtype=torch.int64).tril().expand_as(counts))
    assert plan.pooled is not None
    sizes = (members >= 0).sum(-1)
    assert torch.equal(plan.pooled.last == NEVER, sizes == 0)
    assert torch.allclose(plan.pooled.biases().exp(), sizes.clamp_min(1).float())
    band = plan.q_positions + 1 - plan.band_start[0, 0]
    assert (band >= torch.minimum(plan.q_positions + 1, torch.tensor(case.window))).all()
    assert (band < case.window + case.group).all()


@few
@given(case=cases)
def test_everything_selected_or_groups_of_one_are_dense_attention(case: Case) -> None:
    prompt = case.prompt()
    dense = sdpa_causal(prompt.q, prompt.k, prompt.v)
    for method in (case._replace(share=1.0, mass=None).method(), case._replace(group=1).method()):
        out, _ = reference.attend(prompt.q, prompt.k, prompt.v, method.plan(prompt))
        torch.testing.assert_close(out, dense, atol=1e-10, rtol=1e-8)


@few
@given(case=cases)
def test_with_a_fixed_selection_later_tokens_change_nothing_before_them(case: Case) -> None:
    prompt, method = case.prompt(), case.method()
    chosen = method.choose(prompt)
    token = case.seed % case.length
    q, k, v = prompt.q.clone(), prompt.k.clone(), prompt.v.clone()
    for x in (q, k, v):
        x[:, :, token] += 3
    before, _ = reference.attend(prompt.q, prompt.k, prompt.v, method.plan_with(prompt, chosen))
    after, _ = reference.attend(q, k, v, method.plan_with(Prompt(q, k, v, prompt.layout), chosen))
    assert torch.equal(before[:, :, :token], after[:, :, :token])


@few
@given(case=cases, num_new=st.integers(1, 20))
def test_decoding_equals_prefill_row_by_row_while_groups_fold(case: Case, num_new: int) -> None:
    # Borders lie in the prompt: what is decoded has none.
    length = case.length + num_new
    whole = case.prompt(length)
    borders = torch.tensor(sorted(b for b in case.borders if b < case.length), dtype=torch.int64)
    whole = Prompt(whole.q, whole.k, whole.v, Layout(length, borders))
    start = slice(0, case.length)
    prompt = Prompt(whole.q[:, :, start], whole.k[:, :, start], whole.v[:, :, start], case.layout())
    method = case.method()
    chosen = method.choose(prompt)
    cache = method.cache()
    cache.fill(prompt, method.plan_with(prompt, chosen))
    plan = method.plan_with(whole, torch.nn.functional.pad(chosen, (0, num_new)))
    rows, _ = reference.attend(whole.q, whole.k, whole.v, plan)
    for step in range(case.length, length):
        at = slice(step, step + 1)
        cache.append(whole.q[:, :, at], whole.k[:, :, at], whole.v[:, :, at])
        out, _ = reference.decode(whole.q[:, :, at], cache.segments())
        torch.testing.assert_close(out, rows[:, :, at], atol=1e-10, rtol=1e-8)
    assert cache.num_tokens == length
    segments = cache.segments()
    assert segments[-1].last[1, 0].tolist() == list(range(length - segments[-1].num_entries, length))
    assert cache.num_entries == sum(part.num_entries for part in segments)
    assert case.window <= segments[-1].num_entries < case.window + case.group or length < case.window + case.group


def test_equal_tokens_of_a_group_are_as_good_as_themselves_where_selection_alone_is_not() -> None:
    q, k, v = qkv(1, 4, 2, 64, 64, 8)
    k = k[:, :, ::8].repeat_interleave(8, 2)
    v = v[:, :, ::8].repeat_interleave(8, 2)
    prompt = Prompt(q, k, v, Layout(64))
    dense, _ = reference.attend(q, k, v, dense_plan(64, 64))
    same: dict[str, Any] = {"block": 8, "window": 8, "share": 0.25}
    hybrid, _ = reference.attend(q, k, v, Hybrid(group=8, **same).plan(prompt))
    alone, _ = reference.attend(q, k, v, Tca(**same).plan(prompt))
    torch.testing.assert_close(hybrid, dense, atol=1e-6, rtol=1e-5)
    assert (alone - dense).norm() / dense.norm() > 0.2


def test_a_remainder_that_is_pooled_is_nearer_than_one_that_is_dropped_and_the_mean_than_the_anchor() -> None:
    q, k, v = qkv(1, 4, 2, 192, 192, 16)
    prompt = Prompt(q, k, v, Layout(192))
    dense = sdpa_causal(q, k, v)

    def error(method: Tca) -> float:
        out, _ = reference.attend(q, k, v, method.plan(prompt))
        return float((out - dense).norm() / dense.norm())

    dropped = error(Tca(block=16, window=16, share=0.25))
    mean, anchor, weighted = (
        error(Hybrid(block=16, window=16, share=0.25, group=8, key_rule=rule, value_rule=rule))
        for rule in ("mean", "anchor", "weighted")
    )
    assert mean < 0.7 * dropped
    assert weighted < 0.7 * dropped
    assert mean < 0.9 * anchor


@pytest.mark.parametrize("rule", ["anchor", "weighted"])
def test_groups_are_weighed_by_the_last_query_and_at_decoding_by_the_newest(rule: Any) -> None:
    q, k, v = qkv(1, 4, 2, 12, 12, 8)
    method = Hybrid(block=4, window=4, group=4, share=0.25, key_rule=rule, value_rule=rule)
    prompt = Prompt(q[:, :, :11], k[:, :, :11], v[:, :, :11], Layout(11))
    nothing = torch.zeros(1, 2, 11, dtype=torch.bool)
    plan = method.plan_with(prompt, nothing)
    assert plan.pooled is not None
    cache = method.cache()
    cache.fill(prompt, plan)
    cache.append(q[:, :, 11:], k[:, :, 11:], v[:, :, 11:])
    pooled = cache.segments()[0]
    assert pooled.last.tolist() == [[[3, 7]] * 2]
    for group, row in ((0, 10), (1, 11)):
        at = slice(4 * group, 4 * group + 4)
        logits = (k[:, :, at] @ q[:, :, row].unflatten(1, (2, 2)).mean(2)[..., None])[..., 0] / 8**0.5
        weights = logits.softmax(-1)
        if rule == "anchor":
            weights = (weights == weights.amax(-1, keepdim=True)).double()
        for held, given_ in ((pooled.k, k), (pooled.v, v)):
            torch.testing.assert_close(held[:, :, group], (weights[..., None] * given_[:, :, at]).sum(2))


@few
@given(case=cases, key_rule=st.sampled_from(("mean", "anchor", "weighted")))
def test_groups_that_are_matched_are_exact_for_the_query_that_weighs_them(case: Case, key_rule: Any) -> None:
    prompt = case._replace(heads=(2, 2)).prompt()
    method = case.method(key_rule=key_rule, value_rule="weighted", bias="matched")
    plan = method.plan(prompt)
    out, lse = reference.attend(prompt.q, prompt.k, prompt.v, plan)
    truth, dense_lse = reference.attend(prompt.q, prompt.k, prompt.v, dense_plan(case.length, case.length))
    torch.testing.assert_close(out[:, :, -1], truth[:, :, -1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(lse[:, :, -1], dense_lse[:, :, -1], atol=1e-5, rtol=1e-5)


def test_kept_tokens_leave_their_group_and_stay_when_it_folds() -> None:
    members = torch.tensor([[0, 1, 2], [3, 4, -1]])
    chosen = torch.tensor([[[False, True, False, True, True], [False] * 5]])
    assert left_of(members, chosen).tolist() == [[[[0, 2, -1], [-1, -1, -1]], [[0, 1, 2], [3, 4, -1]]]]
    q, k, v = qkv(1, 2, 2, 7, 7, 8)
    method = Hybrid(block=4, window=2, group=3, share=0.25)
    prompt = Prompt(q[:, :, :5], k[:, :, :5], v[:, :, :5], Layout(5))
    cache = HybridCache(method)
    cache.fill(prompt, method.plan_with(prompt, chosen))
    assert cache.segments()[1].last.tolist() == [[[1], [NEVER]]]
    for step in (5, 6, 6, 6):
        cache.append(q[:, :, step : step + 1], k[:, :, step : step + 1], v[:, :, step : step + 1])
    pooled, selected, recent = cache.segments()
    assert pooled.last.tolist() == [[[2, 5], [2, 5]]]
    assert selected.last.tolist() == [[[1, 3, 4], [NEVER, NEVER, NEVER]]]
    assert recent.last[0, 0].tolist() == [6, 7, 8]
    assert torch.equal(selected.k[:, 0], k[:, 0, [1, 3, 4]])


def test_low_precision_is_near_float64() -> None:
    q, k, v = qkv(1, 4, 2, 129, 129, 32, dtype=torch.bfloat16)
    method = Hybrid(block=16, window=20, share=0.3, group=7)
    prompt, exact = Prompt(q, k, v, Layout(129)), Prompt(q.double(), k.double(), v.double(), Layout(129))
    chosen = method.choose(prompt)
    out, _ = reference.attend(q, k, v, method.plan_with(prompt, chosen))
    truth, _ = reference.attend(exact.q, exact.k, exact.v, method.plan_with(exact, chosen))
    assert (out - truth).norm() / truth.norm() < 2e-2


def test_pairs_are_those_that_are_seen() -> None:
    case = Case((4, 2), 65, 5, 8, 0.5, None, (20, 41), 1)
    plan = case.method().plan(case.prompt())
    assert plan.pooled is not None
    assert plan.selected is not None
    start = plan.band_start[..., None]
    seen = sum(int((part.last[:, :, None] < start).sum()) for part in (plan.pooled, plan.selected))
    band = 4 * int((plan.q_positions + 1 - plan.band_start).sum())
    assert num_pairs(plan, 65, 2, 4, 2) == 2 * seen + 2 * band


def test_settings_that_cannot_be_are_refused() -> None:
    assert isinstance(open_method("hybrid"), Hybrid)
    for wrong in (
        {"group": 0},
        {"select_by": "luck"},
        {"mass": 2},
        {"key_rule": "sum"},
        {"bias": "none"},
        {"window": 0},
    ):
        with pytest.raises(InputError):
            open_method("hybrid", **wrong)


@few
@given(case=cases, spread=st.sampled_from((0.01, 0.3)))
def test_the_error_is_bounded_by_how_far_members_are_from_their_group_at_any_length(case: Case, spread: float) -> None:
    q, k, v = qkv(1, *case.heads, case.length, case.length, 8, seed=case.seed)
    coarse = torch.arange(case.length) // case.group * case.group
    k, v = (x[:, :, coarse] + spread * x for x in (k, v))
    prompt = Prompt(q, k, v, Layout(case.length))
    method = case.method()
    chosen = method.choose(prompt)
    plan = method.plan_with(prompt, chosen)
    out, _ = reference.attend(q, k, v, plan)
    error = (out - sdpa_causal(q, k, v)).norm(dim=-1)[0, :, -1]
    assert plan.pooled is not None
    members = method.members(prompt, chosen)[0]
    ratio = case.heads[0] // case.heads[1]
    for head in range(case.heads[0]):
        inside = members[head // ratio]
        if not (inside >= 0).any():
            assert error[head] < 1e-9
            continue
        keys, values = (x[0, head // ratio][inside.clamp_min(0)] for x in (k, v))
        mean_k, mean_v = (x[0, head // ratio][:, None] for x in (plan.pooled.k, plan.pooled.v))
        is_member = inside >= 0
        delta = float((((keys - mean_k) @ q[0, head, -1]).abs() / 8**0.5)[is_member].max())
        epsilon = float((values - mean_v).norm(dim=-1)[is_member].max())
        longest = float(torch.cat([v[0, head // ratio].norm(dim=-1), mean_v.norm(dim=-1).flatten()]).max())
        assert error[head] <= epsilon + (math.exp(2 * delta) - 1) * longest + 1e-6
