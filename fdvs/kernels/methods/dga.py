"""DGA: tokens that receive much attention stay, the others are grouped, and nobody sees a group that is not over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.columns import positions_of
from fdvs.kernels.layout import Layout, band_starts
from fdvs.kernels.methods.base import Prompt, ReducedCache
from fdvs.kernels.methods.cores import BiasRule, CorePosition, CoreRule
from fdvs.kernels.methods.dga_cache import DgaCache
from fdvs.kernels.methods.selection import with_exact
from fdvs.kernels.plans import NEVER, Plan
from fdvs.kernels.pooling import mean_of_query_heads, take

Samples = Literal["spread", "last"]
"""Which queries say what is important: evenly over the prompt, the last among them, or the last ones."""


@dataclass(frozen=True, slots=True)
class Dga:
    """Focal tokens as they are, groups of the others, and the group a query lies in token by token.

    Attributes:
        group: tokens of a group, m; published: 16.
        focal_share: share of the tokens that stay focal, gamma; published: 0.1. At 0 there are groups only, and
            nothing depends on a later token.
        num_samples: queries that importance is estimated from. The paper says few and not how many: our choice.
        samples: which ones. Our choice: those of a long prompt's middle know what its beginning is good for.
        window: newest tokens, a query's own among them, that are always seen. Published: none but the group that the
            query lies in; with more than 1 an option of ours.
        bias: `none`, as published; for a model that was not fine-tuned take `Dga.training_free()`. See `BiasRule`.
        core_position: where a group's key stands. The paper does not say; keys are summed before rotation and rotated
            once, to the group's last token.

    Decided here, as the paper is silent:
        - Focal sets and groups are those of a KV head: importance is the mean over its query heads, and the mean query
          of these weighs a group, by its last token, as published.
        - Focal tokens are chosen by queries after them, so what a token sees depends on later ones: good for a prompt,
          not for training, where the future must not choose. Train with `focal_share=0`, or with a selection of your
          own in `plan_with`. For the same reason a prompt in chunks is refused.
        - Causality is repaired by the band: the queries of a group's span, its last token among them, see its tokens
          and everything after the group before it as they are. Nothing is counted twice.
        - Exact tokens of the layout are kept like focal ones, on top of the share; groups cross no border.
        - Decoding takes up what the prompt's last query sees, and keeps to it. Of the new tokens the oldest m' are
          folded once m' more than the window have come, m' being m and gamma·m rounded, published as 1.1 m: those that
          the last query of the m' gives most attention stay as they are, m become a group.

    Source: DGA 2505.22107 (ICML 2025).
    """

    group: int = 16
    focal_share: float = 0.1
    num_samples: int = 64
    samples: Samples = "spread"
    window: int = 1
    bias: BiasRule = "none"
    core_position: CorePosition = "last"

    name: ClassVar[str] = "dga"

    def __post_init__(self) -> None:
        if self.group < 1 or self.num_samples < 1 or self.window < 1:
            raise InputError(
                f"group, num_samples and window are at least 1, got {self.group}, {self.num_samples} and {self.window}"
            )
        if not 0 <= self.focal_share <= 1:
            raise InputError(f"focal_share lies in 0…1, got {self.focal_share}")
        if self.samples not in {"spread", "last"}:
            raise InputError(f"samples are 'spread' or 'last', got {self.samples!r}")
        self.cores  # noqa: B018  it checks the other settings

    @classmethod
    def training_free(cls, group: int = 16, focal_share: float = 0.1, window: int = 1) -> Dga:
        """For a model that was not fine-tuned: a group weighs what its tokens weigh. Ours, not the paper's."""
        return cls(group=group, focal_share=focal_share, window=window, bias="log_count")

    @property
    def is_causal(self) -> bool:
        return self.focal_share == 0

    @property
    def cores(self) -> CoreRule:
        return CoreRule("weighted", "weighted", self.bias, self.core_position)

    @property
    def num_focal_of_block(self) -> int:
        """Of the m' tokens that decoding folds at once, how many stay as they are."""
        return round(self.focal_share * self.group)

    def importance(self, prompt: Prompt) -> Tensor:
        """`[B, Hk, T]` float32: mean attention that the sampled queries give to each token."""
        length = prompt.q.shape[2]
        count = min(self.num_samples, length)
        first = 0 if self.samples == "spread" else length - count
        rows = torch.linspace(length - 1, first, count).round().long().flip(0).to(prompt.q.device)
        return prompt.ops.column_scores(prompt.q[:, :, rows], prompt.q_positions[rows], prompt.k, scale=prompt.scale)

    def choose(self, prompt: Prompt) -> Tensor:
        """`[B, Hk, T]` bool: focal and exact tokens. Of equally important tokens the earlier ones are focal."""
        length = prompt.k.shape[2]
        chosen = torch.zeros(*prompt.k.shape[:3], dtype=torch.bool, device=prompt.k.device)
        num_focal = round(self.focal_share * length)
        if num_focal:
            scores = self.importance(prompt)
            if prompt.layout.exact is not None:
                scores = scores.masked_fill(prompt.layout.exact.to(scores.device), -1.0)
            best = scores.sort(dim=-1, descending=True, stable=True).indices[..., :num_focal]
            chosen.scatter_(-1, best, True)
        return with_exact(chosen, prompt)

    def members(self, prompt: Prompt, chosen: Tensor) -> Tensor:
        """`[B, Hk, M, G]`: whom the pooled entries of `plan_with` stand for, padded with -1."""
        return group_the_rest(~chosen, prompt.layout, self.group)

    def plan(self, prompt: Prompt) -> Plan:
        """What each query attends to.

        Raises:
            InputError: this is a later chunk of a prompt.
        """
        return self.plan_with(prompt, self.choose(prompt))

    def plan_with(self, prompt: Prompt, chosen: Tensor) -> Plan:
        """The plan for a selection that is already made, `[B, Hk, T]` bool."""
        if prompt.q.shape[2] != prompt.k.shape[2]:
            raise InputError("dga groups by queries of the whole prompt: give it at once, not in chunks")
        members = self.members(prompt, chosen)
        last = last_of(members)
        queries = take(mean_of_query_heads(prompt.q, prompt.heads_k), last)
        pooled = self.cores.pool(
            prompt.k,
            prompt.v,
            members,
            last,
            queries,
            rotation=prompt.layout.rotation,
            ops=prompt.ops,
            scale=prompt.softmax_scale,
        )
        ends = torch.where(last == NEVER, NEVER, last + 1)
        return Plan(
            prompt.q_positions,
            band_starts(ends, prompt.q_positions, self.window),
            pooled=pooled,
            selected=prompt.ops.compact(prompt.k, prompt.v, positions_of(chosen)),
        )

    def cache(self) -> ReducedCache:
        return DgaCache(self.cores, self.group, self.num_focal_of_block, self.window)


