"""Steps of vLLM taken apart, and one layer's attention to them: pure tensors, no vLLM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fdvs.kernels import reference
from fdvs.kernels.choice import choice_of
from fdvs.kernels.layout import Layout, protect
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.budgets import Budgets, HeadBudget
from fdvs.kernels.methods.tca import Tca
from fdvs.kernels.names import METHODS, open_method
from fdvs.kernels.plans import dense_plan
from fdvs.kernels.plugs.vllm.asked import Asked, DecodeRule
from fdvs.kernels.plugs.vllm.batches import Request, Split, Splitter, requests_of
from fdvs.kernels.plugs.vllm.fitting import why_it_does_not_fit
from fdvs.kernels.plugs.vllm.proof import NEWS_EVERY_S, Report, read_reports
from fdvs.kernels.plugs.vllm.session import LayerAttention, Session
from tests.kernels.inputs import qkv, sdpa_causal

METHOD = Tca(window=8, block=4, share=0.5)


def split(splitter: Splitter, *parts: tuple[int, int, int], is_causal: bool = True) -> Split:
    """Of a step with requests of (rows, tokens so far, first block)."""
    starts = [0]
    for rows, _, _ in parts:
        starts.append(starts[-1] + rows)
    requests = requests_of(starts, [part[1] for part in parts], [part[2] for part in parts])
    return splitter.split(requests, is_causal=is_causal)


def indices(found: tuple[Request, ...]) -> list[int]:
    return [one.index for one in found]


def test_a_mixed_step_is_taken_apart_request_by_request() -> None:
    found = split(Splitter(dense_below=10), (1, 36, 1), (12, 12, 2), (9, 9, 3), (5, 40, 4), (10, 10, 5))
    assert indices(found.planned) == [1, 4]
    assert [(one.begin, one.end) for one in found.planned] == [(1, 13), (27, 37)]
    assert [(one.index, reason) for one, reason in found.dense] == [(0, "write"), (2, "short"), (3, "continued")]
    assert found.dense_rows().tolist() == [0, *range(13, 27)]
    assert not found.reduced


def test_rows_that_only_fill_a_step_up_belong_to_nobody() -> None:
    assert [one.index for one in requests_of([0, 4, 4, 5, 5], [4, 7, 9, 0], [1, 2, 3, 0])] == [0, 2]


def test_what_vllm_wants_in_both_directions_is_dense() -> None:
    found = split(Splitter(dense_below=0), (12, 12, 1), is_causal=False)
    assert [reason for _, reason in found.dense] == ["other"]


def test_a_prompt_of_one_token_has_nothing_to_plan() -> None:
    assert split(Splitter(dense_below=0), (1, 1, 1)).is_all_dense


def reduced(most: int = 4) -> Splitter:
    return Splitter(dense_below=4, decode="reduced", most=most)


def test_who_was_planned_goes_on_from_the_reduced_cache() -> None:
    splitter = reduced()
    split(splitter, (6, 6, 10), (3, 3, 11))
    found = split(splitter, (1, 7, 10), (1, 4, 11))
    assert indices(found.reduced) == [0]
    assert [(one.index, reason) for one, reason in found.dense] == [(1, "write")]  # its prompt was short
    assert indices(split(splitter, (1, 8, 10)).reduced) == [0]


def test_a_step_that_does_not_follow_on_the_last_one_is_dense_from_then_on() -> None:
    splitter = reduced()
    split(splitter, (6, 6, 10))
    assert split(splitter, (1, 9, 10)).is_all_dense
    assert split(splitter, (1, 7, 10)).is_all_dense


def test_a_prompt_in_parts_is_dense_to_its_end() -> None:
    splitter = reduced()
    split(splitter, (6, 6, 10))
    assert split(splitter, (5, 11, 10)).is_all_dense
    assert split(splitter, (1, 12, 10)).is_all_dense


def test_a_block_that_is_used_again_begins_anew() -> None:
    splitter = reduced()
    split(splitter, (6, 6, 10))
    split(splitter, (9, 9, 10))
    assert split(splitter, (1, 7, 10)).is_all_dense
    split(splitter, (9, 9, 10))
    assert indices(split(splitter, (1, 10, 10)).reduced) == [0]


def test_no_more_are_remembered_than_can_live() -> None:
    splitter = reduced(most=2)
    for block in (1, 2, 3):
        found = split(splitter, (6, 6, block))
    assert found.alive == {2, 3}


def flat(heads: int, *parts: Tensor) -> Tensor:
    """`[1, H, T, D]` of each request as the `[T, H, D]` that vLLM hands over, one request after another."""
    return torch.cat([part[0].transpose(0, 1) for part in parts]).reshape(-1, heads, parts[0].shape[-1])


def layer(decode: DecodeRule = "dense") -> LayerAttention:
    choice = choice_of("tca", ["dense_below=0", "sinks=2"])
    return LayerAttention(Session(Asked(choice, decode), METHOD), 8**-0.5)


def test_each_planned_prompt_is_attended_alone_and_no_other_row_is_touched() -> None:
    first, second, other = qkv(1, 4, 2, 20, 20, 8), qkv(1, 4, 2, 13, 13, 8, seed=1), qkv(1, 4, 2, 3, 3, 8, seed=2)
    query, key, value = (
        flat(heads, one, two, three) for heads, one, two, three in zip((4, 2, 2), first, other, second, strict=True)
    )
    output = torch.full_like(query, torch.nan)
    planned = requests_of([0, 20, 23, 36], [20, 9, 13], [-1, -1, -1])
    attention = layer()
    attention.attend("layers.3.attn", 3, query, key, value, output, Split(planned=(planned[0], planned[2])))
    for (q, k, v), rows in ((first, slice(0, 20)), (second, slice(23, 36))):
        length = q.shape[2]
        prompt = Prompt(q, k, v, Layout(length, exact=protect(length, sinks=2)), scale=8**-0.5, layer=3)
        wanted = reference.attend(q, k, v, METHOD.plan(prompt), scale=8**-0.5).out
        torch.testing.assert_close(output[rows], flat(4, wanted), atol=1e-6, rtol=1e-6)
        assert not torch.allclose(wanted, sdpa_causal(q, k, v), atol=1e-3)
    assert output[20:23].isnan().all()
    counts = attention.session.counts
    assert (counts.planned_calls, counts.layers) == (2, {"layers.3.attn"})
    assert 0 < counts.pairs < counts.dense_pairs == 4 * (20 * 21 + 13 * 14) // 2


def test_a_token_from_the_reduced_cache_sees_what_the_method_keeps() -> None:
    q, k, v = qkv(1, 4, 2, 21, 21, 8)
    query, key, value = flat(4, q), flat(2, k), flat(2, v)
    output = torch.zeros_like(query)
    attention = layer("reduced")
    prompt, step = requests_of([0, 20], [20], [7])[0], Request(0, 0, 1, 21, 7)
    attention.attend("a", 0, query[:20], key[:20], value[:20], output[:20], Split((prompt,), alive=frozenset({7})))
    attention.attend("a", 0, query[20:], key[20:], value[20:], output[20:], Split((), (step,), alive=frozenset({7})))
    cache = METHOD.cache()
    whole = Prompt(q[:, :, :20], k[:, :, :20], v[:, :, :20], Layout(20, exact=protect(20, sinks=2)), scale=8**-0.5)
    cache.fill(whole, METHOD.plan(whole))
    cache.append(q[:, :, 20:], k[:, :, 20:], v[:, :, 20:])
    wanted = reference.decode(q[:, :, 20:], cache.segments(), scale=8**-0.5).out
    torch.testing.assert_close(output[20:], flat(4, wanted), atol=1e-6, rtol=1e-6)
    dense = reference.attend(q[:, :, 20:], k, v, dense_plan(1, 21)).out
    assert not torch.allclose(wanted, dense, atol=1e-3)
    assert list(attention.caches) == [7]
    attention.attend("a", 0, query[:0], key[:0], value[:0], output[:0], Split())
    assert not attention.caches


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_what_it_is(dtype: torch.dtype) -> None:
    q, k, v = qkv(1, 4, 2, 20, 20, 8, dtype=dtype)
    output = torch.zeros(20, 4, 8, dtype=dtype)
    layer().attend("a", 0, flat(4, q), flat(2, k), flat(2, v), output, Split(tuple(requests_of([0, 20], [20], [-1]))))
    assert output.isfinite().all()
    assert output.abs().sum() > 0


SMALL: dict[str, dict[str, Any]] = {
    "tca": {"window": 8, "block": 4, "share": 0.5},
    "cca": {"group": 4, "window": 8, "core_position": "rotated"},
    "dga": {"group": 4, "core_position": "rotated"},
    "lca": {"group": 4, "window": 8, "num_queries": 4},
    "hybrid": {},
    "blocks": {},
    "flexprefill": {},
    "xattention": {},
    "grid": {"strides": (4,)},
    "dense": {},
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_that_fits_attends_to_prompts_and_writes(name: str) -> None:
    method = open_method(name, **SMALL[name])
    assert why_it_does_not_fit(method, [0], heads_k=2) == ""
    has_cache = method.cache() is not None
    attention = LayerAttention(Session(Asked(choice_of(name), "reduced" if has_cache else "dense"), method), 8**-0.5)
    q, k, v = qkv(1, 4, 2, 37, 37, 8, dtype=torch.float32)
    query, key, value = flat(4, q), flat(2, k), flat(2, v)
    output = torch.full_like(query, torch.nan)
    whole = requests_of([0, 36], [36], [5])
    attention.attend("a", 0, query[:36], key[:36], value[:36], output[:36], Split(tuple(whole), alive=frozenset({5})))
    if has_cache:
        step = (Request(0, 0, 1, 37, 5),)
        attention.attend("a", 0, query[36:], key[36:], value[36:], output[36:], Split((), step, alive=frozenset({5})))
    assert output[: 37 if has_cache else 36].isfinite().all()


@pytest.mark.parametrize(
    ("name", "told"),
    [("cca", "core_position=rotated"), ("dga", "core_position=rotated"), ("grid", "borders of frames in the layout")],
)
def test_a_method_that_needs_more_than_vllm_says_is_refused(name: str, told: str) -> None:
    assert told in why_it_does_not_fit(open_method(name))


def test_budgets_of_another_model_are_refused() -> None:
    selection = Tca(block=4).selection
    budgets = Budgets(selection, {0: [HeadBudget((0.5, 0.5, 0.0))] * 2}, window=8, target=0.9, model="m")
    method = Tca(block=4, window=8, budgets=budgets)
    assert why_it_does_not_fit(method, [0], heads_k=2) == ""
    assert "no budgets for layer 1" in why_it_does_not_fit(method, [0, 1], heads_k=2)
    assert "the budgets are for 2" in why_it_does_not_fit(method, [0], heads_k=4)


def test_a_report_that_nobody_reads_any_more_stops_nothing(tmp_path: Path) -> None:
    choice = choice_of("tca", ["dense_below=0"])
    session = Session(Asked(choice), METHOD, report=Report(tmp_path))
    session.tell_if_due()
    assert read_reports(tmp_path).stages == ("built",)
    session.tell_if_due()
    session.counts.planned_calls = 2
    assert session.report is not None
    session.report.written_at -= NEWS_EVERY_S  # a prompt is news, and told soon
    session.tell_if_due()
    assert read_reports(tmp_path).planned_calls == 2
    session.counts.count_dense("write")
    session.report.written_at -= NEWS_EVERY_S
    session.tell_if_due()
    assert read_reports(tmp_path).dense == ()  # a token is none
    session.report = Report(tmp_path / "gone")
    session.tell_if_due()
    assert session.report is None
