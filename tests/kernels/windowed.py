"""Shapes to try CCA and LCA on, and what holds for both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from fdvs.kernels import reference
from fdvs.kernels.coverage import count_matrix
from fdvs.kernels.layout import Layout
from fdvs.kernels.methods.base import Prompt, ReducedCache
from fdvs.kernels.methods.windowed import Grouping
from fdvs.kernels.plans import Entries, Plan
from fdvs.kernels.rotary import Rotation
from tests.kernels.inputs import qkv, sdpa_causal

few = settings(max_examples=25, deadline=None)
SIZE = 8


class Grouped(Protocol):
    """A method of groups and a window."""

    @property
    def grouping(self) -> Grouping: ...

    def plan(self, prompt: Prompt, known: Entries | None = None) -> Plan: ...

    def cache(self) -> ReducedCache: ...


class Case(NamedTuple):
    """One shape. `exact` and `borders` are positions; those past the end do not count."""

    heads: tuple[int, int]
    length: int
    window: int
    group: int
    borders: tuple[int, ...]
    exact: tuple[int, ...]
    is_rotated: bool
    seed: int

    def prompt(self, length: int | None = None) -> Prompt:
        """The first `length` tokens; borders and exact tokens are those of the first `self.length`."""
        tokens = self.length if length is None else length
        borders = torch.tensor(sorted(at for at in self.borders if at < self.length), dtype=torch.int64)
        exact = torch.zeros(tokens, dtype=torch.bool)
        exact[[at for at in self.exact if at < self.length]] = True
        layout = Layout(tokens, borders, exact, angles(tokens) if self.is_rotated else None)
        return Prompt(*qkv(2, *self.heads, tokens, tokens, SIZE, seed=self.seed), layout=layout)

    @property
    def shape(self) -> dict[str, Any]:
        return {"group": self.group, "window": self.window}


cases = st.builds(
    Case,
    heads=st.sampled_from(((1, 1), (4, 1), (7, 1), (8, 1), (4, 2))),
    length=st.sampled_from((1, 3, 16, 31, 50, 64)),
    window=st.sampled_from((1, 5, 16)),
    group=st.sampled_from((1, 3, 4, 8)),
    borders=st.sets(st.integers(1, 63), max_size=4).map(tuple),
    exact=st.sets(st.integers(0, 63), max_size=6).map(tuple),
    is_rotated=st.booleans(),
    seed=st.integers(0, 99),
)


def angles(length: int, channels: int = 6) -> Rotation:
    """Rotary angles of a text: three frequencies, two channels of the head are not rotated."""
    turns = torch.arange(length, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.3, 0.05], dtype=torch.float64)
    both = turns.repeat(1, channels // 3)
    return Rotation(both.cos(), both.sin())


def truncated(prompt: Prompt, length: int) -> Prompt:
    """The first `length` tokens of a prompt; its layout's borders stay those of the whole."""
    layout = prompt.layout
    turned = layout.rotation
    rotation = None if turned is None else Rotation(turned.cos[:length], turned.sin[:length])
    exact = None if layout.exact is None else layout.exact[:length]
    begin = Layout(length, layout.borders, exact, rotation)
    q, k, v = (x[:, :, :length] for x in (prompt.q, prompt.k, prompt.v))
    return replace(prompt, q=q, k=k, v=v, layout=begin)


def attended(method: Grouped, prompt: Prompt) -> Tensor:
    return reference.attend(prompt.q, prompt.k, prompt.v, method.plan(prompt), scale=prompt.scale).out


