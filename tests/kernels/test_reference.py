"""The three-segment softmax against dense attention, hand-made cases and counts."""

from __future__ import annotations

import math

import pytest
import torch

from fdvs.kernels import reference
from fdvs.kernels.bench.truth import attend_rows
from fdvs.kernels.columns import block_top_k, column_scores, compact, positions_of
from fdvs.kernels.coverage import count_matrix, num_pairs, report, rows_seen, seen_tokens
from fdvs.kernels.layout import Layout, band_starts, cut_into_groups
from fdvs.kernels.plans import NEVER, Plan, Tiles, dense_plan, query_positions
from fdvs.kernels.pooling import pool
from fdvs.kernels.rotary import Rotation, rotate, unrotate
from tests.kernels.inputs import qkv, sdpa_causal


@pytest.mark.parametrize("heads", [(2, 2), (4, 1), (7, 1), (8, 1)])
@pytest.mark.parametrize("length", [1, 5, 63])
def test_a_band_from_the_start_is_causal_attention(heads: tuple[int, int], length: int) -> None:
    q, k, v = qkv(2, *heads, length, length, 16)
    out, lse = reference.attend(q, k, v, dense_plan(length, length))
    torch.testing.assert_close(out, sdpa_causal(q, k, v), atol=1e-12, rtol=1e-12)
    first = (q[:, :, 0] * k.repeat_interleave(heads[0] // heads[1], 1)[:, :, 0]).sum(-1) / 4
    torch.testing.assert_close(lse[:, :, 0], first)


def test_queries_at_the_end_see_all_keys_before_them() -> None:
    q, k, v = qkv(1, 4, 2, 7, 40, 8)
    out, _ = reference.attend(q, k, v, dense_plan(7, 40))
    torch.testing.assert_close(out, sdpa_causal(q, k, v), atol=1e-12, rtol=1e-12)


def test_a_query_that_sees_nothing_is_zero() -> None:
    q, k, v = qkv(1, 2, 1, 3, 3, 8)
    plan = Plan(torch.arange(3), torch.tensor([[[1, 2, 0]]]))  # the first two bands are empty
    out, lse = reference.attend(q, k, v, plan)
    assert torch.equal(out[:, :, :2], torch.zeros(1, 2, 2, 8, dtype=torch.float64))
    assert lse[:, :, :2].isneginf().all()
    assert lse[:, :, 2].isfinite().all()


def test_padding_is_seen_by_no_query_not_even_at_decoding() -> None:
    q, k, v = qkv(1, 2, 1, 1, 4, 8)
    some = compact(k, v, torch.tensor([[[0, 2, NEVER, NEVER]]]))
    out, _ = reference.decode(q, [some])
    expected, _ = reference.decode(q, [compact(k, v, torch.tensor([[[0, 2]]]))])
    torch.testing.assert_close(out, expected)
    nothing, lse = reference.decode(q, [compact(k, v, torch.tensor([[[NEVER]]]))])
    assert not nothing.any()
    assert lse.isneginf().all()


def test_merging_disjoint_parts_gives_the_whole() -> None:
    q, k, v = qkv(2, 4, 2, 9, 9, 8)
    whole = reference.attend(q, k, v, dense_plan(9, 9))
    start = torch.arange(9).clamp_min(3)[None, None]
    near = Plan(torch.arange(9), start)
    selected = compact(k, v, torch.arange(9).expand(2, 2, 9))
    far = Plan(torch.arange(9), torch.minimum(start, torch.arange(9) + 1), selected=selected)
    only_far = reference.attend(q, k[:, :, :0], v[:, :, :0], far)
    merged = reference.merge([reference.attend(q, k, v, near), only_far])
    torch.testing.assert_close(merged.out, whole.out)
    torch.testing.assert_close(merged.lse, whole.lse)
    empty = reference.attend(q, k[:, :, :0], v[:, :, :0], near)
    assert not reference.merge([empty, empty]).out.isnan().any()


def test_tiles_in_another_order_show_the_same_keys() -> None:
    q, k, v = qkv(1, 2, 1, 12, 12, 8)
    order = torch.tensor([0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11])
    keep = torch.eye(3, dtype=torch.bool)[None, None]
    plan = Plan(torch.arange(12), torch.arange(1, 13)[None, None], tiles=Tiles(keep, 4, 4, order, order))
    out, _ = reference.attend(q, k, v, plan)
    for row in range(12):
        same = [p for p in range(row + 1) if p % 3 == row % 3]
        logits = torch.einsum("hd,pd->hp", q[0, :, row], k[0, 0, same]) / math.sqrt(8)
        torch.testing.assert_close(out[0, :, row], logits.softmax(-1) @ v[0, 0, same])


def test_groups_cross_no_border_and_leave_exact_tokens_out() -> None:
    exact = torch.zeros(14, dtype=torch.bool)
    exact[[0, 6]] = True
    groups = cut_into_groups(Layout(14, borders=torch.tensor([5, 10]), exact=exact), 3)
    assert groups.members.tolist() == [[1, 2, -1], [3, 4, -1], [5, 7, -1], [8, 9, -1], [10, 11, 12]]
    assert groups.ends.tolist() == [3, 5, 8, 10, 13]
    assert cut_into_groups(Layout(2), 3).members.shape == (0, 3)


def test_bands_start_where_whole_groups_end() -> None:
    ends = torch.tensor([3, 6, 9])
    assert band_starts(ends, torch.arange(10), 4).tolist() == [0, 0, 0, 0, 0, 0, 3, 3, 3, 6]


def test_every_token_is_counted_once_by_groups_and_window() -> None:
    _, k, v = qkv(1, 2, 1, 29, 29, 8)
    groups = cut_into_groups(Layout(29, borders=torch.tensor([11])), 4)
    pooled = pool(k, v, groups.members[None, None]).entries
    plan = Plan(torch.arange(29), band_starts(groups.ends, torch.arange(29), 5)[None, None], pooled=pooled)
    counts = count_matrix(plan, 29, 2, groups.members[None, None])
    assert torch.equal(counts, torch.ones(29, 29, dtype=torch.int64).tril().expand(1, 2, 29, 29))
    seen = sum(int((pooled.last < plan.band_start[..., row, None]).sum()) for row in range(29))
    band = int((torch.arange(29) + 1 - plan.band_start).sum())
    assert num_pairs(plan, 29, 1, 2, 1) == 2 * (seen + band)


def test_pairs_of_tiles_are_those_of_the_masks() -> None:
    generator = torch.Generator().manual_seed(3)
    keep = torch.rand(1, 4, 4, 5, generator=generator) < 0.5
    order = torch.randperm(20, generator=generator)
    tiles = Tiles(keep, 4, 4, None, order)
    _, k, v = qkv(1, 4, 2, 15, 20, 8)
    pooled = pool(k, v, torch.arange(20).view(1, 1, 5, 4)).entries
    plan = Plan(query_positions(15, 20), (torch.arange(5, 20) - 2)[None, None], pooled, None, tiles, is_remainder=True)
    counts = count_matrix(plan, 20, 4, members=torch.full((1, 1, 5, 1), -1))
    from fdvs.kernels.visibility import entries_seen, hidden_remainder, per_query_head

    entries = per_query_head(entries_seen(pooled, plan.band_start), 4) & ~hidden_remainder(tiles, 15, 4)
    assert num_pairs(plan, 20, 1, 4, 2) == int(counts.sum()) + int(entries.sum())


def test_a_dense_plan_keeps_all_mass_and_all_pairs() -> None:
    q, k, _ = qkv(1, 4, 2, 33, 33, 8)
    said = report(q, k, dense_plan(33, 33))
    assert said.kept_share == 1
    assert said.retained_mass == pytest.approx(1)
    assert said.entries_kept == 1


def test_equal_tokens_weigh_what_they_weigh_only_with_the_logarithm_of_their_number() -> None:
    q, k, v = qkv(1, 2, 1, 1, 9, 8)
    k[:, :, :8], v[:, :, :8] = k[:, :, :1], v[:, :, :1]
    dense, _ = reference.attend(q, k, v, dense_plan(1, 9))
    members = torch.arange(8)[None, None, None]
    near = compact(k, v, torch.tensor([[[8]]]))
    with_log, _ = reference.decode(q, [pool(k, v, members).entries, near])
    without, _ = reference.decode(q, [pool(k, v, members, has_log_count=False).entries, near])
    torch.testing.assert_close(with_log, dense, atol=1e-7, rtol=1e-6)  # the bias is float32
    assert (without - dense).abs().max() > 1e-2


def test_padded_queries_do_not_vote() -> None:
    q, k, _ = qkv(1, 4, 2, 6, 20, 8)
    padded = torch.cat([q, torch.zeros(1, 4, 3, 8, dtype=q.dtype)], dim=2)
    positions = torch.cat([query_positions(6, 20), torch.full((3,), 19)])
    is_real = torch.arange(9) < 6
    scores = column_scores(padded, positions, k, is_real=is_real)
    torch.testing.assert_close(scores, column_scores(q, query_positions(6, 20), k))
    torch.testing.assert_close(scores.sum(-1), torch.ones(1, 2))
    assert not torch.allclose(scores, column_scores(padded, positions, k))


def test_the_scores_of_an_indifferent_query_are_counts() -> None:
    _, k, _ = qkv(1, 2, 1, 1, 7, 8)
    scores = column_scores(torch.zeros(1, 2, 2, 8, dtype=k.dtype), torch.tensor([3, 6]), k)
    expected = [(1 / 4 + 1 / 7) / 2] * 4 + [1 / 14] * 3
    assert scores[0, 0].tolist() == pytest.approx(expected)


def test_blocks_keep_their_best_tokens() -> None:
    scores = torch.tensor([[[0.1, 0.4, 0.4, 0.1, 0.0, 0.3, 0.2]]])
    kept = block_top_k(scores, torch.tensor([[[1, 2]]]), 4)
    assert kept.tolist() == [[[1, 5, 6]]]
    assert block_top_k(scores, torch.tensor([[[0, 9]]]), 4).tolist() == [[[4, 5, 6]]]
    assert positions_of(torch.tensor([[[True, False], [False, False]]])).tolist() == [[[0], [NEVER]]]


def test_rotation_is_undone() -> None:
    angles = torch.rand(9, 4, dtype=torch.float64).repeat(1, 2)
    rotation = Rotation(angles.cos(), angles.sin())
    x = torch.rand(2, 3, 9, 12, dtype=torch.float64)  # four channels are not rotated
    positions = torch.arange(9)
    torch.testing.assert_close(unrotate(rotate(x, rotation, positions), rotation, positions), x)
    assert torch.equal(rotate(x, rotation, positions)[..., 8:], x[..., 8:])


@pytest.mark.parametrize("is_permuted", [False, True])
def test_rows_alone_are_rows_of_the_whole(is_permuted: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    q, k, v = qkv(1, 4, 2, 15, 20, 8)
    orders = (torch.randperm(15, generator=generator), torch.randperm(20, generator=generator))
    tiles = Tiles(torch.rand(1, 2, 4, 5, generator=generator) < 0.5, 4, 4, *(orders if is_permuted else (None, None)))
    selected = compact(k, v, torch.tensor([[[1, 3, NEVER], [0, 2, 6]]]))
    pooled = pool(k, v, torch.arange(20).view(1, 1, 5, 4)).entries
    start = (torch.arange(5, 20) - 2)[None, None]
    rows = torch.tensor([0, 7, 14])
    for_tiles = Plan(query_positions(15, 20), start, pooled, None, tiles, is_remainder=True)
    for plan in (for_tiles, Plan(query_positions(15, 20), start, pooled, selected)):
        assert torch.equal(rows_seen(plan, rows, 20, 4), seen_tokens(plan, 20, 4)[:, :, rows])
        torch.testing.assert_close(attend_rows(q, k, v, plan, rows), reference.attend(q, k, v, plan).out[:, :, rows])
