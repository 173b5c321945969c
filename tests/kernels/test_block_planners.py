"""Planners of whole blocks: what they show, how they score, and that padding has no vote."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels import reference
from fdvs.kernels.coverage import count_matrix, num_pairs, seen_tokens
from fdvs.kernels.layout import Layout
from fdvs.kernels.methods.base import Method, Prompt
from fdvs.kernels.methods.blocks import TopBlocks
from fdvs.kernels.methods.flexprefill import FlexPrefill, distance
from fdvs.kernels.methods.grid import Grid, Span, longest_run
from fdvs.kernels.methods.tiling import Tiling, means
from fdvs.kernels.methods.xattention import XAttention
from fdvs.kernels.names import open_method
from fdvs.kernels.plans import dense_plan
from tests.kernels.inputs import qkv, sdpa_causal

few = settings(max_examples=25, deadline=None)
BLOCK = 8
EVERYTHING: dict[str, dict[str, Any]] = {
    "blocks": {"block": BLOCK, "share": 1.0},
    "flexprefill": {"block": BLOCK, "gamma": 1.0, "min_budget": 0},
    "xattention": {"block": BLOCK, "stride": 4, "threshold": 1.0},
    "grid": {"block": 2, "stride": 100, "window": 3},
}
SPARSE: dict[str, dict[str, Any]] = {
    "blocks": {"block": BLOCK, "share": 0.3, "sinks": 1, "local": 2},
    "flexprefill": {"block": BLOCK, "gamma": 0.4, "min_budget": 8},
    "xattention": {"block": BLOCK, "stride": 4, "threshold": 0.4},
    "grid": {"block": 2, "stride": 5, "sinks": 3, "window": 3, "num_queries": 4},
}


class Case(NamedTuple):
    """One shape to try planners on: the last `num_q` of `length` tokens are queries."""

    heads: tuple[int, int]
    length: int
    num_q: int
    seed: int

    def prompt(self) -> Prompt:
        num_q = min(self.num_q, self.length)
        return Prompt(*qkv(2, *self.heads, num_q, self.length, 8, seed=self.seed), layout=Layout(self.length))


cases = st.builds(
    Case,
    heads=st.sampled_from(((1, 1), (4, 1), (7, 1), (8, 1), (4, 2))),
    length=st.sampled_from((1, 7, 8, 9, 63, 64, 65)),
    num_q=st.sampled_from((99, 99, 1, 13)),
    seed=st.integers(0, 99),
)


def causal(prompt: Prompt) -> Tensor:
    return torch.arange(prompt.k.shape[2]) <= prompt.q_positions[:, None]


def tile_members(length: int, block: int = BLOCK) -> Tensor:
    members = torch.arange(-(-length // block) * block)
    return members.masked_fill(members >= length, -1).view(1, 1, -1, block)


@pytest.mark.parametrize("name", sorted(SPARSE))
@few
@given(case=cases)
def test_no_token_is_counted_twice_and_a_querys_own_is_counted(name: str, case: Case) -> None:
    prompt = case.prompt()
    method = open_method(name, **SPARSE[name])
    plan = method.plan(prompt)
    counts = count_matrix(plan, case.length, case.heads[0], tile_members(case.length)).expand(2, -1, -1, -1)
    assert counts.max() <= 1
    assert not counts[..., ~causal(prompt)].any()
    rows = torch.arange(prompt.q.shape[2])
    assert (counts[:, :, rows, prompt.q_positions] == 1).all()
    seen = seen_tokens(plan, case.length, case.heads[0]).expand_as(counts)
    entries = 0
    if plan.pooled is not None:
        assert torch.equal(counts.bool(), causal(prompt).expand_as(counts)), "with the mean of the rest, all count"
        whole = (tile_members(case.length) >= 0).sum(-1)[0, 0]
        entries = int(
            sum(
                ((counts.bool() & ~seen)[..., n * BLOCK : n * BLOCK + BLOCK].sum() / size)
                for n, size in enumerate(whole.tolist())
            )
        )
    assert num_pairs(plan, case.length, 2, *case.heads) == int(seen.sum()) + entries
    assert method.cache() is None


@pytest.mark.parametrize("name", sorted(EVERYTHING))
@few
@given(case=cases)
def test_everything_kept_is_dense_attention(name: str, case: Case) -> None:
    prompt = case.prompt()
    out, _ = reference.attend(prompt.q, prompt.k, prompt.v, open_method(name, **EVERYTHING[name]).plan(prompt))
    torch.testing.assert_close(out, sdpa_causal(prompt.q, prompt.k, prompt.v), atol=1e-10, rtol=1e-8)


def test_means_are_over_the_rows_there_are() -> None:
    x = torch.arange(5.0)[None, None, :, None]
    assert means(x, 2)[0, 0, :, 0].tolist() == [0.5, 2.5, 4.0]
    assert means(x, 8)[0, 0, :, 0].tolist() == [2.0]


def test_tiles_of_a_later_chunk_have_their_bands_where_they_are() -> None:
    tiling = Tiling.of(Prompt(*qkv(1, 1, 1, 13, 30, 8), layout=Layout(30)), 8)  # queries at 17 … 29
    assert tiling.own.tolist() == [2, 3]
    assert tiling.far(2).tolist() == [[True, False, False, False], [True, True, False, False]]
    assert tiling.causal().tolist() == [[True] * 4, [True] * 4]
    plan = tiling.plan(Prompt(*qkv(1, 1, 1, 13, 30, 8), layout=Layout(30)), torch.ones(1, 1, 2, 4, dtype=torch.bool))
    assert plan.band_start[0, 0].tolist() == [16] * 8 + [24] * 5


# Block top-k


def test_the_best_blocks_by_mean_queries_and_keys_are_kept_with_sinks_and_neighbours() -> None:
    q, k, v = qkv(1, 2, 1, 61, 61, 8)
    q = q + 0.7  # in common to all queries, so that blocks differ
    k[:, :, 24:32] += 2  # the fourth block is the best for all
    prompt = Prompt(q, k, v, Layout(61))
    method = TopBlocks(block=8, share=0.2, sinks=1, local=2)
    plan = method.plan(prompt)
    assert plan.tiles is not None
    keep = plan.tiles.keep
    assert keep.shape == (1, 2, 8, 8)
    for tile in range(8):
        far = max(0, tile - 1)
        mean_q, mean_k = q[0, :, 8 * tile : 8 * tile + 8].mean(1), k[0, 0].split(8)
        scores = torch.stack([mean_q @ block.mean(0) for block in mean_k[:far]], -1) if far else torch.zeros(2, 0)
        for head in range(2):
            best = set(scores[head].topk(math.ceil(0.2 * far)).indices.tolist())
            assert set(keep[0, head, tile].nonzero()[:, 0].tolist()) == best | ({0} if far else set())
    assert keep[0, :, 5:, 3].all()


def test_equal_blocks_are_as_good_as_their_mean() -> None:
    q, k, v = qkv(1, 4, 2, 64, 64, 8)
    k, v = (x[:, :, ::8].repeat_interleave(8, 2) for x in (k, v))
    prompt = Prompt(q, k, v, Layout(64))
    dense, _ = reference.attend(q, k, v, dense_plan(64, 64))
    for lists in ("query", "kv"):
        method = TopBlocks(block=8, share=0.1, sinks=0, local=1, lists=lists)
        out, _ = reference.attend(q, k, v, method.plan(prompt))
        torch.testing.assert_close(out, dense, atol=1e-6, rtol=1e-5)
    dropped, _ = reference.attend(
        q, k, v, TopBlocks(block=8, share=0.1, sinks=0, local=1, corrects_mean=False).plan(prompt)
    )
    assert (dropped - dense).norm() / dense.norm() > 0.1


def test_padded_queries_do_not_vote_on_blocks() -> None:
    q, k, v = qkv(1, 2, 1, 35, 35, 8)  # the last tile of queries has three rows
    prompt = Prompt(q, k, v, Layout(35))
    keep = TopBlocks(block=8, share=0.3, sinks=0, local=1).keep(prompt, Tiling.of(prompt, 8))
    wanted = torch.stack([q[0, :, 32:].mean(1) @ block.mean(0) for block in k[0, 0, :32].split(8)], -1)
    for head in range(2):
        assert set(keep[0, head, 4].nonzero()[:, 0].tolist()) == set(wanted[head].topk(2).indices.tolist())


# XAttention


def slow_antidiagonals(prompt: Prompt, block: int, stride: int) -> Tensor:
    """`[Hq, nQ, nK]` by definition: queries in place of the sequence, no padding anywhere."""
    heads_q, length = prompt.q.shape[1], prompt.k.shape[2]
    num_groups, of_block = -(-length // stride), block // stride
    weights = torch.zeros(heads_q, num_groups, num_groups, dtype=torch.float64)
    for head in range(heads_q):
        key_head = head * prompt.heads_k // heads_q
        for row in range(num_groups):
            logits = torch.full((num_groups,), -torch.inf, dtype=torch.float64)
            for column in range(row + 1):
                found = [
                    float(prompt.q[0, head, row * stride + n] @ prompt.k[0, key_head, column * stride + stride - 1 - n])
                    for n in range(stride)
                    if row * stride + n < length and column * stride + stride - 1 - n < length
                ]
                if found:
                    logits[column] = sum(found) / len(found) * prompt.softmax_scale
            weights[head, row] = logits.softmax(-1)
    tiles = -(-length // block)
    full = torch.nn.functional.pad(weights.nan_to_num(0), (0, tiles * of_block - num_groups) * 2)
    return full.view(heads_q, tiles, of_block, tiles, of_block).sum((2, 4))


@pytest.mark.parametrize("length", [16, 30, 33])
def test_antidiagonal_scores_are_as_defined(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = Prompt(*qkv(1, 2, 1, length, length, 8), layout=Layout(length))
    method = XAttention(block=8, stride=4)
    wanted = slow_antidiagonals(prompt, 8, 4)
    torch.testing.assert_close(method.scores(prompt, Tiling.of(prompt, 8))[0], wanted)
    monkeypatch.setattr("fdvs.kernels.methods.xattention.SCORES_AT_ONCE", 1)
    torch.testing.assert_close(method.scores(prompt, Tiling.of(prompt, 8))[0], wanted)


def test_indifferent_queries_score_blocks_by_what_there_is() -> None:
    _, k, v = qkv(1, 2, 1, 24, 24, 8)
    prompt = Prompt(torch.zeros(1, 2, 24, 8, dtype=k.dtype), k, v, Layout(24))
    scores = XAttention(block=8, stride=4).scores(prompt, Tiling.of(prompt, 8))
    # Groups 0 … 5 see 1 … 6 groups alike; a block is two groups of queries and two of keys.
    rows = [[1 + 1, 0, 0], [2 / 3 + 2 / 4, 1 / 3 + 2 / 4, 0], [2 / 5 + 2 / 6, 2 / 5 + 2 / 6, 1 / 5 + 2 / 6]]
    torch.testing.assert_close(scores[0, 1], torch.tensor(rows, dtype=scores.dtype))


def test_kept_blocks_are_the_fewest_that_hold_the_threshold() -> None:
    prompt = Prompt(*qkv(1, 4, 2, 64, 64, 8, seed=5), layout=Layout(64))
    method = XAttention(block=8, stride=2, threshold=0.6)
    tiling = Tiling.of(prompt, 8)
    scores = method.scores(prompt, tiling)[0]
    plan = method.plan(prompt)
    assert plan.tiles is not None
    shown = plan.tiles.keep[0] | torch.eye(8, dtype=torch.bool)
    held = (scores * shown).sum(-1) / scores.sum(-1)
    assert (held >= 0.6 - 1e-9).all()
    assert shown[..., 0].all()
    free = plan.tiles.keep[0].clone()
    free[..., 0] = False
    for head, tile in free.any(-1).nonzero().tolist():
        least = scores[head, tile][free[head, tile]].min() / scores[head, tile].sum()
        assert held[head, tile] - least < 0.6, "one block fewer would not do"


# FlexPrefill


def test_the_distance_of_distributions() -> None:
    p = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    q = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    assert distance(p, q).tolist() == pytest.approx([0.0, math.sqrt(math.log(2))])


def test_indifferent_queries_are_counted_by_column_and_distance() -> None:
    _, k, v = qkv(1, 2, 1, 5, 5, 8)
    prompt = Prompt(torch.zeros(1, 2, 5, 8, dtype=k.dtype), k, v, Layout(5))
    sample = FlexPrefill(block=2).sample(prompt)  # the last two queries see four and five tokens
    expected = [(1 / 4 + 1 / 5) / 2] * 4 + [1 / 10]
    assert sample.vertical[0, 0].tolist() == pytest.approx(expected)
    assert sample.slash[0, 0].tolist() == pytest.approx(expected)


def made(length: int, *, column: int | None = None, behind: int | None = None) -> Prompt:
    """Queries that look at one column, or at the token so many positions behind them."""
    size = 64
    codes = torch.nn.functional.one_hot(torch.arange(length) % size, size).double()
    q, k = 60 * codes.roll(behind or 0, 0), codes
    if column is not None:
        q = 60 * codes[column].expand(length, -1)
    v = qkv(1, 1, 1, length, length, size)[2]
    return Prompt(q[None, None], k[None, None], v, Layout(length))


def test_a_head_that_looks_at_columns_keeps_them_and_one_that_looks_behind_keeps_diagonals() -> None:
    method = FlexPrefill(block=8, gamma=0.5, tau=0.0, min_budget=0)
    plan = method.plan(made(64, column=18))
    assert plan.tiles is not None
    rows = torch.arange(8)
    far = rows[:, None] > rows
    keep = plan.tiles.keep[0, 0]
    assert keep[3:, 2].all(), "the block of token 18 is seen by all later ones"
    assert keep[2:, 0].all(), "and the first"
    prompt = made(64, behind=16)
    plan = method.plan(prompt)
    assert plan.tiles is not None
    is_behind, is_first, is_column = rows[:, None] - rows == 2, rows == 0, rows == 5  # where the last queries look
    assert torch.equal(plan.tiles.keep[0, 0], (is_behind | is_first | is_column) & far)
    out, _ = reference.attend(prompt.q, prompt.k, prompt.v, plan)
    torch.testing.assert_close(out[:, :, 16:], prompt.v[:, :, :48], atol=0.1, rtol=0.1)


def test_heads_are_told_apart_and_each_keeps_by_its_own_rule() -> None:
    q, k, v = qkv(1, 2, 1, 64, 64, 16)
    k = k[:, :, ::8].repeat_interleave(8, 2)  # equal keys in a block: their mean says it all
    q[:, 0] = q[:, 0, -1:]  # and so does the mean of equal queries
    q[:, 1] *= 8
    prompt = Prompt(q, k, v, Layout(64))
    method = FlexPrefill(block=8, gamma=0.7, min_budget=0)
    is_aware = method.is_query_aware(prompt, method.sample(prompt))
    assert is_aware.tolist() == [[True, False]]
    plan = method.plan(prompt)
    assert plan.tiles is not None
    logits = means(q, 8)[0, 0] @ means(k, 8)[0, 0].T / 4
    tiles = torch.arange(8)
    weights = logits.masked_fill(tiles > tiles[:, None], -torch.inf).softmax(-1)
    shown = plan.tiles.keep[0, 0] | torch.eye(8, dtype=torch.bool)
    assert (weights * shown).sum() >= 0.7 * 8
    ordered = weights.flatten().sort(descending=True).values
    fewest = int((ordered.cumsum(0) < 0.7 * 8).sum()) + 1
    assert fewest <= int(shown.sum()) <= fewest + 2 * 8  # the first column and the diagonal are always there


def test_the_least_budget_holds_for_columns_and_diagonals_of_all_heads() -> None:
    prompt = made(64, column=18)
    small, large = (FlexPrefill(block=8, gamma=0.0, min_budget=budget).plan(prompt).tiles for budget in (0, 24))
    assert small is not None
    assert large is not None
    assert int(large.keep[0, 0, 7].sum()) > int(small.keep[0, 0, 7].sum())
    assert int(large.keep[0, 0, 7].sum()) >= 3


# Grid


def grid_mask(positions: Tensor, length: int, method: Grid, span: Span, phase: int) -> Tensor:
    """`[Tq, Tk]` by definition: sink, window, lines, and everything outside the grid."""
    rows, columns = positions[:, None], torch.arange(length)

    def on_line(x: Tensor) -> Tensor:
        return (x >= span.begin) & (x < span.end) & ((x - span.begin) % span.stride == phase)

    seen = (columns < span.begin) | (columns > rows - method.window) | on_line(columns)
    seen |= (rows < span.begin) | (rows >= span.end) | (on_line(rows) if method.has_rows else torch.tensor(False))
    return seen & (columns <= rows)


@pytest.mark.parametrize("has_rows", [True, False])
@pytest.mark.parametrize("text", [0, 3])
def test_the_grid_is_sink_window_and_lines(text: int, has_rows: bool) -> None:
    stride, frames, before, length = 5 + text, 9, 7, 90
    begins = [before + stride * n for n in range(frames + 1)]
    borders = sorted(begins + [b + 5 for b in begins[:-1] if text])
    q, k, v = qkv(2, 4, 2, length, length, 8)
    prompt = Prompt(q, k, v, Layout(length, torch.tensor(borders)))
    method = Grid(block=4, sinks=2, window=6, num_queries=8, has_rows=has_rows)
    assert method.span(prompt) == Span(before, before + stride * frames, stride)
    span = method.whole_tiles(method.span(prompt))
    assert span == Span(8, 8 + 8 * stride, stride)
    plan = method.plan(prompt)
    seen = seen_tokens(plan, length, 4)
    weights = (q[:, :, -8:] @ k.repeat_interleave(2, 1).mT * prompt.softmax_scale).masked_fill(
        ~causal(prompt)[-8:], -torch.inf
    )
    by_place = weights.softmax(-1).sum(2)[..., 8 : span.end].unflatten(-1, (8, stride)).sum(2)
    for batch in range(2):
        for head in range(4):
            phase = int(by_place[batch, head].argmax())
            wanted = grid_mask(torch.arange(length), length, method, span, phase)
            assert torch.equal(seen[batch, head], wanted)
    assert num_pairs(plan, length, 2, 4, 2) == int(seen.sum())


def test_a_chunk_shows_at_least_its_part_of_the_grid() -> None:
    borders = torch.arange(4, 84, 5)
    q, k, v = qkv(1, 1, 1, 33, 90, 8)
    prompt = Prompt(q, k, v, Layout(90, borders))
    method = Grid(block=4, sinks=0, window=6)
    span = method.whole_tiles(method.span(prompt))
    phase = int(method.by_place(prompt, span).argmax(-1))
    wanted = grid_mask(prompt.q_positions, 90, method, span, phase)
    seen = seen_tokens(method.plan(prompt), 90, 1)[0, 0]
    assert (seen | ~wanted).all()
    assert not seen[~causal(prompt)].any()
    assert seen.sum() < causal(prompt).sum()


def test_a_stride_is_searched_by_what_phases_gain() -> None:
    q, k, v = qkv(1, 1, 1, 120, 120, 8)
    q = q + 1
    k[:, :, 3::7] += 2
    prompt = Prompt(q, k, v, Layout(120))
    method = Grid(block=2, sinks=0, window=4, strides=(5, 6, 7, 8))
    assert method.span(prompt).stride == 7
    assert int(method.by_place(prompt, method.whole_tiles(method.span(prompt))).argmax()) == 3


def test_a_short_video_is_dense_and_a_prompt_without_frames_is_refused() -> None:
    prompt = Prompt(*qkv(1, 1, 1, 20, 20, 8), layout=Layout(20, torch.tensor([2, 7, 12, 17])))
    assert Grid(window=2).plan(prompt).tiles is None
    with pytest.raises(InputError, match="borders of frames"):
        Grid().plan(Prompt(prompt.q, prompt.k, prompt.v, Layout(20)))


def test_the_longest_run_of_equal_frames() -> None:
    assert longest_run([2, 5, 10, 15, 20, 22, 24], 1) == Span(5, 20, 5)
    assert longest_run([0, 3, 10, 13, 20, 23, 30], 2) == Span(0, 30, 10)
    assert longest_run([4], 1) == Span(4, 4, 2)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("blocks", {"share": 2}),
        ("blocks", {"local": 0}),
        ("blocks", {"block": 0}),
        ("blocks", {"lists": "all"}),
        ("flexprefill", {"gamma": 1.5}),
        ("flexprefill", {"tau": -1}),
        ("xattention", {"stride": 7}),
        ("xattention", {"threshold": -0.1}),
        ("grid", {"stride": 1}),
        ("grid", {"window": 0}),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, wrong: dict[str, Any]) -> None:
    method: Method = open_method(name)
    assert method.name == name
    assert not method.is_causal
    with pytest.raises(InputError):
        open_method(name, **wrong)


def test_published_settings_are_the_defaults() -> None:
    assert (TopBlocks().block, TopBlocks().sinks, TopBlocks().local) == (128, 2, 4)
    flex = FlexPrefill()
    assert (flex.block, flex.gamma, flex.tau, flex.min_budget) == (128, 0.9, 0.1, 512)
    assert (XAttention().block, XAttention().stride, XAttention().threshold) == (128, 8, 0.9)
    assert (Grid().block, Grid().window, Grid().num_queries) == (64, 1024, 64)


@pytest.mark.parametrize("name", sorted(SPARSE))
def test_low_precision_is_near_float64(name: str) -> None:
    q, k, v = qkv(1, 4, 2, 97, 97, 32, dtype=torch.bfloat16)
    method = open_method(name, **SPARSE[name])
    plan = method.plan(Prompt(q, k, v, Layout(97)))
    out, _ = reference.attend(q, k, v, plan)
    if plan.pooled is not None:
        exact = method.plan(Prompt(q.double(), k.double(), v.double(), Layout(97)))
        assert exact.tiles is not None
        plan = type(plan)(plan.q_positions, plan.band_start, exact.pooled, None, plan.tiles, plan.is_remainder)
    truth, _ = reference.attend(q.double(), k.double(), v.double(), plan)
    assert (out - truth).norm() / truth.norm() < 2e-2
