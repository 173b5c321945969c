"""TCA: quotas, selection, what a query sees of it, and the cache it decodes with."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.errors import InputError
from fdvs.kernels import reference
from fdvs.kernels.coverage import count_matrix, num_pairs, report, seen_tokens
from fdvs.kernels.layout import Layout, protect
from fdvs.kernels.methods.base import Method, Prompt
from fdvs.kernels.methods.budgets import Budgets
from fdvs.kernels.methods.selection import Selection, smallest_set
from fdvs.kernels.methods.tca import Tca
from fdvs.kernels.names import open_method
from fdvs.kernels.plans import dense_plan
from tests.kernels.inputs import qkv, sdpa_causal

HEADS = ((1, 1), (4, 1), (7, 1), (8, 1), (4, 2))


class Case(NamedTuple):
    """One shape to try a method on."""

    heads: tuple[int, int]
    length: int
    window: int
    block: int
    share: float
    seed: int

    def prompt(self, **more: int) -> Prompt:
        return prompt_of(self.heads, self.length, self.seed, **more)

    def method(self) -> Tca:
        return tca(self.block, self.share, self.window)


cases = st.builds(
    Case,
    heads=st.sampled_from(HEADS),
    length=st.sampled_from((1, 2, 15, 16, 17, 63, 64, 65)),
    window=st.sampled_from((1, 5, 16)),
    block=st.sampled_from((1, 4, 16)),
    share=st.sampled_from((0.0, 0.3, 0.6, 1.0)),
    seed=st.integers(0, 99),
)
few = settings(max_examples=30, deadline=None)


def prompt_of(heads: tuple[int, int], length: int, seed: int = 0, **more: int) -> Prompt:
    q, k, v = qkv(more.get("batch", 1), *heads, length, length, 8, seed=seed)
    return Prompt(q, k, v, Layout(length, exact=protect(length, sinks=more.get("sinks", 0))))


def tca(block: int, share: float, window: int) -> Tca:
    return Tca(block=block, window=window, share=max(share, 1 / block))


@few
@given(case=cases)
def test_what_is_kept_is_counted_once_and_nothing_comes_from_the_future(case: Case) -> None:
    heads, length, window = case.heads, case.length, case.window
    prompt = case.prompt(sinks=3)
    method = case.method()
    plan = method.plan(prompt)
    counts = count_matrix(plan, length, heads[0])
    is_local = torch.ones(length, length, dtype=torch.bool).tril() & ~torch.ones(length, length).tril(-window).bool()
    chosen = method.choose(prompt)[:, :, None] & torch.ones(length, length, dtype=torch.bool).tril()
    wanted = (is_local | chosen).repeat_interleave(heads[0] // heads[1], 1)
    assert torch.equal(counts, wanted.long())
    assert chosen[..., -1, : min(3, length)].all(), "sinks are always seen"
    assert num_pairs(plan, length, 1, *heads) == int(wanted.sum())


@few
@given(case=cases)
def test_the_selection_identity_and_its_bound(case: Case) -> None:
    heads, length, prompt = case.heads, case.length, case.prompt()
    plan = case.method().plan(prompt)
    sparse, lse = reference.attend(prompt.q, prompt.k, prompt.v, plan)
    dense, dense_lse = reference.attend(prompt.q, prompt.k, prompt.v, dense_plan(length, length))
    is_left_out = torch.ones(length, length, dtype=torch.bool).tril() & ~seen_tokens(plan, length, heads[0])
    values = prompt.v.repeat_interleave(heads[0] // heads[1], 1)
    logits = prompt.q @ prompt.k.repeat_interleave(heads[0] // heads[1], 1).mT * prompt.softmax_scale
    rest = logits.masked_fill(~is_left_out, -torch.inf).softmax(-1).nan_to_num(0) @ values
    lost = 1 - (lse - dense_lse).exp()[..., None]
    torch.testing.assert_close(sparse - dense, lost * (sparse - rest), atol=1e-10, rtol=1e-8)
    longest = values.norm(dim=-1).amax(-1)[:, :, None]
    assert ((sparse - dense).norm(dim=-1) <= 2 * lost[..., 0] * longest + 1e-10).all()


@few
@given(case=cases)
def test_everything_selected_is_dense_attention(case: Case) -> None:
    prompt = case.prompt()
    out, _ = reference.attend(prompt.q, prompt.k, prompt.v, case._replace(share=1).method().plan(prompt))
    torch.testing.assert_close(out, sdpa_causal(prompt.q, prompt.k, prompt.v), atol=1e-12, rtol=1e-10)


@few
@given(case=cases)
def test_with_a_fixed_selection_later_tokens_change_nothing_before_them(case: Case) -> None:
    prompt, method = case.prompt(), case.method()
    chosen = method.choose(prompt)
    token = case.seed % case.length
    q, k, v = prompt.q.clone(), prompt.k.clone(), prompt.v.clone()
    for x in (q, k, v):
        x[:, :, token] += 3
    other = Prompt(q, k, v, prompt.layout)
    before, _ = reference.attend(prompt.q, prompt.k, prompt.v, method.plan_with(prompt, chosen))
    after, _ = reference.attend(q, k, v, method.plan_with(other, chosen))
    assert torch.equal(before[:, :, :token], after[:, :, :token])
    assert not torch.equal(before[:, :, token:], after[:, :, token:])


@few
@given(
    heads=st.sampled_from(HEADS),
    num_prompt=st.sampled_from((1, 9, 16, 33)),
    num_new=st.integers(1, 6),
    window=st.sampled_from((1, 5, 16)),
)
def test_decoding_equals_prefill_row_by_row(heads: tuple[int, int], num_prompt: int, num_new: int, window: int) -> None:
    length = num_prompt + num_new
    whole = prompt_of(heads, length, batch=2, sinks=2)
    q, k, v = whole.q, whole.k, whole.v
    method = tca(4, 0.4, window)
    start = Prompt(q[:, :, :num_prompt], k[:, :, :num_prompt], v[:, :, :num_prompt], Layout(num_prompt))
    chosen = method.choose(start)
    cache = method.cache()
    cache.fill(start, method.plan_with(start, chosen))
    # The same selection for the whole sequence; from the prompt's last window on, all tokens stay.
    stays = torch.ones(2, heads[1], length, dtype=torch.bool)
    stays[..., : max(num_prompt - window, 0)] = chosen[..., : max(num_prompt - window, 0)]
    rows, _ = reference.attend(q, k, v, method.plan_with(whole, stays))
    for step in range(num_prompt, length):
        at = slice(step, step + 1)
        cache.append(q[:, :, at], k[:, :, at], v[:, :, at])
        out, _ = reference.decode(q[:, :, at], cache.segments())
        torch.testing.assert_close(out, rows[:, :, at], atol=1e-12, rtol=1e-10)
    assert cache.num_tokens == length
    far = int(chosen[..., : max(num_prompt - window, 0)].sum(-1).max())
    assert cache.num_entries == far + min(window, num_prompt) + num_new
    assert cache.num_entries <= length
    assert cache.segments()[-1].last[1, 0].tolist() == list(range(max(num_prompt - window, 0), length))


def test_quotas_share_out_exactly_the_blocks_there_are() -> None:
    selection = Selection(block=4)
    densities = torch.tensor([[[0.1, 0.5, 0.3, 0.3, 0.2]]])
    half = torch.tensor([[0.5, 0.25, 0.25]])  # of 1, 2 and 4 tokens; limits 1.25, 2.5 and 5 ranks
    assert selection.quotas(densities, half).tolist() == [[[1, 4, 2, 2, 1]]]
    assert selection.quotas(densities, torch.tensor([[0.0, 0.0, 1.0]])).tolist() == [[[4] * 5]]
    assert selection.quotas(densities[..., :1], half).tolist() == [[[2]]], (
        "one block gets the middle of the proportions"
    )
    each = selection.quotas(densities.expand(1, 2, 5), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    assert each.tolist() == [[[1] * 5, [2] * 5]], "heads have budgets of their own"


@few
@given(
    num_blocks=st.integers(1, 300),
    weights=st.lists(st.floats(0, 1), min_size=5, max_size=5).filter(lambda w: sum(w) > 0.1),
)
def test_no_limit_between_quotas_is_off_by_more_than_half_a_block(num_blocks: int, weights: list[float]) -> None:
    selection = Selection(block=16)
    proportions = torch.tensor(weights, dtype=torch.float64)[None] / sum(weights)
    quotas = selection.quotas(torch.rand(1, 1, num_blocks), proportions)[0, 0]
    for level, count in enumerate(selection.counts):
        wanted = float(proportions[0, level:].sum()) * num_blocks
        assert abs(int((quotas >= count).sum()) - wanted) <= 0.5 + 1e-9


def test_densities_are_shares_and_concentrations() -> None:
    scores = torch.tensor([[[0.4, 0.0, 0.2, 0.2, 0.0, 0.0, 0.2]]])
    plain = Selection(block=2, alpha=0.25).densities(scores)
    assert plain[0, 0].tolist() == pytest.approx([0.3 + 0.25, 0.3 + 0.125, 0.0, 0.15 + 0.25])
    scaled = Selection(block=2, alpha=0.25, density="scaled").densities(scores)
    assert scaled[0, 0].tolist() == pytest.approx([0.75 + 0.25, 0.75 + 0.125, 0.0, 0.375 + 0.25])


def test_an_indifferent_query_scores_all_tokens_alike_and_keeps_the_first_of_each_block() -> None:
    prompt = prompt_of((4, 2), 37)
    prompt = Prompt(torch.zeros_like(prompt.q), prompt.k, prompt.v, prompt.layout)
    scores = Selection().scores(prompt)
    torch.testing.assert_close(scores, torch.full((1, 2, 37), 1 / 37))
    chosen = Tca(block=8, window=1, share=1 / 8).choose(prompt)
    assert chosen[0, 1].nonzero()[:, 0].tolist() == [0, 8, 16, 24, 32]


def test_query_heads_of_a_kv_head_share_the_mean_of_their_scores() -> None:
    prompt = prompt_of((4, 2), 20)
    scores = Selection(num_queries=3).scores(prompt)
    logits = prompt.q @ prompt.k.repeat_interleave(2, 1).mT * prompt.softmax_scale
    weights = logits.masked_fill(~torch.ones(20, 20, dtype=torch.bool).tril(), -torch.inf).softmax(-1)[:, :, -3:]
    torch.testing.assert_close(scores, weights.mean(2).unflatten(1, (2, 2)).mean(2).float())


def test_the_smallest_set_that_holds_a_mass() -> None:
    scores = torch.tensor([[[0.1, 0.5, 0.1, 0.3]]])
    assert smallest_set(scores, 0.45).tolist() == [[[False, True, False, False]]]
    assert smallest_set(scores, 0.75).tolist() == [[[False, True, False, True]]]
    assert smallest_set(scores, 0.85).tolist() == [[[True, True, False, True]]]
    assert smallest_set(torch.zeros(1, 1, 2), 1).all()


def test_more_kept_retains_more_on_average_and_what_is_said_is_what_is_kept() -> None:
    prompt = prompt_of((8, 2), 192)
    said = [report(prompt.q, prompt.k, tca(16, share, 8).plan(prompt)) for share in (0.1, 0.3, 0.6, 0.9, 1.0)]
    for less, more in pairwise(said):
        assert less.retained_mass < more.retained_mass
        assert less.pairs < more.pairs
    assert said[-1].retained_mass == pytest.approx(1)
    method = tca(16, 0.3, 8)
    looked_at = method.selection.scores(prompt)[method.choose(prompt)].sum() / 2
    assert looked_at > 0.3 * 1.4, "the tokens kept are the ones that are looked at"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_is_near_float64(dtype: torch.dtype) -> None:
    q, k, v = qkv(1, 4, 2, 130, 130, 32, dtype=dtype)
    method = Tca(block=16, window=20, share=0.4)
    prompt = Prompt(q, k, v, Layout(130))
    exact = Prompt(q.double(), k.double(), v.double(), Layout(130))
    chosen = method.choose(prompt)
    out, _ = reference.attend(q, k, v, method.plan_with(prompt, chosen))
    truth, _ = reference.attend(exact.q, exact.k, exact.v, method.plan_with(exact, chosen))
    assert out.dtype == dtype
    assert (out - truth).norm() / truth.norm() < 2e-2
    assert (out - truth).abs().max() < 2e-2


def test_a_chunk_sees_the_selection_of_its_own_last_query() -> None:
    whole = prompt_of((2, 1), 40)
    chunk = Prompt(whole.q[:, :, 30:], whole.k, whole.v, whole.layout)
    method = tca(4, 0.5, 6)
    out, _ = reference.attend(chunk.q, chunk.k, chunk.v, method.plan(chunk))
    rows, _ = reference.attend(whole.q, whole.k, whole.v, method.plan(whole))
    torch.testing.assert_close(out, rows[:, :, 30:])
    assert not method.is_causal


def test_settings_that_cannot_be_are_refused_and_published_ones_are_the_defaults() -> None:
    method: Method = open_method("tca")
    assert isinstance(method, Tca)
    assert (method.block, method.window, method.alpha, method.share) == (128, 4096, 0.5, 0.39)
    assert not method.is_calibrated
    for wrong in (
        {"block": 96},
        {"alpha": 1.5},
        {"window": 0},
        {"num_queries": 0},
        {"share": 0.001},
        {"share": 1.1},
        {"density": "other"},
        {"budgets": Budgets.uniform(0.5, Selection(block=16))},
    ):
        with pytest.raises(InputError):
            open_method("tca", **wrong)


def test_short_prompts_are_dense_without_being_scored() -> None:
    prompt = prompt_of((2, 1), 10)
    plan = Tca(window=10).plan(prompt)
    assert plan.selected is None
    cache = Tca(window=10).cache()
    cache.fill(prompt, plan)
    assert cache.num_entries == cache.num_tokens == 10
