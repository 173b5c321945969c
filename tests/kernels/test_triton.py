"""The Triton kernels that plan, and what all of them refuse. Attention itself: test_paths.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

pytest.importorskip("triton")

from fdvs.errors import BackendUnavailableError, InputError, ShapeError
from fdvs.kernels.backends import attend
from fdvs.kernels.layout import Layout
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.names import open_method, open_ops
from fdvs.kernels.ops import REFERENCE
from fdvs.kernels.plans import NEVER
from fdvs.kernels.pooling import PoolRule
from fdvs.kernels.samples import Shape, random_qkv, sample
from fdvs.kernels.triton import columns, decode, launch, pool
from fdvs.kernels.triton.launch import IS_INTERPRETED

TRITON = open_ops("triton")
DEVICE = "cpu" if IS_INTERPRETED else "cuda"


@pytest.fixture(autouse=True)
def _new_tensors_are_full_of_nan() -> Iterator[None]:
    torch._C._set_deterministic_algorithms(True)  # see test_paths.py
    yield
    torch._C._set_deterministic_algorithms(False)


def groups() -> torch.Tensor:
    """Whole groups, one that is short, one without members, other ones for another head: `[1, 2, 3, 4]`."""
    return torch.tensor(
        [[[[0, 1, 2, 3], [4, 6, -1, -1], [-1, -1, -1, -1]], [[5, 7, 9, 11], [8, -1, -1, -1], [2, 4, 10, 12]]]]
    )


@pytest.mark.parametrize("at_once", [8192, 2 * 32], ids=["whole", "in_parts"])
@pytest.mark.parametrize(("key_rule", "value_rule"), [("weighted", "weighted"), ("anchor", "mean"), ("mean", "anchor")])
@pytest.mark.parametrize("has_queries", [True, False])
def test_pooled_groups_are_those_of_the_reference(
    monkeypatch: pytest.MonkeyPatch, at_once: int, key_rule: PoolRule, value_rule: PoolRule, has_queries: bool
) -> None:
    monkeypatch.setattr(pool, "MAX_TILE", at_once)
    _, k, v = (x.float() for x in random_qkv(Shape(1, 2, 2, 13, 13, 24, 20)))
    # With this sign the best member comes in the second part of some groups and in the first of others.
    queries = -random_qkv(Shape(1, 2, 2, 3, 3, 24), seed=7)[0].float() if has_queries else None
    got = TRITON.pool(
        k.to(DEVICE),
        v.to(DEVICE),
        groups().to(DEVICE),
        None if queries is None else queries.to(DEVICE),
        key_rule=key_rule,
        value_rule=value_rule,
    )
    truth = REFERENCE.pool(k, v, groups(), queries, key_rule=key_rule, value_rule=value_rule)
    assert got.entries.last.tolist() == truth.entries.last.tolist()
    assert got.anchors.tolist() == truth.anchors.tolist()
    for mine, theirs in (
        (got.weights, truth.weights),
        (got.entries.k, truth.entries.k),
        (got.entries.v, truth.entries.v),
        (got.entries.biases(), truth.entries.biases()),
    ):
        torch.testing.assert_close(mine.cpu(), theirs, atol=1e-6, rtol=1e-5)
    assert got.entries.last[0, 0, 2] == NEVER
    without = TRITON.pool(k.to(DEVICE), v.to(DEVICE), groups()[..., :1, :].to(DEVICE), has_log_count=False)
    assert without.entries.bias is None


def test_half_precision_is_pooled_in_float32() -> None:
    _, k, v = (x.half() for x in random_qkv(Shape(1, 1, 1, 12, 12, 32)))
    members = torch.arange(12).view(1, 1, 1, 12)
    got = TRITON.pool(k.to(DEVICE), v.to(DEVICE), members.to(DEVICE), k[:, :, -1:].to(DEVICE))
    truth = REFERENCE.pool(k.double(), v.double(), members, k[:, :, -1:].double())
    assert got.entries.k.dtype == torch.float16
    torch.testing.assert_close(got.entries.k.cpu().double(), truth.entries.k, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("heads", [(1, 1), (14, 2)])
@pytest.mark.parametrize("split", [4096, 64])
def test_column_scores_are_those_of_the_reference(
    monkeypatch: pytest.MonkeyPatch, heads: tuple[int, int], split: int
) -> None:
    monkeypatch.setattr(columns, "SPLIT", split)
    q, k, _ = (x.float() for x in random_qkv(Shape(1, *heads, 6, 111, 32)))
    positions = torch.tensor([0, 40, 63, 64, 109, 110])
    for is_real in (None, torch.arange(6) < 4, torch.zeros(6, dtype=torch.bool)):
        there = None if is_real is None else is_real.to(DEVICE)
        got = TRITON.column_scores(q.to(DEVICE), positions.to(DEVICE), k.to(DEVICE), is_real=there)
        truth = REFERENCE.column_scores(q.double(), positions, k.double(), is_real=is_real)
        torch.testing.assert_close(got.cpu(), truth, atol=1e-6, rtol=1e-5)


def test_padded_queries_do_not_vote_and_indifferent_ones_count_keys() -> None:
    """Rows that only fill a tile are zero queries, and those would spread their vote evenly if they had one."""
    _, k, _ = (x.float() for x in random_qkv(Shape(1, 1, 1, 1, 7, 16)))
    zero = torch.zeros(1, 1, 2, 16)
    got = TRITON.column_scores(zero.to(DEVICE), torch.tensor([3, 6]).to(DEVICE), k.to(DEVICE))
    assert got[0, 0].tolist() == pytest.approx([(1 / 4 + 1 / 7) / 2] * 4 + [1 / 14] * 3)


@pytest.mark.parametrize("block", [5, 40, 70])
def test_the_best_of_each_block_are_those_of_the_reference(block: int) -> None:
    generator = torch.Generator().manual_seed(block)
    scores = torch.randint(0, 6, (1, 2, 40), generator=generator).float()  # many are equal: the earlier one is taken
    quotas = torch.randint(0, block + 2, (1, 2, -(-40 // block)), generator=generator)
    got = TRITON.block_top_k(scores.to(DEVICE), quotas.to(DEVICE), block)
    assert got.tolist() == REFERENCE.block_top_k(scores, quotas, block).tolist()
    nothing = TRITON.block_top_k(scores.to(DEVICE), torch.zeros_like(quotas).to(DEVICE), block)
    assert nothing.shape == (1, 2, 0)


def test_tokens_are_taken_out_with_their_positions() -> None:
    _, k, v = random_qkv(Shape(2, 2, 2, 9, 9, 24, 40))
    k, v = k.half().transpose(1, 2).contiguous().transpose(1, 2), v.half()  # tokens before heads, as models have them
    positions = torch.tensor([[[0, 8, NEVER], [3, 4, 5]], [[NEVER, NEVER, NEVER], [1, 2, 7]]])
    got = TRITON.compact(k.to(DEVICE), v.to(DEVICE), positions.to(DEVICE))
    truth = REFERENCE.compact(k, v, positions)
    assert torch.equal(got.k.cpu(), truth.k)
    assert torch.equal(got.v.cpu(), truth.v)
    assert torch.equal(got.last.cpu(), positions)


def test_splits_of_a_long_cache_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "SPLIT", 64)
    q = random_qkv(Shape(1, 4, 2, 1, 1, 32))[0].float()
    _, k, v = (x.float() for x in random_qkv(Shape(1, 2, 2, 150, 150, 32)))
    entries = REFERENCE.compact(k, v, torch.arange(150).expand(1, 2, -1))
    there = REFERENCE.compact(k.to(DEVICE), v.to(DEVICE), torch.arange(150, device=DEVICE).expand(1, 2, -1))
    got, truth = TRITON.decode(q.to(DEVICE), [there]), REFERENCE.decode(q, [entries])
    torch.testing.assert_close(got.out.cpu(), truth.out, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got.lse.cpu(), truth.lse, atol=1e-5, rtol=1e-5)


def test_queries_with_tokens_before_heads_are_read_where_they_lie() -> None:
    call = sample("both", Shape(1, 4, 2, 17, 33, 32)).to(dtype=torch.float32, device=DEVICE)
    q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (call.q, call.k, call.v))
    assert not q.is_contiguous()
    torch.testing.assert_close(TRITON.attend(q, k, v, call.plan), TRITON.attend(call.q, call.k, call.v, call.plan))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tca", {"block": 8, "window": 8, "share": 0.4}),
        ("cca", {"group": 8, "window": 8}),
        ("lca", {"group": 8, "window": 8}),
        ("hybrid", {"block": 8, "window": 8, "group": 8, "share": 0.4}),
        ("blocks", {"block": 8, "share": 0.3, "sinks": 1, "local": 1}),
    ],
)
def test_methods_plan_the_same_on_triton(name: str, settings: dict[str, Any]) -> None:
    """Planning runs on a back end, too; what it decides does not depend on which."""
    q, k, v = (x.float() for x in random_qkv(Shape(1, 2, 1, 41, 41, 32)))
    there = Prompt(q.to(DEVICE), k.to(DEVICE), v.to(DEVICE), Layout(41), ops=TRITON)
    got = open_method(name, **settings).plan(there)
    truth = open_method(name, **settings).plan(Prompt(q, k, v, Layout(41)))
    assert torch.equal(got.band_start.cpu(), truth.band_start)
    for mine, theirs in ((got.pooled, truth.pooled), (got.selected, truth.selected)):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            assert torch.equal(mine.last.cpu(), theirs.last)
            for part in ("k", "v"):
                torch.testing.assert_close(getattr(mine, part).cpu(), getattr(theirs, part), atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(mine.biases().cpu(), theirs.biases())
    if truth.tiles is not None:
        assert got.tiles is not None
        assert torch.equal(got.tiles.keep.cpu(), truth.tiles.keep)


@pytest.mark.skipif(not IS_INTERPRETED, reason="a GPU multiplies bfloat16 rightly")
def test_the_interpreter_is_refused_bfloat16() -> None:
    call = sample("both", Shape()).to(dtype=torch.bfloat16)
    with pytest.raises(BackendUnavailableError, match="multiplies the bit patterns of bfloat16"):
        TRITON.attend(call.q, call.k, call.v, call.plan)
    with pytest.raises(BackendUnavailableError, match="bit patterns"):
        TRITON.compact(call.k, call.v, torch.zeros(1, 1, 1, dtype=torch.int64))


def test_types_and_shapes_that_no_kernel_takes_are_refused() -> None:
    call = sample("band", Shape())
    with pytest.raises(InputError, match="not in float64"):
        TRITON.attend(call.q, call.k, call.v, call.plan)
    low = call.to(dtype=torch.float32, device=DEVICE)
    with pytest.raises(InputError, match="of one type"):
        TRITON.attend(low.q, low.k, low.v.half(), low.plan)
    with pytest.raises(ShapeError, match="at most 256"):
        TRITON.compact(low.k, torch.zeros(1, 1, 63, 300, device=DEVICE), low.plan.q_positions[None, None])
    with pytest.raises(ShapeError, match="wanted quotas"):
        TRITON.block_top_k(torch.zeros(1, 1, 9, device=DEVICE), torch.zeros(1, 1, 1, device=DEVICE), 4)
    with pytest.raises(ShapeError, match="wanted q_positions"):
        TRITON.column_scores(low.q, low.plan.q_positions[:3], low.k)


def test_without_interpreter_and_gpu_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "IS_INTERPRETED", False)
    call = sample("band", Shape()).to(dtype=torch.float32)
    with pytest.raises(
        BackendUnavailableError, match="need tensors on a GPU, these are on cpu; set TRITON_INTERPRET=1"
    ):
        attend(call.q, call.k, call.v, call.plan, backend="triton")
