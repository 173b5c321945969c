"""Budgets measured on a model: for each head the sparsest distribution that retains enough of the attention."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.budgets import Budgets, HeadBudget, log_gaussian
from fdvs.kernels.methods.selection import Selection, with_exact

ROWS_AT_ONCE = 8
"""Queries whose dense weights are held at a time: at 128K tokens and 28 heads 120 MB, and twice that in between."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What retained mass is measured on. The paper does not say; all of this is our choice.

    Attributes:
        queries: `spread`: evenly over all queries that do not have everything in their window, the last among them,
            since all of them share the selection. `last`: the last query alone, which is the one that selects, so that
            what is measured is an upper bound for the others.
        num_queries: how many, with `spread`.
        counts_window: measure the share of all attention, the window's included, as the bound of the error has it.
            False: the share of what lies before the window, which asks for more.
        step: distance between the centres and between the spreads of the candidates, in octaves.
    """

    queries: Literal["spread", "last"] = "spread"
    num_queries: int = 64
    counts_window: bool = True
    step: float = 0.5

    def __post_init__(self) -> None:
        if self.queries not in {"spread", "last"}:
            raise InputError(f"queries are 'spread' or 'last', got {self.queries!r}")
        if self.num_queries < 1 or not self.step > 0:
            raise InputError(f"num_queries is at least 1 and step positive, got {self.num_queries} and {self.step}")


def candidates(block: int, *, step: float = 0.5) -> list[HeadBudget]:
    """Distributions to choose from, the sparsest first: log-Gaussian ones, all of one count, and at last everything.

    Centres run from one octave below the smallest count to one above the largest, spreads from 0.5 to 3 octaves. The
    grid is our choice; the paper names neither it nor the number of candidates. Of those with one share, the one of
    the narrower spread comes first. Everything is among them, so that every target can be met.
    """
    num_counts = len(Selection(block=block).counts)
    found = {tuple(float(count == only) for count in range(num_counts)): None for only in range(num_counts)}
    for spread in _steps(0.5, 3.0, step):
        for centre in _steps(-1.0, float(num_counts), step):
            found[log_gaussian(centre, spread, num_counts)] = None
    return sorted((HeadBudget(proportions) for proportions in found), key=lambda budget: budget.share)


def calibrate(
    prompts: Iterable[Prompt],
    *,
    target: float = 0.9,
    window: int = 4096,
    selection: Selection | None = None,
    measurement: Measurement | None = None,
    model: str | None = None,
) -> Budgets:
    """For each layer and KV head the sparsest candidate whose retained mass is at least `target`.

    Args:
        prompts: queries, keys and values of a dense forward pass, one layer after another (they may be made as they
            are asked for). One sample is enough, as published; of several, the mean of their masses counts.
        target: T, in 0…1; published: 0.9. At 1 every head keeps everything.
        window: w, newest tokens that are seen as they are; published: 4096.
        selection: how the budgets will be used. Default: as published.
        model: name of the model, which `read_budgets` checks.

    Raises:
        InputError: the target is out of range, there are no prompts, or one of them lies within its window, so that
            any budget would do.
    """
    selection = Selection() if selection is None else selection
    measurement = Measurement() if measurement is None else measurement
    if not 0 <= target <= 1:
        raise InputError(f"the target is a share of the attention, 0…1, got {target}")
    choices = candidates(selection.block, step=measurement.step)
    of_layer: dict[int, list[Tensor]] = {}
    lengths = []
    for prompt in prompts:
        masses = masses_of(prompt, choices, selection=selection, window=window, measurement=measurement)
        of_layer.setdefault(prompt.layer, []).append(masses)
        lengths.append(prompt.k.shape[2])
    if not of_layer:
        raise InputError("nothing to calibrate on: no prompts were given")
    heads = {layer: _sparsest(choices, torch.stack(masses).mean(0), target) for layer, masses in of_layer.items()}
    settings = {**asdict(measurement), "num_candidates": len(choices), "tokens": sorted(set(lengths))}
    return Budgets(selection, heads=heads, window=window, target=target, model=model, settings=settings)


def masses_of(
    prompt: Prompt, choices: Sequence[HeadBudget], *, selection: Selection, window: int, measurement: Measurement
) -> Tensor:
    """`[choices, Hk]` float64: retained mass of each choice, the mean over rows of the batch, queries and query heads.

    A selection is the same for all queries, so the mass it retains is the sum of what all of them together give to
    its tokens: queries are looked at once, whatever the number of choices.
    """
    far, near = _attention_received(prompt, window, measurement)
    scores = selection.scores(prompt)
    masses = []
    for choice in choices:
        proportions = torch.tensor([choice.proportions], dtype=torch.float64)
        chosen = with_exact(selection.choose(prompt, scores, proportions), prompt)
        retained = (far * chosen).sum(-1)
        share = (retained + near) / (far.sum(-1) + near) if measurement.counts_window else retained / far.sum(-1)
        masses.append(share.mean(0))
    return torch.stack(masses).cpu()


def _attention_received(prompt: Prompt, window: int, measurement: Measurement) -> tuple[Tensor, Tensor]:
    """What the measured queries give to each token before their window, `[B, Hk, T]`, and to the window, `[B, Hk]`."""
    length, positions = prompt.k.shape[2], prompt.q_positions
    is_longer = (positions >= window).nonzero()[:, 0]
    if not len(is_longer):
        raise InputError(f"a sample of {length} tokens lies within the window of {window}: any budget would do")
    count = 1 if measurement.queries == "last" else min(measurement.num_queries, len(is_longer))
    rows = is_longer[torch.linspace(len(is_longer) - 1, 0, count).round().long().to(is_longer.device)]
    precise = torch.promote_types(prompt.q.dtype, torch.float32)
    keys = prompt.k.to(precise).mT[:, :, None]
    columns = torch.arange(length, device=rows.device)
    far = torch.zeros(*prompt.k.shape[:3], dtype=torch.float64, device=rows.device)
    near = torch.zeros(*prompt.k.shape[:2], dtype=torch.float64, device=rows.device)
    for some in rows.split(ROWS_AT_ONCE):
        q = prompt.q[:, :, some].unflatten(1, (prompt.heads_k, -1)).to(precise)
        at = positions[some][:, None]
        logits = (q @ keys * prompt.softmax_scale).masked_fill(columns > at, -torch.inf)
        weights = torch.softmax(logits, dim=-1)
        is_far = columns <= at - window
        far += (weights * is_far).sum((2, 3), dtype=torch.float64)
        near += (weights * ~is_far).sum((2, 3, 4), dtype=torch.float64)
    return far, near


def _sparsest(choices: Sequence[HeadBudget], masses: Tensor, target: float) -> list[HeadBudget]:
    """For each head the first choice that reaches the target; the last one, everything, does by what it is.

    A target of 1 is met by that one alone: a sparser one may be rounded to everything on a short sample.
    """
    found = []
    for of_head in masses.T.tolist():
        place = next((n for n, mass in enumerate(of_head) if mass >= target and target < 1), len(choices) - 1)
        found.append(HeadBudget(choices[place].proportions, min(of_head[place], 1.0)))
    return found


def _steps(first: float, last: float, step: float) -> list[float]:
    return [first + n * step for n in range(int((last - first) / step + 1e-9) + 1)]