def check_counts(method: Grouped, prompt: Prompt, *, duplicates: int = 0) -> None:
    """Every token before a query counts once, and `duplicates` times more where it is the last before a window."""
    length, heads_q = prompt.k.shape[2], prompt.q.shape[1]
    plan = method.plan(prompt)
    groups = method.grouping.groups(prompt)
    counts = count_matrix(plan, length, heads_q, groups.members[None, None])
    once = torch.ones(length, length, dtype=torch.int64).tril()
    extra = (counts - once).sum(-1)
    assert torch.equal((counts - once).clamp(max=0), torch.zeros_like(counts))
    has_groups = (groups.ends[None] <= plan.q_positions[:, None] + 1 - method.grouping.window).any(1)
    assert torch.equal(extra, (duplicates * has_groups).expand_as(extra))
    assert plan.pooled is not None
    assert (plan.pooled.last.diff(dim=-1) > 0).all()
    band = plan.q_positions + 1 - plan.band_start[0, 0]
    assert (band >= torch.minimum(plan.q_positions + 1, torch.tensor(method.grouping.window))).all()


def check_window_and_single_tokens_are_dense(whole_window: Grouped, single: Grouped, prompt: Prompt) -> None:
    dense = sdpa_causal(prompt.q, prompt.k, prompt.v, scale=prompt.scale)
    for method in (whole_window, single):
        torch.testing.assert_close(attended(method, prompt), dense, atol=1e-10, rtol=1e-8)


def check_causality(method: Grouped, prompt: Prompt, token: int) -> None:
    """Changing a token changes nothing before it, and something from there on."""
    q, k, v = prompt.q.clone(), prompt.k.clone(), prompt.v.clone()
    for x in (q, k, v):
        x[:, :, token] += 3
    before, after = attended(method, prompt), attended(method, replace(prompt, q=q, k=k, v=v))
    assert torch.equal(before[:, :, :token], after[:, :, :token])
    assert not torch.equal(before[:, :, token], after[:, :, token])


def check_decoding(method: Grouped, whole: Prompt, length: int, *, plan: Plan | None = None) -> None:
    """Steps after the first `length` tokens give the rows of the whole prompt, or of a `plan` made for it."""
    plan = method.plan(whole) if plan is None else plan
    rows = reference.attend(whole.q, whole.k, whole.v, plan, scale=whole.scale).out
    start = truncated(whole, length)
    cache = method.cache()
    cache.fill(start, method.plan(start))
    assert plan.pooled is not None
    for step in range(length, whole.k.shape[2]):
        at = slice(step, step + 1)
        turned = whole.layout.rotation
        rotation = None if turned is None else Rotation(turned.cos[at], turned.sin[at])
        cache.append(whole.q[:, :, at], whole.k[:, :, at], whole.v[:, :, at], rotation)
        out = reference.decode(whole.q[:, :, at], cache.segments(), scale=whole.scale).out
        torch.testing.assert_close(out, rows[:, :, at], atol=1e-10, rtol=1e-8)
        begin = int(plan.band_start[0, 0, step])
        assert cache.num_tokens == step + 1
        held = [part.num_entries for part in cache.segments()]
        assert held[2] == step + 1 - begin
        assert held[0] == int((plan.pooled.last[0, 0] < begin).sum())
        num_complete = int((method.grouping.groups(whole).ends <= step + 1).sum())
        assert cache.num_entries == sum(held) + num_complete - held[0]  # some wait until they leave the window


def check_chunks(method: Grouped, prompt: Prompt, first: int) -> None:
    """A prompt in two chunks, the entries of the first handed on, gives what it gives at once."""
    whole = method.plan(prompt)
    start = truncated(prompt, first)
    begun = method.plan(start)
    rest = replace(prompt, q=prompt.q[:, :, first:])
    plan = method.plan(rest, known=begun.pooled)
    assert plan.pooled is not None
    assert whole.pooled is not None
    torch.testing.assert_close(plan.pooled.k, whole.pooled.k)
    torch.testing.assert_close(plan.pooled.v, whole.pooled.v)
    assert torch.equal(plan.pooled.last, whole.pooled.last)
    out = reference.attend(rest.q, rest.k, rest.v, plan, scale=rest.scale).out
    torch.testing.assert_close(out, attended(method, prompt)[:, :, first:])
