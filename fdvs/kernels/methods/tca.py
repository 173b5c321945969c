"""TCA: each head keeps the tokens that the last query looks at, block by block, and a local window. No training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.methods.base import Prompt, ReducedCache
from fdvs.kernels.methods.budget_file import read_budgets
from fdvs.kernels.methods.budgets import PUBLISHED_SHARE, Budgets
from fdvs.kernels.methods.buffers import EntryBuffer, tokens_from
from fdvs.kernels.methods.selection import Density, Selection, positions_before, with_exact
from fdvs.kernels.plans import Entries, Plan, dense_plan
from fdvs.kernels.rotary import Rotation


@dataclass(frozen=True, slots=True)
class Tca:
    """Selected columns and a sliding window under one softmax.

    Attributes:
        block: tokens in a block; published: 128, the best of those tried.
        window: newest tokens, a query's own among them, that are always seen as they are; published: 4096.
        alpha: weight of a block's concentration against its share of the attention; published: 0.5.
        budgets: what each KV head keeps, as `calibrate` measures it, or the path of such a file. None:
            `Budgets.uniform(share)`, which is measured on nothing; `is_calibrated` says which.
        share: share of the tokens that every head keeps where there are no budgets. The default is the published
            average at 128K.
        target: retained mass that budgets have to have been calibrated for, where it is named; published: 0.9. None:
            whatever they were calibrated for.
        num_queries, density: see `Selection`.

    Decided here, as the paper is silent:
        - One selection for each KV head, by the mean of the scores of its query heads.
        - A token of the selection counts as one in a query's window once it is there: once, not twice.
        - Exact tokens of the layout (sinks, text) are always kept, on top of every quota.
        - Tokens that are decoded stay in the cache, and so do those of the prompt's last window. The selection is not
          made again. A step sees what prefill of the same tokens would show a query whose window reaches back that far.
        - A prompt in chunks: the last query of the tokens given so far selects, anew for each chunk. That is another
          method than one selection for the whole prompt, which is why `is_causal` is false.

    Source: TCA 2512.09238.
    """

    block: int = 128
    window: int = 4096
    alpha: float = 0.5
    budgets: Budgets | str | Path | None = None
    share: float = PUBLISHED_SHARE
    target: float | None = None
    num_queries: int = 1
    density: Density = "plain"

    name: ClassVar[str] = "tca"
    is_causal: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.window < 1:
            raise InputError(f"the window holds at least a query's own token, got {self.window}")
        if isinstance(self.budgets, str | Path):
            object.__setattr__(self, "budgets", read_budgets(self.budgets))
        budgets = self.effective_budgets()  # raises for a share that cannot be
        if budgets.selection.block != self.block:
            raise InputError(f"these budgets are for blocks of {budgets.selection.block}, not of {self.block}")
        if not budgets.is_calibrated:
            return
        for what, measured, asked in (
            ("selection", budgets.selection, self.selection),
            ("window", budgets.window, self.window),
            ("target", budgets.target, budgets.target if self.target is None else self.target),
        ):
            if measured != asked:
                raise InputError(f"these budgets were measured with {what} {measured}, not {asked}: calibrate again")

    @property
    def selection(self) -> Selection:
        return Selection(self.block, self.alpha, self.num_queries, self.density)

    @property
    def is_calibrated(self) -> bool:
        """Whether its budgets were measured on a model."""
        return self.effective_budgets().is_calibrated

    def effective_budgets(self) -> Budgets:
        """The budgets given, or the uniform ones of `share`."""
        if self.budgets is None:
            return Budgets.uniform(self.share, self.selection)
        assert isinstance(self.budgets, Budgets)  # a path was read when the method was made
        return self.budgets

    def choose(self, prompt: Prompt) -> Tensor:
        """`[B, Hk, Tk]` bool: the selection of each KV head, exact tokens included."""
        proportions = self.effective_budgets().of_layer(prompt.layer, prompt.heads_k)
        selection = self.selection
        return with_exact(selection.choose(prompt, selection.scores(prompt), proportions), prompt)

    def plan(self, prompt: Prompt) -> Plan:
        if prompt.k.shape[2] <= self.window:
            return dense_plan(prompt.q.shape[2], prompt.k.shape[2], prompt.q.device)
        return self.plan_with(prompt, self.choose(prompt))

    def plan_with(self, prompt: Prompt, chosen: Tensor) -> Plan:
        """The plan for a selection that is already made, `[B, Hk, Tk]` bool."""
        band_start = (prompt.q_positions + 1 - self.window).clamp_min(0)
        # Every query sees the newest window as it is or not at all: what was selected there needs no entry.
        far = positions_before(chosen, prompt.k.shape[2] - self.window)
        selected = prompt.ops.compact(prompt.k, prompt.v, far)
        return Plan(prompt.q_positions, band_start[None, None], selected=selected)

    def cache(self) -> ReducedCache:
        return TcaCache()


class TcaCache:
    """What TCA decodes with: the selection, the prompt's last window and every token since.

    It keeps to the plan it is filled with, so the window is where that plan's last band starts.
    """

    def __init__(self) -> None:
        self._selected: Entries | None = None
        self._recent: EntryBuffer | None = None
        self._num_tokens = 0

    def fill(self, prompt: Prompt, plan: Plan) -> None:
        self._selected = plan.selected
        self._recent = EntryBuffer(tokens_from(prompt.k, prompt.v, int(plan.band_start[..., -1].min())))
        self._num_tokens = prompt.k.shape[2]

    def append(self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation | None = None) -> None:
        assert self._recent is not None, "a cache is filled before it is appended to"
        self._recent.append(tokens_from(k, v, 0, first_position=self._num_tokens))
        self._num_tokens += k.shape[2]

    def segments(self) -> list[Entries]:
        assert self._recent is not None, "a cache is filled before it is read"
        recent = self._recent.entries()
        return [recent] if self._selected is None else [self._selected, recent]

    @property
    def num_tokens(self) -> int:
        return self._num_tokens

    @property
    def num_entries(self) -> int:
        return sum(part.num_entries for part in self.segments()) if self._recent is not None else 0
