"""LCA on latents: absorbed and expanded attention agree, latents are pooled and rotary keys are not, caches fold."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fdvs.errors import InputError, ShapeError
from fdvs.kernels import reference
from fdvs.kernels.layout import Layout
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.mla import LatentLca, UpProjections, latent_prompt
from fdvs.kernels.plans import dense_plan
from tests.kernels.inputs import sdpa_causal
from tests.kernels.windowed import (
    Case,
    attended,
    cases,
    check_causality,
    check_counts,
    check_decoding,
    check_window_and_single_tokens_are_dense,
    few,
)

LATENT, ROTARY, CONTENT, VALUE = 12, 4, 6, 5
SCALE = (CONTENT + ROTARY) ** -0.5


class Layer(NamedTuple):
    """Inputs of latent attention: queries of both kinds, `[B, H, T, D]`, and what is kept of tokens, `[B, T, D]`."""

    q_content: Tensor
    q_rotary: Tensor
    latents: Tensor
    rotary: Tensor
    up: UpProjections

    def prompt(self, layout: Layout) -> Prompt:
        return latent_prompt(
            self.up.absorbed(self.q_content, self.q_rotary), self.latents, self.rotary, layout, scale=SCALE
        )

    def expanded(self) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of each head, as the model's own attention makes them."""
        heads = self.q_content.shape[1]
        keys = torch.einsum("btc,hnc->bhtn", self.latents, self.up.keys)
        rotary = self.rotary[:, None].expand(-1, heads, -1, -1)
        q = torch.cat([self.q_content, self.q_rotary], -1)
        return q, torch.cat([keys, rotary], -1), torch.einsum("btc,hvc->bhtv", self.latents, self.up.values)


def layer(heads: int, length: int, seed: int) -> Layer:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    up = UpProjections(normal(heads, CONTENT, LATENT) / LATENT**0.5, normal(heads, VALUE, LATENT) / LATENT**0.5)
    queries = normal(2, heads, length, CONTENT), normal(2, heads, length, ROTARY)
    return Layer(*queries, normal(2, length, LATENT), normal(2, length, ROTARY), up)


def prompt_of(case: Case, length: int | None = None) -> Prompt:
    shape = case.prompt(length).layout
    return layer(case.heads[0], shape.length, case.seed).prompt(shape)


def method_of(case: Case, **more: Any) -> LatentLca:
    return LatentLca(LATENT, case.group, case.window, **more)


@few
@given(case=cases, bias=st.sampled_from(("none", "log_count", "matched")))
def test_absorbed_and_expanded_forms_give_the_same(case: Case, bias: Any) -> None:
    inputs = layer(case.heads[0], case.length, case.seed)
    layout = case.prompt().layout
    prompt = inputs.prompt(layout)
    q, k, v = inputs.expanded()
    for plan in (dense_plan(case.length, case.length), method_of(case, bias=bias).plan(prompt)):
        absorbed = reference.attend(prompt.q, prompt.k, prompt.v, plan, scale=SCALE).out
        expanded = reference.attend(q, k, v, inputs.up.expanded_plan(plan), scale=SCALE).out
        torch.testing.assert_close(inputs.up.outputs(absorbed), expanded, atol=1e-10, rtol=1e-8)
        if plan.pooled is None:
            torch.testing.assert_close(expanded, sdpa_causal(q, k, v, scale=SCALE), atol=1e-10, rtol=1e-8)


@few
@given(case=cases)
def test_every_token_counts_exactly_once(case: Case) -> None:
    check_counts(method_of(case), prompt_of(case))


@few
@given(case=cases)
def test_a_window_over_everything_and_groups_of_one_are_dense_attention(case: Case) -> None:
    whole, single = LatentLca(LATENT, case.group, 64), LatentLca(LATENT, 1, case.window)
    check_window_and_single_tokens_are_dense(whole, single, prompt_of(case))


@few
@given(case=cases)
def test_no_later_token_shines_through(case: Case) -> None:
    check_causality(method_of(case), prompt_of(case), case.seed % case.length)


