"""LCA on ordinary keys and values: anchors, summary queries, and what both forms of it do at the end of a prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fdvs.errors import InputError
from fdvs.kernels import reference
from fdvs.kernels.layout import Layout
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.cca import Cca
from fdvs.kernels.methods.lca import Lca
from fdvs.kernels.names import open_method
from fdvs.kernels.plans import Entries, dense_plan, join_entries
from fdvs.kernels.pooling import take
from tests.kernels.inputs import qkv, sdpa_causal
from tests.kernels.windowed import (
    Case,
    angles,
    attended,
    cases,
    check_causality,
    check_chunks,
    check_counts,
    check_decoding,
    check_window_and_single_tokens_are_dense,
    few,
    truncated,
)

ends = st.sampled_from(("causal", "prompt_end"))


@few
@given(case=cases, queries=ends)
def test_every_token_counts_exactly_once(case: Case, queries: Any) -> None:
    check_counts(Lca(**case.shape, queries=queries), case.prompt())


@few
@given(case=cases, queries=ends, num_queries=st.sampled_from((1, 16)))
def test_a_window_over_everything_and_groups_of_one_are_dense_attention(
    case: Case, queries: Any, num_queries: int
) -> None:
    whole = Lca(group=case.group, window=64, queries=queries, num_queries=num_queries)
    single = Lca(group=1, window=case.window, queries=queries, num_queries=num_queries)
    check_window_and_single_tokens_are_dense(whole, single, case.prompt())


@few
@given(case=cases, bias=st.sampled_from(("none", "matched")))
def test_causal_summary_queries_let_no_later_token_through(case: Case, bias: Any) -> None:
    check_causality(Lca(**case.shape, bias=bias), case.prompt(), case.seed % case.length)


@few
@given(case=cases)
def test_given_its_entries_the_end_of_a_prompt_changes_nothing_before_it(case: Case) -> None:
    """Which anchors and weights the prompt's end asked for is what leaks; given them, attention is causal."""
    method, prompt = Lca(**case.shape, queries="prompt_end"), case.prompt()
    plan, token = method.plan(prompt), case.seed % case.length
    k, v = prompt.k.clone(), prompt.v.clone()
    k[:, :, token] += 3
    v[:, :, token] += 3
    assert plan.pooled is not None
    stays = (plan.pooled.last < token)[..., None]
    changed = Entries(
        torch.where(stays, plan.pooled.k, plan.pooled.k + 1), torch.where(stays, plan.pooled.v, 0.0), plan.pooled.last
    )
    before = reference.attend(prompt.q, prompt.k, prompt.v, plan).out
    selected = plan.selected and replace(plan.selected, k=take(k, plan.selected.last), v=take(v, plan.selected.last))
    after = reference.attend(prompt.q, k, v, replace(plan, pooled=changed, selected=selected)).out
    assert torch.equal(before[:, :, :token], after[:, :, :token])


def test_what_the_prompt_asks_at_its_end_changes_what_early_tokens_see() -> None:
    prompt = Case((2, 1), 40, 4, 4, (), (), False, 0).prompt()
    q = prompt.q.clone()
    q[:, :, -1] += 9
    other = Prompt(q, prompt.k, prompt.v, prompt.layout)
    method = Lca(group=4, window=4, queries="prompt_end")
    assert not method.is_causal
    assert not torch.equal(attended(method, prompt)[:, :, :39], attended(method, other)[:, :, :39])


@few
@given(
    case=cases,
    num_new=st.integers(1, 20),
    queries=ends,
    num_queries=st.sampled_from((1, 3, 16)),
    bias=st.sampled_from(("none", "log_count", "matched")),
)
def test_decoding_equals_prefill_row_by_row_while_groups_fold(
    case: Case, num_new: int, queries: Any, num_queries: int, bias: Any
) -> None:
    method = Lca(**case.shape, queries=queries, num_queries=num_queries, bias=bias)
    whole = case.prompt(case.length + num_new)
    plan = replace(method, queries="causal").plan(whole)
    if queries == "prompt_end":  # groups of the prompt as its end weighs them, the others as they are completed
        of_prompt = method.plan(truncated(whole, case.length)).pooled
        assert of_prompt is not None
        assert plan.pooled is not None
        one, num_begun = plan.pooled, of_prompt.num_entries
        k, v, last = (part[:, :, num_begun:] for part in (one.k, one.v, one.last))
        later = Entries(k, v, last, None if one.bias is None else one.bias[:, :, num_begun:])
        plan = replace(plan, pooled=join_entries([of_prompt, later]))
    check_decoding(method, whole, case.length, plan=plan)


