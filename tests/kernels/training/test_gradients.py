"""Gradients through the three segments are those of the numbers, also where a query or a group sees nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fdvs.errors import ShapeError
from fdvs.kernels.ops import REFERENCE, Ops
from fdvs.kernels.plans import Plan, Tiles
from fdvs.kernels.pooling import PoolRule, mean_of_query_heads
from fdvs.kernels.rows import RowOps, near_plan
from tests.kernels.inputs import qkv

MEMBERS = torch.tensor([[[[0, 1, 2], [3, -1, -1], [-1, -1, -1]]]])  # a whole group, a short one, and padding


def attended(q: Tensor, k: Tensor, v: Tensor, ops: Ops, key_rule: PoolRule = "weighted") -> Tensor:
    weigher = mean_of_query_heads(q, 1)[:, :, [2, 3, 3]]
    pooled = ops.pool(k, v, MEMBERS, weigher, key_rule=key_rule).entries
    start = torch.tensor([[[1, 2, 0, 4, 4, 4]]])  # the first two queries see nothing at all
    plan = Plan(torch.arange(6), start, pooled=pooled, selected=ops.compact(k, v, torch.tensor([[[1]]])))
    return ops.attend(q, k, v, plan).out


@pytest.mark.parametrize("rule", ["weighted", "mean", "anchor"])
def test_gradients_are_those_of_small_differences(rule: PoolRule) -> None:
    inputs = [tensor.requires_grad_() for tensor in qkv(1, 2, 1, 6, 6, 2)]
    assert torch.autograd.gradcheck(lambda q, k, v: attended(q, k, v, REFERENCE, rule), inputs)


def test_what_sees_nothing_sends_no_gradient_and_no_nan() -> None:
    inputs = [tensor.requires_grad_() for tensor in qkv(1, 2, 1, 6, 6, 4)]
    attended(inputs[0], inputs[1], inputs[2], REFERENCE).square().sum().backward()
    for tensor in inputs:
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
    assert inputs[0].grad is not None
    assert not inputs[0].grad[:, :, :2].any()


@pytest.mark.parametrize("rows", [1, 4, 9])
def test_stretches_of_rows_are_the_reference_and_so_are_their_gradients(rows: int) -> None:
    results = []
    for ops in (REFERENCE, RowOps(rows)):
        inputs = [tensor.requires_grad_() for tensor in qkv(1, 2, 1, 6, 6, 4)]
        out = attended(inputs[0], inputs[1], inputs[2], ops)
        out.square().sum().backward()
        results.append([out, *(tensor.grad for tensor in inputs)])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


def test_stretches_hold_only_what_their_queries_see() -> None:
    _, k, v = qkv(1, 2, 1, 64, 64, 4)
    pooled = REFERENCE.pool(k, v, torch.arange(64).view(1, 1, 16, 4)).entries
    start = (torch.arange(64) // 4 * 4 - 8).clamp_min(0)[None, None]
    near, first, stop = near_plan(Plan(torch.arange(64), start, pooled=pooled), 32, 40)
    assert (first, stop) == (24, 40)
    assert near.pooled is not None
    assert near.pooled.num_entries == 7  # the groups that end before position 28, where the last band starts
    tiles = Tiles(torch.ones(1, 1, 16, 16, dtype=torch.bool), 4, 4)
    with pytest.raises(ShapeError, match="tiles"):
        RowOps().attend(k.expand(1, 2, -1, -1), k, v, Plan(torch.arange(64), start, tiles=tiles))
