"""DGA: focal tokens and groups of the rest, the group a query lies in token by token, blocks folded in decoding."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fdvs.errors import InputError, ShapeError
from fdvs.kernels import reference
from fdvs.kernels.coverage import count_matrix
from fdvs.kernels.layout import Layout
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.dga import Dga, group_the_rest
from fdvs.kernels.names import open_method
from fdvs.kernels.plans import NEVER, Entries
from fdvs.kernels.pooling import pool
from fdvs.kernels.rotary import Rotation, rotate, unrotate
from tests.kernels.inputs import qkv, sdpa_causal
from tests.kernels.windowed import Case, angles, cases, few

shares = st.sampled_from((0.0, 0.1, 0.5))


def attended(method: Dga, prompt: Prompt) -> Tensor:
    return reference.attend(prompt.q, prompt.k, prompt.v, method.plan(prompt)).out


@few
@given(case=cases, share=shares)
def test_every_token_counts_exactly_once_and_nobody_sees_a_group_it_lies_in(case: Case, share: float) -> None:
    prompt, method = case.prompt(), Dga(**case.shape, focal_share=share)
    chosen = method.choose(prompt)
    plan, members = method.plan_with(prompt, chosen), method.members(prompt, chosen)
    counts = count_matrix(plan, case.length, case.heads[0], members)
    once = torch.ones(case.length, case.length, dtype=torch.int64).tril()
    assert torch.equal(counts, once.expand_as(counts))
    assert plan.pooled is not None
    for query in range(case.length):
        is_over = plan.pooled.last < query
        seen = plan.pooled.last < plan.band_start[..., query : query + 1]
        assert not (seen & ~is_over).any()
    whole = members.flatten(2)
    assert not (chosen.gather(2, whole.clamp_min(0)) & (whole >= 0)).any()


@few
@given(case=cases)
def test_all_focal_a_window_over_everything_and_groups_of_one_are_dense_attention(case: Case) -> None:
    prompt = case.prompt()
    dense = sdpa_causal(prompt.q, prompt.k, prompt.v)
    methods = Dga(group=case.group, focal_share=1.0), Dga(group=case.group, window=64), Dga(group=1, focal_share=0.1)
    for method in methods:
        torch.testing.assert_close(attended(method, prompt), dense, atol=1e-10, rtol=1e-8)


@few
@given(case=cases, share=shares)
def test_with_a_fixed_selection_later_tokens_change_nothing_before_them(case: Case, share: float) -> None:
    prompt, method = case.prompt(), Dga(**case.shape, focal_share=share)
    chosen, token = method.choose(prompt), case.seed % case.length
    q, k, v = prompt.q.clone(), prompt.k.clone(), prompt.v.clone()
    for x in (q, k, v):
        x[:, :, token] += 3
    other = Prompt(q, k, v, prompt.layout)
    before = reference.attend(prompt.q, prompt.k, prompt.v, method.plan_with(prompt, chosen)).out
    after = reference.attend(q, k, v, method.plan_with(other, chosen)).out
    assert torch.equal(before[:, :, :token], after[:, :, :token])
    if share == 0:
        assert method.is_causal
        assert torch.equal(method.choose(prompt), method.choose(other))


def test_focal_tokens_are_chosen_by_later_queries_which_is_why_it_is_not_causal() -> None:
    q, k, v = qkv(1, 2, 1, 40, 40, 8)
    other = q.clone()
    other[:, :, -1] += 9
    method = Dga(group=4, focal_share=0.2)
    assert not method.is_causal
    one, two = attended(method, Prompt(q, k, v, Layout(40))), attended(method, Prompt(other, k, v, Layout(40)))
    assert not torch.equal(one[:, :, :39], two[:, :, :39])


@pytest.mark.parametrize(("samples", "rows"), [("spread", (0, 7, 13, 20)), ("last", (17, 18, 19, 20))])
def test_focal_are_the_tokens_that_the_sampled_queries_look_at(samples: Any, rows: tuple[int, ...]) -> None:
    q, k, v = qkv(2, 4, 2, 21, 21, 8)
    prompt = Prompt(q, k, v, Layout(21), scale=0.7)
    method = Dga(group=4, focal_share=0.2, num_samples=4, samples=samples)
    received = torch.zeros(2, 2, 21, dtype=torch.float64)
    for row in rows:
        for head in range(4):
            logits = (k[:, head // 2, : row + 1] @ q[:, head, row, :, None])[..., 0] * 0.7
            received[:, head // 2, : row + 1] += logits.softmax(-1) / (2 * len(rows))
    torch.testing.assert_close(method.importance(prompt).double(), received, atol=1e-6, rtol=1e-6)
    chosen = method.choose(prompt)
    assert (chosen.sum(-1) == 4).all()
    assert torch.equal(chosen.nonzero()[:, -1].view(2, 2, 4), received.topk(4).indices.sort().values)
    assert torch.equal(Dga(num_samples=99).importance(prompt), Dga(num_samples=21).importance(prompt))


def test_the_rest_is_grouped_head_by_head_within_borders() -> None:
    is_rest = torch.ones(1, 2, 15, dtype=torch.bool)
    is_rest[0, 0, [1, 8]] = False
    is_rest[0, 1, :6] = False
    groups = group_the_rest(is_rest, Layout(15, torch.tensor([6])), 3)
    assert groups.tolist() == [
        [
            [[0, 2, 3], [4, 5, -1], [6, 7, 9], [10, 11, 12]],  # 13 and 14 may still become a whole group
            [[6, 7, 8], [9, 10, 11], [12, 13, 14], [-1, -1, -1]],
        ]
    ]
    assert group_the_rest(torch.zeros(1, 1, 4, dtype=torch.bool), Layout(4), 3).shape == (1, 1, 0, 3)
    assert group_the_rest(is_rest[:, :1, :2], Layout(2), 3).shape == (1, 1, 0, 3)


@pytest.mark.parametrize("place", ["last", "anchor", "rotated"])
def test_a_group_by_hand(place: Any) -> None:
    q, k, v = qkv(1, 4, 2, 12, 12, 8)
    rotation = angles(12)
    chosen = torch.zeros(1, 2, 12, dtype=torch.bool)
    chosen[0, 1, [0, 2]] = True
    prompt = Prompt(q, k, v, Layout(12, rotation=rotation))
    plan = Dga(group=4, bias="matched", core_position=place).plan_with(prompt, chosen)
    assert plan.pooled is not None
    assert plan.pooled.last.tolist() == [[[3, 7, 11], [5, 9, NEVER]]]
    assert plan.band_start.tolist() == [[[0] * 4 + [4] * 4 + [8] * 4, [0] * 6 + [6] * 4 + [10] * 2]]
    at = torch.tensor([1, 3, 4, 5])
    query = (q[0, 2, 5] + q[0, 3, 5]) / 2
    logits = k[0, 1, at] @ query / 8**0.5
    weights = logits.softmax(-1)
    key = weights @ k[0, 1, at]
    if place != "rotated":
        where = torch.tensor([5]) if place == "last" else at[weights.argmax()][None]
        key = rotate((weights @ unrotate(k[0, 1, at], rotation, at))[None], rotation, where)[0]
    torch.testing.assert_close(plan.pooled.k[0, 1, 0], key)
    torch.testing.assert_close(plan.pooled.v[0, 1, 0], weights @ v[0, 1, at])
    bias = float(logits.logsumexp(0) - key @ query / 8**0.5)
    assert float(plan.pooled.biases()[0, 1, 0]) == pytest.approx(bias, rel=1e-5)
    assert plan.pooled.biases().isfinite().all()


def _told(k: Tensor, v: Tensor, query: Tensor, at: list[int]) -> tuple[Tensor, Tensor, float]:
    """Key, value and bias of one group of one head, with the logarithm of its count."""
    weights = (k[at] @ query / k.shape[-1] ** 0.5).softmax(-1)
    return weights @ k[at], weights @ v[at], math.log(len(at))


@few
@given(
    length=st.sampled_from((1, 9, 30)),
    num_new=st.integers(1, 30),
    group=st.sampled_from((1, 4, 10)),
    share=shares,
    window=st.sampled_from((1, 3)),
    heads=st.sampled_from(((2, 2), (7, 1), (4, 2))),
    seed=st.integers(0, 99),
)
def test_decoding_folds_the_oldest_block_and_keeps_its_focal_tokens(  # noqa: PLR0917
    length: int, num_new: int, group: int, share: float, window: int, heads: tuple[int, int], seed: int
) -> None:
    """Against books kept by hand, one head after another."""
    q, k, v = qkv(1, *heads, length + num_new, length + num_new, 8, seed=seed)
    prompt = Prompt(q[:, :, :length], k[:, :, :length], v[:, :, :length], Layout(length))
    method = Dga(group=group, focal_share=share, window=window, bias="log_count")
    chosen = method.choose(prompt)
    plan, members = method.plan_with(prompt, chosen), method.members(prompt, chosen)
    cache = method.cache()
    cache.fill(prompt, plan)
    per_head, num_focal = heads[0] // heads[1], round(share * group)
    mean = q.unflatten(1, (heads[1], per_head)).mean(2)
    groups: list[list[tuple[Tensor, Tensor, float]]] = []
    singles: list[list[int]] = []
    for head in range(heads[1]):
        start = int(plan.band_start[0, head, -1])
        seen = [[at for at in one if at >= 0] for one in members[0, head].tolist() if 0 <= max(one) < start]
        groups.append([_told(k[0, head], v[0, head], mean[0, head, at[-1]], at) for at in seen])
        singles.append([at for at in range(length) if at >= start or chosen[0, head, at]])
    oldest = length
    for step in range(length, length + num_new):
        at = slice(step, step + 1)
        cache.append(q[:, :, at], k[:, :, at], v[:, :, at])
        out = reference.decode(q[:, :, at], cache.segments()).out
        if step + 1 - oldest == group + num_focal + window:
            block, asks = list(range(oldest, oldest + group + num_focal)), oldest + group + num_focal - 1
            for head in range(heads[1]):
                of_heads = q[0, head * per_head : (head + 1) * per_head, asks]
                scores = (of_heads @ k[0, head, block].T / 8**0.5).softmax(-1).mean(0)
                focal = {block[n] for n in scores.topk(num_focal).indices.tolist()}
                rest = [one for one in block if one not in focal]
                groups[head].append(_told(k[0, head], v[0, head], mean[0, head, asks], rest))
                singles[head].extend(focal)
            oldest = asks + 1
        for head in range(heads[1]):
            alone = singles[head] + list(range(oldest, step + 1))
            keys = torch.stack([one[0] for one in groups[head]] + [k[0, head, one] for one in alone])
            values = torch.stack([one[1] for one in groups[head]] + [v[0, head, one] for one in alone])
            bias = torch.tensor([one[2] for one in groups[head]] + [0.0] * len(alone), dtype=torch.float64)
            for query_head in range(head * per_head, (head + 1) * per_head):
                weights = (keys @ q[0, query_head, step] / 8**0.5 + bias).softmax(-1)
                torch.testing.assert_close(out[0, query_head, 0], weights @ values, atol=1e-6, rtol=1e-5)
        assert cache.num_tokens == step + 1
        assert cache.num_entries == sum(part.num_entries for part in cache.segments())
        assert cache.segments()[2].num_entries < group + num_focal + window


def test_a_block_is_one_and_a_tenth_of_a_group_and_keys_are_turned_where_it_ends() -> None:
    q, k, v = qkv(1, 1, 1, 60, 60, 8)
    rotation = angles(60)
    start = Layout(40, rotation=Rotation(rotation.cos[:40], rotation.sin[:40]))
    method = Dga()
    assert method.num_focal_of_block == 2
    prompt = Prompt(q[:, :, :40], k[:, :, :40], v[:, :, :40], start)
    cache = method.cache()
    cache.fill(prompt, method.plan(prompt))
    held = []
    for step in range(40, 60):
        at = slice(step, step + 1)
        cache.append(q[:, :, at], k[:, :, at], v[:, :, at], Rotation(rotation.cos[at], rotation.sin[at]))
        held.append(tuple(part.num_entries for part in cache.segments()))
    assert held[17][2] == 18  # 1.1 · 16, and the two that stay are whole tokens
    assert (held[18][0] - held[17][0], held[18][1] - held[17][1], held[18][2]) == (1, 2, 1)
    pooled, staying = cache.segments()[:2]
    folded = [at for at in range(40, 58) if at not in staying.last.flatten().tolist()]
    assert len(folded) == 16
    assert int(pooled.last[0, 0, -1]) == folded[-1]
    weights = (k[0, 0, folded] @ q[0, 0, 57] / 8**0.5).softmax(-1)
    flat = weights @ unrotate(k[0, 0, folded], rotation, torch.tensor(folded))
    torch.testing.assert_close(pooled.k[0, 0, -1], rotate(flat[None], rotation, torch.tensor([folded[-1]]))[0])
    with pytest.raises(InputError, match="rotation of its token"):
        cache.append(q[:, :, :1], k[:, :, :1], v[:, :, :1])
    with pytest.raises(ShapeError, match="one token"):
        cache.append(q, k, v)


def test_equal_tokens_need_a_bias_to_weigh_what_they_weigh() -> None:
    q, k, v = qkv(1, 4, 2, 64, 64, 8)
    k, v = (x[:, :, ::8].repeat_interleave(8, 2) for x in (k, v))
    prompt, dense = Prompt(q, k, v, Layout(64)), sdpa_causal(q, k, v)
    nothing_focal: dict[str, Any] = {"group": 8, "focal_share": 0.0}
    free = attended(Dga.training_free(**nothing_focal), prompt)
    torch.testing.assert_close(free, dense, atol=1e-6, rtol=1e-5)
    assert (attended(Dga(**nothing_focal), prompt) - dense).norm() / dense.norm() > 0.2


@few
@given(case=cases, share=shares)
def test_grouping_never_worsens_the_condition_of_the_coding_problem(case: Case, share: float) -> None:
    """Theorem 3: cond(Pᵀ H P) ≤ cond(H), P being the groups' indicator with columns of length one."""
    prompt, method = case.prompt(), Dga(**case.shape, focal_share=share)
    chosen = method.choose(prompt)
    members = method.members(prompt, chosen)[0, 0]
    alone = set(range(case.length)) - set(members[members >= 0].tolist())
    groups = [one[one >= 0].tolist() for one in members if one[0] >= 0] + [[at] for at in sorted(alone)]
    indicator = torch.zeros(case.length, len(groups), dtype=torch.float64)
    for n, group in enumerate(groups):
        indicator[group, n] = len(group) ** -0.5
    torch.testing.assert_close(indicator.T @ indicator, torch.eye(len(groups), dtype=torch.float64))
    values = prompt.v[0, 0]
    coding = values @ values.T + 0.1 * torch.eye(case.length, dtype=torch.float64)
    grouped = indicator.T @ coding @ indicator
    assert torch.linalg.cond(grouped) <= torch.linalg.cond(coding) * (1 + 1e-9)


