"""Published figures, out of our own planners and caches: shares of the cache, keys per query, the one duplicate."""

from __future__ import annotations

import pytest
import torch

from fdvs.kernels.coverage import count_matrix, num_pairs
from fdvs.kernels.layout import Layout
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.cca import Cca
from fdvs.kernels.methods.dga import Dga
from fdvs.kernels.methods.lca import Lca
from fdvs.kernels.plans import dense_plan
from tests.kernels.inputs import qkv

LONG = 128 * 1024


@pytest.fixture(scope="module")
def long_prompt() -> Prompt:
    return Prompt(*qkv(1, 1, 1, LONG, LONG, 1, dtype=torch.float32), layout=Layout(LONG))


@pytest.mark.parametrize(
    ("length", "mean_keys", "ratio"),
    [
        (4, 974, 2.1),
        (8, 1163, 3.5),
        (16, 1450, 5.7),
        (32, 1977, 8.3),
        (64, 3008, 10.9),
        (128, 5060, 13.0),
    ],
)
def test_mean_keys_of_a_query_of_cca(length: int, mean_keys: int, ratio: float) -> None:
    """As printed, one token counts twice; our default counts it once and is lower by less than one."""
    tokens = 1024 * length
    prompt = Prompt(*qkv(1, 1, 1, tokens, tokens, 1, dtype=torch.float32), layout=Layout(tokens))
    printed, once = (
        num_pairs(Cca(counts_border_twice=is_twice).plan(prompt), tokens, 1, 1, 1) for is_twice in (True, False)
    )
    dense = num_pairs(dense_plan(tokens, tokens), tokens, 1, 1, 1)
    assert printed / tokens == pytest.approx(mean_keys, abs=0.5)
    assert printed - once == tokens - 1024 - 16 + 1
    assert dense / printed == pytest.approx(ratio, abs=0.05)


def test_cca_keeps_seven_percent_of_the_cache_at_128k(long_prompt: Prompt) -> None:
    method = Cca()
    cache = method.cache()
    cache.fill(long_prompt, method.plan(long_prompt))
    assert cache.num_entries == LONG // 16 + 1024 == 9216  # those that wait for their group to leave the window, too
    assert round(100 * cache.num_entries / LONG, 2) == 7.03


def test_lca_shows_nearly_as_little_at_128k(long_prompt: Prompt) -> None:
    method = Lca()
    cache = method.cache()
    cache.fill(long_prompt, method.plan(long_prompt))
    shown = sum(part.num_entries for part in cache.segments())
    assert shown == (LONG - 1024) // 16 + 1024 == 9152
    assert round(100 * shown / LONG, 2) == 6.98


@pytest.mark.parametrize(("group", "window", "length"), [(4, 8, 31), (3, 5, 40), (16, 32, 64)])
def test_the_indices_as_printed_count_one_token_twice(group: int, window: int, length: int) -> None:
    """Token j·g, counted from 1, is in core j and in the window k … i with k = max(1, i - s - ((i - s) mod g))."""
    method = Cca(group=group, window=window, counts_border_twice=True)
    prompt = Prompt(*qkv(1, 1, 1, length, length, 4), layout=Layout(length))
    groups = method.grouping.groups(prompt)
    counts = count_matrix(method.plan(prompt), length, 1, groups.members[None, None])[0, 0]
    for i in range(1, length + 1):
        printed = torch.zeros(length + 1, dtype=torch.int64)
        num_cores = max(0, (i - window) // group)
        printed[1 : num_cores * group + 1] += 1
        printed[max(1, i - window - (i - window) % group) : i + 1] += 1
        assert torch.equal(counts[i - 1], printed[1:])
        assert int(counts[i - 1].sum()) == i + (num_cores > 0)
        if num_cores:
            assert int(counts[i - 1, num_cores * group - 1]) == 2


def test_dga_keeps_a_tenth_and_a_sixteenth_of_the_rest(long_prompt: Prompt) -> None:
    method = Dga(num_samples=4)
    cache = method.cache()
    cache.fill(long_prompt, method.plan(long_prompt))
    wanted = 0.1 * LONG + 0.9 * LONG / 16
    assert wanted <= cache.num_entries < wanted + 2 * 16 + 1  # the tokens that are in no whole group
    assert round(100 * cache.num_entries / LONG, 1) == 15.6