@few
@given(case=cases, num_groups=st.integers(1, 3))
def test_a_prompt_in_chunks_is_the_prompt_at_once(case: Case, num_groups: int) -> None:
    # A chunk that begins inside a group lacks queries of it: chunks of whole groups have all that are needed.
    first = num_groups * case.group
    case = case._replace(length=first + 17, borders=())
    check_chunks(Lca(**case.shape, num_queries=case.group), case.prompt(), first)


def test_chunks_that_lack_queries_are_refused() -> None:
    prompt = Case((2, 1), 20, 4, 4, (), (), False, 0).prompt()
    rest = Prompt(prompt.q[:, :, 10:], prompt.k, prompt.v, prompt.layout)
    known = Lca(group=4, window=4).plan(truncated(prompt, 10)).pooled
    with pytest.raises(InputError, match="queries of an earlier chunk"):
        Lca(group=4, window=4).plan(rest, known=known)
    with pytest.raises(InputError, match="weighs all groups anew"):
        Lca(group=4, window=4, queries="prompt_end").plan(rest, known=known)
    # All groups anew, by the queries at the end of what is there: that needs none of earlier chunks.
    plan = Lca(group=4, window=4, queries="prompt_end", num_queries=4).plan(rest)
    assert plan.pooled is not None
    assert plan.pooled.num_entries == 5
    cache = Lca(group=4, window=4).cache()
    with pytest.raises(InputError, match="last 16 queries, the last chunk has fewer"):
        cache.fill(rest, plan)


@pytest.mark.parametrize("queries", ["causal", "prompt_end"])
def test_a_group_by_hand(queries: Any) -> None:
    q, k, v = qkv(1, 4, 2, 13, 13, 8)
    prompt = Prompt(q, k, v, Layout(13, rotation=angles(13)))
    plan = Lca(group=4, window=4, num_queries=6, queries=queries, bias="matched").plan(prompt)
    assert plan.pooled is not None
    assert plan.pooled.last.tolist() == [[[3, 7, 11]] * 2]
    for head, group in ((0, 0), (1, 1), (1, 2)):
        end = 4 * group + 4
        newest = range(max(0, end - 6), end) if queries == "causal" else range(7, 13)
        query = torch.stack([q[0, 2 * head + n, at] for n in (0, 1) for at in newest]).mean(0)
        at = slice(end - 4, end)
        logits = k[0, head, at] @ query / 8**0.5
        weights = logits.softmax(0)
        anchor = int(weights.argmax())
        assert torch.equal(plan.pooled.k[0, head, group], k[0, head, end - 4 + anchor])  # as it was rotated, untouched
        torch.testing.assert_close(plan.pooled.v[0, head, group], weights @ v[0, head, at])
        bias = float(logits.logsumexp(0) - logits[anchor])
        assert float(plan.pooled.biases()[0, head, group]) == pytest.approx(bias, rel=1e-5)


@few
@given(seed=st.integers(0, 999), size=st.floats(1e-3, 2.0))
def test_no_other_value_is_nearer_to_a_group_by_its_weights(seed: int, size: float) -> None:
    """Proposition 1: Σ a_i ‖v_i - v‖² is least at the weighted sum."""
    q, k, v = qkv(1, 2, 1, 32, 32, 8, seed=seed)
    method = Lca(group=8, window=4)
    prompt = Prompt(q, k, v, Layout(32))
    groups = method.grouping.groups(prompt)
    plan = method.plan(prompt)
    assert plan.pooled is not None
    queries = torch.stack([q[0, :, max(0, end - 16) : end].mean((0, 1)) for end in groups.ends.tolist()])
    members = k[0, 0, groups.members]
    weights = (torch.einsum("mgd,md->mg", members, queries) / 8**0.5).softmax(-1)

    def error(value: torch.Tensor) -> torch.Tensor:
        return (weights * (v[0, 0, groups.members] - value[:, None]).square().sum(-1)).sum(-1)

    best = plan.pooled.v[0, 0]
    noise = torch.randn(best.shape, generator=torch.Generator().manual_seed(seed), dtype=best.dtype)
    assert (error(best + size * noise) >= error(best)).all()