def test_noise_in_the_logits_falls_at_least_like_the_size_of_a_group() -> None:
    noise = qkv(1, 1, 1, 1, 16 * 512, 1, seed=3)[1]
    variances = {
        size: float(pool(noise, noise, torch.arange(16 * 512).view(1, 1, -1, size)).entries.k.var())
        for size in (1, 4, 16)
    }
    for size in (4, 16):
        assert variances[size] <= 1.15 * variances[1] / size


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("length", [127, 129])
def test_low_precision_is_near_float64(dtype: torch.dtype, length: int) -> None:
    q, k, v = (x.to(dtype) for x in qkv(1, 4, 2, length, length, 16))
    method, layout = Dga(bias="matched"), Layout(length, rotation=angles(length))
    prompt, exact = Prompt(q, k, v, layout), Prompt(q.double(), k.double(), v.double(), layout)
    chosen = method.choose(prompt)
    got = reference.attend(q, k, v, method.plan_with(prompt, chosen)).out.double()
    truth = reference.attend(exact.q, exact.k, exact.v, method.plan_with(exact, chosen)).out
    assert (got - truth).abs().max() < 2e-2
    assert (got - truth).norm() / truth.norm() < 2e-2


def test_sinks_stay_on_top_of_the_share_and_padding_stays_unseen() -> None:
    q, k, v = qkv(1, 1, 1, 40, 40, 8)
    exact = torch.zeros(40, dtype=torch.bool)
    exact[:3] = True
    prompt = Prompt(q, k, v, Layout(40, exact=exact))
    chosen = Dga().choose(prompt)
    assert int(chosen.sum()) == 3 + 4
    assert chosen[0, 0, :3].all()
    plan = Dga().plan(prompt)
    assert isinstance(plan.selected, Entries)
    assert plan.selected.num_entries == 7


def test_settings_are_checked_and_published_by_default() -> None:
    method = open_method("dga")
    assert isinstance(method, Dga)
    assert (method.group, method.focal_share, method.window, method.bias) == (16, 0.1, 1, "none")
    wrongs: tuple[dict[str, Any], ...] = (
        {"group": 0}, {"num_samples": 0}, {"window": 0}, {"focal_share": 1.1}, {"samples": "some"}, {"bias": "some"},
    )  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(InputError):
            Dga(**wrong)
    prompt = Prompt(*qkv(1, 1, 1, 4, 9, 8), layout=Layout(9))
    with pytest.raises(InputError, match="not in chunks"):
        method.plan(prompt)