@few
@given(case=cases, num_new=st.integers(1, 20), bias=st.sampled_from(("none", "log_count", "matched")))
def test_decoding_equals_prefill_row_by_row_while_groups_fold(case: Case, num_new: int, bias: Any) -> None:
    check_decoding(method_of(case, bias=bias), prompt_of(case, case.length + num_new), case.length)


def test_a_cache_of_latents_keeps_no_values_beside_them() -> None:
    prompt = layer(4, 40, 0).prompt(Layout(40, exact=torch.arange(40) < 2))
    method = LatentLca(LATENT, 4, 8)
    cache = method.cache()
    cache.fill(prompt, method.plan(prompt))
    for part in cache.segments():
        assert part.k.shape[1:] == (1, part.num_entries, LATENT + ROTARY)
        assert part.v.shape[-1] == LATENT
        assert part.v.data_ptr() == part.k.data_ptr()
    assert [part.num_entries for part in cache.segments()] == [8, 2, 8]
    assert (cache.num_tokens, cache.num_entries) == (40, 10 + 2 + 8)


@pytest.mark.parametrize("queries", ["causal", "prompt_end"])
def test_a_group_by_hand(queries: Any) -> None:
    inputs = layer(3, 13, 1)
    prompt = inputs.prompt(Layout(13))
    plan = LatentLca(LATENT, 4, 4, num_queries=6, queries=queries).plan(prompt)
    assert plan.pooled is not None
    q, k, _ = inputs.expanded()
    for group in range(3):
        end = 4 * group + 4
        newest = slice(max(0, end - 6), end) if queries == "causal" else slice(7, 13)
        # Importance is the mean of the heads' own logits.
        logits = (k[0, :, end - 4 : end] @ q[0, :, newest].mean(1)[..., None]).mean(0)[:, 0] * SCALE
        weights = logits.softmax(0)
        anchor = end - 4 + int(weights.argmax())
        torch.testing.assert_close(plan.pooled.k[0, 0, group, :LATENT], weights @ inputs.latents[0, end - 4 : end])
        assert torch.equal(plan.pooled.k[0, 0, group, LATENT:], inputs.rotary[0, anchor])
        assert torch.equal(plan.pooled.v[0, 0, group], plan.pooled.k[0, 0, group, :LATENT])


def test_equal_latents_need_a_bias_to_weigh_what_they_weigh() -> None:
    inputs = layer(4, 64, 2)
    inputs = inputs._replace(
        latents=inputs.latents[:, ::8].repeat_interleave(8, 1), rotary=inputs.rotary[:, ::8].repeat_interleave(8, 1)
    )
    prompt = inputs.prompt(Layout(64))
    dense = reference.attend(prompt.q, prompt.k, prompt.v, dense_plan(64, 64), scale=SCALE).out

    def error(bias: Any) -> float:
        plan = LatentLca(LATENT, 8, 8, bias=bias).plan(prompt)
        out = reference.attend(prompt.q, prompt.k, prompt.v, plan, scale=SCALE).out
        return float((out - dense).norm() / dense.norm())

    assert error("log_count") < 1e-6
    assert error("matched") < 1e-6
    assert error("none") > 0.2


def test_what_is_no_latent_prompt_is_refused() -> None:
    inputs = layer(2, 9, 0)
    prompt = inputs.prompt(Layout(9))
    with pytest.raises(ShapeError, match="latents of size 512, got 1 of 12"):
        LatentLca().plan(prompt)
    with pytest.raises(ShapeError, match="one shared head"):
        LatentLca(8).plan(Prompt(*inputs.expanded()[:2], torch.zeros(2, 2, 9, 8), Layout(9)))
    with pytest.raises(ShapeError, match=r"size 12 \+ 4"):
        latent_prompt(inputs.q_content, inputs.latents, inputs.rotary, Layout(9), scale=1.0)
    known = LatentLca(LATENT).plan(prompt).pooled
    with pytest.raises(InputError, match="anew"):
        LatentLca(LATENT, queries="prompt_end").plan(prompt, known)
    wrongs: tuple[dict[str, Any], ...] = ({"queries": "some"}, {"latent_size": 0}, {"bias": "some"}, {"group": 0})
    for wrong in wrongs:
        with pytest.raises(InputError):
            LatentLca(**wrong)
    assert attended(LatentLca(LATENT), prompt).shape == (2, 2, 9, LATENT)