def group_the_rest(is_rest: Tensor, layout: Layout, size: int) -> Tensor:
    """`[B, H, M, size]` int64: complete groups of the tokens that are left, in order; groups cross no border.

    What is left before a border is a short group; what is left at the end is none yet. M is the largest number of
    groups of a head; the rest is padding, -1 throughout.

    Args:
        is_rest: `[B, H, T]` bool.
    """
    device, length = is_rest.device, is_rest.shape[-1]
    begins = torch.zeros(length, dtype=torch.bool, device=device)
    begins[0] = True
    if layout.borders is not None:
        borders = layout.borders.to(device)
        begins[borders[(borders > 0) & (borders < length)]] = True
    piece = begins.long().cumsum(0) - 1
    before = is_rest.long().cumsum(-1) - is_rest.long()  # tokens left before each token
    rank = before - before[..., begins][..., piece]
    opens = is_rest & (rank % size == 0)
    group = opens.long().cumsum(-1) - 1
    num_groups = int(opens.sum(-1).max())
    places = torch.where(is_rest, group * size + rank % size, num_groups * size)
    members = torch.full((*is_rest.shape[:2], num_groups * size + 1), -1, dtype=torch.int64, device=device)
    members.scatter_(-1, places, torch.arange(length, device=device).expand(is_rest.shape))
    members = torch.unflatten(members[..., :-1], -1, (num_groups, size))
    is_open = (members[..., -1] < 0) & (members[..., 0] >= begins.nonzero()[-1, 0])
    members = members.masked_fill(is_open[..., None], -1)
    return members[:, :, : int((members[..., 0] >= 0).sum(-1).max()) if num_groups else 0]


def last_of(members: Tensor) -> Tensor:
    """`[B, H, M]`: the last member of each group; `NEVER` for padding."""
    last = members.amax(-1)
    return last.masked_fill(last < 0, NEVER)