def test_the_error_does_not_grow_with_the_length_at_a_fixed_spread_within_groups() -> None:
    def worst_error(length: int, spread: float) -> float:
        q, k, v = qkv(1, 1, 1, length, length, 8, seed=1)
        noise = qkv(1, 1, 1, length, length, 8, seed=2)
        k, v = (
            x[:, :, ::8].repeat_interleave(8, 2)[:, :, :length] + spread * more
            for x, more in zip((k, v), noise[1:], strict=True)
        )
        prompt = Prompt(q, k, v, Layout(length))
        out = attended(Lca(group=8, window=8, bias="log_count"), prompt)
        return float((out - sdpa_causal(q, k, v)).norm(dim=-1).max())

    at_once = [worst_error(length, 0.05) for length in (64, 256, 1024)]
    assert max(at_once) < 0.25
    assert at_once[2] < 1.5 * at_once[0]
    assert worst_error(256, 0.2) > 2 * at_once[1]


def test_equal_tokens_need_a_bias_to_weigh_what_they_weigh() -> None:
    q, k, v = qkv(1, 4, 2, 64, 64, 8)
    k, v = (x[:, :, ::8].repeat_interleave(8, 2) for x in (k, v))
    prompt = Prompt(q, k, v, Layout(64))
    dense = reference.attend(q, k, v, dense_plan(64, 64)).out
    torch.testing.assert_close(attended(Lca.training_free(group=8, window=8), prompt), dense, atol=1e-6, rtol=1e-5)
    published = attended(Lca(group=8, window=8), prompt)
    assert (published - dense).norm() / dense.norm() > 0.2


def test_without_training_a_matched_anchor_is_nearer_than_one_that_counts_for_all_of_its_group() -> None:
    """Queries drift slowly, as a sequence's do: the summary query is like those that come."""
    q, k, v = qkv(1, 2, 1, 256, 256, 16, seed=4)
    topic = torch.randn(1, 1, 1, 16, generator=torch.Generator().manual_seed(5), dtype=q.dtype)
    q = 0.5 * q + 2 * topic
    prompt, dense = Prompt(q, k, v, Layout(256)), sdpa_causal(q, k, v)

    def error(method: Lca | Cca) -> float:
        return float((attended(method, prompt) - dense).norm() / dense.norm())

    matched, log_count, published = (
        error(Lca(group=16, window=16, bias=bias)) for bias in ("matched", "log_count", "none")
    )
    assert matched < 0.5 * log_count
    assert matched < 0.7 * published


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("length", [127, 129])
def test_low_precision_is_near_float64(dtype: torch.dtype, length: int) -> None:
    # An anchor may flip where two weights are nearly equal: what is compared is attention under one plan.
    q, k, v = (x.to(dtype) for x in qkv(1, 4, 2, length, length, 16))
    method = Lca(group=16, window=32)
    plan = method.plan(Prompt(q, k, v, Layout(length)))
    assert plan.pooled is not None
    got = reference.attend(q, k, v, plan).out.double()
    double = replace(plan, pooled=replace(plan.pooled, k=plan.pooled.k.double(), v=plan.pooled.v.double()))
    truth = reference.attend(q.double(), k.double(), v.double(), double).out
    assert (got - truth).abs().max() < 2e-2
    assert (got - truth).norm() / truth.norm() < 2e-2


def test_settings_are_checked_and_published_by_default() -> None:
    method = open_method("lca")
    assert isinstance(method, Lca)
    assert (method.group, method.window, method.num_queries, method.bias) == (16, 1024, 16, "none")
    assert (method.key_rule, method.value_rule, method.is_causal) == ("anchor", "weighted", True)
    wrongs: tuple[dict[str, Any], ...] = ({"queries": "some"}, {"num_queries": 0}, {"key_rule": "max"}, {"group": 0})
    for wrong in wrongs:
        with pytest.raises(InputError):
            Lca(**wrong)
