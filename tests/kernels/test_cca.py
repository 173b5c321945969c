"""CCA: what a core token is, what counts how often, and a cache that folds at the right step."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fdvs.errors import InputError, ShapeError
from fdvs.kernels import reference
from fdvs.kernels.columns import compact
from fdvs.kernels.layout import Layout, protect
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.cca import Cca
from fdvs.kernels.methods.dense import Dense
from fdvs.kernels.names import open_method
from fdvs.kernels.plans import Entries, dense_plan
from fdvs.kernels.rotary import Rotation, rotate, unrotate
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

positions_of_cores = st.sampled_from(("last", "anchor", "rotated"))


@few
@given(case=cases)
def test_every_token_counts_exactly_once(case: Case) -> None:
    check_counts(Cca(**case.shape), case.prompt())


@few
@given(case=cases)
def test_as_printed_the_last_token_before_the_window_counts_twice(case: Case) -> None:
    group = max(case.group, 2)
    case = case._replace(group=group, borders=tuple(at for at in case.borders if at > 1), exact=())
    check_counts(Cca(group=group, window=case.window, counts_border_twice=True), case.prompt(), duplicates=1)


@few
@given(case=cases, place=positions_of_cores)
def test_a_window_over_everything_and_groups_of_one_are_dense_attention(case: Case, place: Any) -> None:
    whole = Cca(group=case.group, window=64, core_position=place)
    single = Cca(group=1, window=case.window, core_position=place)
    check_window_and_single_tokens_are_dense(whole, single, case.prompt())


@few
@given(case=cases, place=positions_of_cores)
def test_later_tokens_change_nothing_before_them(case: Case, place: Any) -> None:
    check_causality(Cca(**case.shape, core_position=place), case.prompt(), case.seed % case.length)


@few
@given(
    case=cases,
    num_new=st.integers(1, 20),
    place=positions_of_cores,
    bias=st.sampled_from(("none", "log_count", "matched")),
    is_twice=st.booleans(),
)
def test_decoding_equals_prefill_row_by_row_while_groups_fold(
    case: Case, num_new: int, place: Any, bias: Any, is_twice: bool
) -> None:
    group = max(case.group, 2) if is_twice else case.group
    case = case._replace(borders=tuple(at for at in case.borders if at > 1))
    method = Cca(group=group, window=case.window, core_position=place, bias=bias, counts_border_twice=is_twice)
    check_decoding(method, case.prompt(case.length + num_new), case.length)


@few
@given(case=cases, share=st.floats(0.1, 0.9))
def test_a_prompt_in_chunks_is_the_prompt_at_once(case: Case, share: float) -> None:
    length = max(case.length, 2)
    case = case._replace(length=length)
    first = min(max(1, int(share * length)), length - 1)
    if first in case.borders:  # a short group before a border is known to be complete only with the border
        case = case._replace(borders=tuple(at for at in case.borders if at != first))
    check_chunks(Cca(**case.shape, bias="matched"), case.prompt(), first)


def test_a_later_chunk_needs_the_entries_of_those_before_it() -> None:
    prompt = Case((2, 1), 20, 4, 4, (), (), False, 0).prompt()
    rest = Prompt(prompt.q[:, :, 10:], prompt.k, prompt.v, prompt.layout)
    method = Cca(group=4, window=4)
    with pytest.raises(InputError, match="position 10 need queries of an earlier chunk"):
        method.plan(rest)
    with pytest.raises(ShapeError, match="2 groups ended in earlier chunks, 1 entries are known"):
        method.plan(rest, known=method.plan(truncated(prompt, 7)).pooled)


@pytest.mark.parametrize("place", ["last", "anchor", "rotated"])
@pytest.mark.parametrize("bias", ["none", "log_count", "matched"])
def test_a_core_token_by_hand(place: Any, bias: Any) -> None:
    q, k, v = qkv(1, 4, 2, 12, 12, 8)
    rotation = angles(12)
    prompt = Prompt(q, k, v, Layout(12, rotation=rotation), scale=0.5)
    plan = Cca(group=4, window=4, core_position=place, bias=bias).plan(prompt)
    assert plan.pooled is not None
    assert plan.pooled.last.tolist() == [[[3, 7, 11]] * 2]
    for head, group in ((0, 0), (1, 1), (1, 2)):
        at = range(4 * group, 4 * group + 4)
        query = (q[0, 2 * head, at[-1]] + q[0, 2 * head + 1, at[-1]]) / 2
        logits = torch.stack([k[0, head, n] @ query for n in at]) * 0.5
        weights = logits.softmax(0)
        where = {"last": at[-1], "anchor": at[int(weights.argmax())], "rotated": None}[place]
        if where is None:
            key = sum(w * k[0, head, n] for w, n in zip(weights, at, strict=True))
        else:
            flat = [unrotate(k[0, head, n : n + 1], rotation, torch.tensor([n])) for n in at]
            core = torch.stack([w * part for w, part in zip(weights, flat, strict=True)]).sum(0)
            key = rotate(core, rotation, torch.tensor([where]))[0]
        assert isinstance(key, torch.Tensor)
        torch.testing.assert_close(plan.pooled.k[0, head, group], key)
        value = torch.stack([w * v[0, head, n] for w, n in zip(weights, at, strict=True)]).sum(0)
        torch.testing.assert_close(plan.pooled.v[0, head, group], value)
        wanted = {"none": 0.0, "log_count": math.log(4), "matched": float(logits.logsumexp(0) - key @ query * 0.5)}
        assert float(plan.pooled.biases()[0, head, group]) == pytest.approx(wanted[bias], rel=1e-5)


def test_the_tokens_of_one_group_are_one_token_if_they_are_equal_but_only_a_bias_gives_them_their_weight() -> None:
    q, k, v = qkv(1, 4, 2, 64, 64, 8)
    k, v = (x[:, :, ::8].repeat_interleave(8, 2) for x in (k, v))
    prompt = Prompt(q, k, v, Layout(64))
    dense = reference.attend(q, k, v, dense_plan(64, 64)).out
    published, log_count, matched = (
        attended(Cca(group=8, window=8, bias=bias), prompt) for bias in ("none", "log_count", "matched")
    )
    torch.testing.assert_close(log_count, dense, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(matched, dense, atol=1e-6, rtol=1e-5)
    assert (published - dense).norm() / dense.norm() > 0.2
    preset = Cca.training_free(group=8, window=8)
    torch.testing.assert_close(attended(preset, prompt), log_count)


def test_a_matched_entry_weighs_for_its_own_query_what_its_tokens_weigh() -> None:
    q, k, v = qkv(2, 2, 2, 9, 9, 8)
    prompt = Prompt(q, k, v, Layout(9, rotation=angles(9)))
    for place in ("last", "anchor", "rotated"):
        pooled = Cca(group=4, window=1, bias="matched", core_position=place).plan(prompt).pooled
        assert pooled is not None
        for group, row in ((0, 3), (1, 7)):
            at = slice(4 * group, 4 * group + 4)
            own = slice(group, group + 1)
            parts = (pooled.k, pooled.v, pooled.last, pooled.biases())
            one = Entries(*(part[:, :, own] for part in parts))
            tokens = compact(k, v, torch.arange(at.start, at.stop).expand(2, 2, 4))
            got, truth = (reference.decode(q[:, :, row : row + 1], [part]) for part in (one, tokens))
            torch.testing.assert_close(got.lse, truth.lse, atol=1e-6, rtol=1e-6)
            torch.testing.assert_close(got.out, truth.out, atol=1e-6, rtol=1e-6)


@few
@given(
    seed=st.integers(0, 999), delta=st.floats(0.001, 1.0), eps=st.floats(0.001, 1.0), group=st.sampled_from((2, 5, 16))
)
def test_with_the_log_count_the_error_is_bounded_by_the_spread_within_groups(
    seed: int, delta: float, eps: float, group: int
) -> None:
    """‖ô - o‖ ≤ eps + (e^{2 delta} - 1) max ‖v_rep‖, whatever the length."""
    generator = torch.Generator().manual_seed(seed)
    for length in (32, 256):
        q, k, v = qkv(1, 1, 1, length, length, 8, seed=seed)
        k, v = (x[:, :, ::group].repeat_interleave(group, 2)[:, :, :length] for x in (k, v))
        k = k + delta * torch.rand(k.shape, generator=generator, dtype=k.dtype)
        v = v + eps * torch.rand(v.shape, generator=generator, dtype=v.dtype)
        prompt = Prompt(q, k, v, Layout(length))
        method = Cca.training_free(group=group, window=4)
        plan = method.plan(prompt)
        assert plan.pooled is not None
        out = reference.attend(q, k, v, plan).out
        error = (out - sdpa_causal(q, k, v)).norm(dim=-1)[0, 0]
        members = method.grouping.groups(prompt).members
        spread_k = k[0, 0, members] - plan.pooled.k[0, 0, :, None]
        logits = torch.einsum("td,mgd->tmg", q[0, 0], spread_k).abs() / 8**0.5
        spread_v = (v[0, 0, members] - plan.pooled.v[0, 0, :, None]).norm(dim=-1)
        largest = plan.pooled.v[0, 0].norm(dim=-1).max()
        bound = spread_v.max() + (torch.exp(2 * logits.amax((1, 2))) - 1) * largest
        assert (error <= bound + 1e-6).all()


def test_three_axes_of_position_that_are_equal_are_one() -> None:
    """M-RoPE mixes three position axes into the angles; of text all three are the same."""
    q, k, v = qkv(1, 2, 1, 40, 40, 8)
    one = angles(40)
    turns = torch.arange(40, dtype=torch.float64)[None, :, None] * torch.tensor([1.0, 0.3, 0.05], dtype=torch.float64)
    axes = turns.expand(3, -1, -1)  # time, height, width
    mixed = torch.stack([axes[axis, :, axis] for axis in range(3)], dim=-1).repeat(1, 2)
    three = Rotation(mixed.cos(), mixed.sin())
    method = Cca(group=4, window=8)
    outs = [attended(method, Prompt(q, k, v, Layout(40, rotation=rotation))) for rotation in (one, three)]
    assert torch.equal(*outs)
    # In a picture the axes differ, and an entry stands where its last token stands.
    picture = Rotation(mixed.flip(1).cos(), mixed.flip(1).sin())
    assert not torch.allclose(outs[0], attended(method, Prompt(q, k, v, Layout(40, rotation=picture))))


def test_averaged_rotated_keys_lose_the_fast_channels() -> None:
    """Sixteen equal keys with a channel that turns by one radian each: as rotated, 0.13 of its length is left."""
    turns = torch.arange(16, dtype=torch.float64)[:, None].repeat(1, 2)
    rotation = Rotation(turns.cos(), turns.sin())
    flat = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(1, 1, 16, 2)
    k = rotate(flat, rotation, torch.arange(16))
    prompt = Prompt(torch.zeros_like(k), k, k, Layout(16, rotation=rotation))
    places: tuple[Any, ...] = ("rotated", "last")
    length = {
        place: float(pooled.k.norm())
        for place in places
        if (pooled := Cca(window=1, core_position=place).plan(prompt).pooled) is not None
    }
    assert length["rotated"] == pytest.approx(abs(math.sin(8) / (16 * math.sin(0.5))))
    assert length["rotated"] == pytest.approx(0.13, abs=0.005)
    assert length["last"] == pytest.approx(1)


def test_sinks_and_text_stay_as_they_are_and_groups_go_around_them() -> None:
    q, k, v = qkv(1, 1, 1, 24, 24, 8)
    text = torch.zeros(24, dtype=torch.bool)
    text[10:14] = True
    prompt = Prompt(q, k, v, Layout(24, torch.tensor([10, 14]), protect(24, sinks=2, text=text)))
    method = Cca(group=4, window=4)
    assert method.grouping.groups(prompt).members.tolist() == [
        [2, 3, -1, -1], [4, 5, 6, 7], [8, 9, -1, -1], [14, 15, 16, 17], [18, 19, 20, 21],
    ]  # fmt: skip
    plan = method.plan(prompt)
    assert plan.selected is not None
    assert plan.selected.last.tolist() == [[[0, 1, 10, 11, 12, 13]]]
    cache = method.cache()
    cache.fill(prompt, plan)
    assert [part.num_entries for part in cache.segments()] == [4, 6, 6]
    assert (cache.num_entries, cache.num_tokens) == (5 + 6 + 6, 24)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("length", [127, 129])
def test_low_precision_is_near_float64(dtype: torch.dtype, length: int) -> None:
    q, k, v = (x.to(dtype) for x in qkv(1, 4, 2, length, length, 16))
    rotation = angles(length)
    method = Cca(group=16, window=32, bias="matched")
    got = attended(method, Prompt(q, k, v, Layout(length, rotation=rotation))).double()
    truth = attended(method, Prompt(q.double(), k.double(), v.double(), Layout(length, rotation=rotation)))
    assert (got - truth).abs().max() < 2e-2
    assert (got - truth).norm() / truth.norm() < 2e-2


def test_settings_are_checked_and_published_by_default() -> None:
    method = open_method("cca")
    assert isinstance(method, Cca)
    assert (method.group, method.window, method.bias, method.is_causal) == (16, 1024, "none", True)
    wrongs: tuple[dict[str, Any], ...] = ({"group": 0}, {"window": 0}, {"bias": "some"}, {"core_position": "middle"})
    for wrong in wrongs:
        with pytest.raises(InputError):
            Cca(**wrong)
    with pytest.raises(InputError, match="groups of one"):
        Cca(group=1, counts_border_twice=True)
    prompt = Prompt(*qkv(1, 1, 1, 9, 9, 8), layout=Layout(9, torch.tensor([1])))
    with pytest.raises(InputError, match="first group of one"):
        Cca(group=2, window=2, counts_border_twice=True).plan(prompt)


def test_a_step_is_one_token_with_its_rotation() -> None:
    q, k, v = qkv(1, 1, 1, 9, 9, 8)
    method = Cca(group=2, window=2)
    prompt = Prompt(q, k, v, Layout(9, rotation=angles(9)))
    cache = method.cache()
    cache.fill(prompt, method.plan(prompt))
    with pytest.raises(InputError, match="rotation of its token"):
        cache.append(q[:, :, :1], k[:, :, :1], v[:, :, :1])
    with pytest.raises(ShapeError, match="one token"):
        cache.append(q, k, v)


def test_dense_keeps_everything() -> None:
    q, k, v = qkv(1, 2, 1, 12, 12, 8)
    prompt = Prompt(q[:, :, :9], k[:, :, :9], v[:, :, :9], Layout(9))
    method = open_method("dense")
    assert isinstance(method, Dense)
    cache = method.cache()
    assert cache is not None
    assert cache.num_tokens == 0
    plan = method.plan(prompt)
    torch.testing.assert_close(reference.attend(prompt.q, prompt.k, prompt.v, plan).out, sdpa_causal(q, k, v)[:, :, :9])
    cache.fill(prompt, plan)
    for step in range(9, 12):
        at = slice(step, step + 1)
        cache.append(q[:, :, at], k[:, :, at], v[:, :, at])
        out = reference.decode(q[:, :, at], cache.segments()).out
        torch.testing.assert_close(out, sdpa_causal(q, k, v)[:, :, at])
        assert cache.num_tokens == cache.num_entries == step + 1
