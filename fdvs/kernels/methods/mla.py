"""LCA for latent attention: a group's latent is pooled, its place is one token's rotary key.

Latent attention keeps for each token one latent `[Dc]` and one rotary key `[Dr]`, which all heads share. Each head has
a matrix that makes keys out of latents and one that makes values. Moved to the other side (absorbed), the first turns
queries into latents' space, and attention is that of one KV head: keys are latent and rotary key side by side, values
are the latents. So a plan is made there, and every back end can run it; `expanded` gives the same with keys and values
made for each head, as training and prefill do it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from fdvs.errors import InputError, ShapeError
from fdvs.kernels.layout import Layout
from fdvs.kernels.methods.base import Prompt, ReducedCache
from fdvs.kernels.methods.cores import BiasRule, CoreRule, matched_bias
from fdvs.kernels.methods.lca import SummaryQueries
from fdvs.kernels.methods.windowed import Grouping
from fdvs.kernels.methods.windowed_cache import WindowedCache
from fdvs.kernels.ops import REFERENCE, Ops
from fdvs.kernels.plans import Entries, Plan
from fdvs.kernels.pooling import Pooled
from fdvs.kernels.rotary import Rotation


@dataclass(frozen=True, slots=True)
class UpProjections:
    """What heads make of latents: `keys` `[Hq, Dn, Dc]` and `values` `[Hq, Dv, Dc]`."""

    keys: Tensor
    values: Tensor

    def absorbed(self, q_content: Tensor, q_rotary: Tensor) -> Tensor:
        """`[B, Hq, T, Dc + Dr]`: queries `[B, Hq, T, Dn]` and `[B, Hq, T, Dr]` as they meet latents and rotary keys."""
        return torch.cat([torch.einsum("bhtn,hnc->bhtc", q_content, self.keys), q_rotary], dim=-1)

    def outputs(self, latents: Tensor) -> Tensor:
        """`[B, Hq, T, Dv]`: what attention gave as latents `[B, Hq, T, Dc]`, as each head's values."""
        return torch.einsum("bhtc,hvc->bhtv", latents, self.values)

    def expanded(self, entries: Entries) -> Entries:
        """Entries of the one shared head as entries of each head."""
        heads, _, size = self.keys.shape
        latents, rotary = entries.k[:, 0, :, :size], entries.k[..., size:]
        keys = torch.einsum("bmc,hnc->bhmn", latents, self.keys)
        return Entries(
            k=torch.cat([keys, rotary.expand(-1, heads, -1, -1)], dim=-1),
            v=torch.einsum("bmc,hvc->bhmv", latents, self.values),
            last=entries.last.expand(-1, heads, -1),
            bias=None if entries.bias is None else entries.bias.expand(-1, heads, -1),
        )

    def expanded_plan(self, plan: Plan) -> Plan:
        """A plan for latents as one for the keys and values of each head."""
        pooled, selected = (None if part is None else self.expanded(part) for part in (plan.pooled, plan.selected))
        return replace(plan, pooled=pooled, selected=selected)


def latent_prompt(
    q: Tensor, latents: Tensor, rotary: Tensor, layout: Layout, *, scale: float, ops: Ops = REFERENCE
) -> Prompt:
    """Latent attention as a prompt of one KV head.

    Args:
        q: `[B, Hq, Tq, Dc + Dr]`, see `UpProjections.absorbed`.
        latents: `[B, Tk, Dc]`, normalised as the model hands them to its up-projections.
        rotary: `[B, Tk, Dr]`, rotated.
        scale: that of the model, (Dn + Dr) ** -0.5 in most. It does not follow from the size of absorbed queries.
    """
    if q.shape[-1] != latents.shape[-1] + rotary.shape[-1]:
        raise ShapeError(f"wanted q of size {latents.shape[-1]} + {rotary.shape[-1]}, got {q.shape[-1]}")
    keys = torch.cat([latents, rotary], dim=-1)[:, None]
    return Prompt(q, keys, keys[..., : latents.shape[-1]], layout, scale=scale, ops=ops)


@dataclass(frozen=True, slots=True)
class LatentCores:
    """What stands for a group of latents: their weighted sum, beside the rotary key of the anchor, never averaged.

    The value of an entry is its latent: as much of it is returned as the values given have channels, so that a cache
    that keeps none of them gets none.

    Attributes:
        latent_size: channels of a latent, Dc.
        bias: see `BiasRule`.
    """

    latent_size: int
    bias: BiasRule = "none"

    def __post_init__(self) -> None:
        if self.latent_size < 1:
            raise InputError(f"latent_size is at least 1, got {self.latent_size}")
        CoreRule(bias=self.bias)  # it knows which there are

    def pool(
        self,
        k: Tensor,
        v: Tensor,
        members: Tensor,
        last: Tensor,
        queries: Tensor,
        *,
        rotation: Rotation | None,
        ops: Ops,
        scale: float,
    ) -> Entries:
        """As `Cores.pool` says. The rotation is not needed: rotary keys stay as they are."""
        size = self.latent_size
        has_log_count = self.bias == "log_count"
        pooled: Pooled = ops.pool(
            k,
            k[..., :size],
            members,
            queries,
            scale=scale,
            key_rule="anchor",
            value_rule="weighted",
            has_log_count=has_log_count,
        )
        keys = torch.cat([pooled.entries.v, pooled.entries.k[..., size:]], dim=-1)
        bias = matched_bias(k, pooled, keys, queries, scale) if self.bias == "matched" else pooled.entries.bias
        return Entries(keys, keys[..., : v.shape[-1]], last.expand(keys.shape[:3]), bias)


@dataclass(frozen=True, slots=True)
class LatentLca:
    """LCA as published: condensed latents of the far past and a window, under one softmax, on absorbed prompts.

    Attributes:
        latent_size: channels of a latent, Dc; 512 in DeepSeek's models.
        group, window, num_queries, queries, bias: as in `Lca`.

    Decided here, as the paper is silent:
        - A latent is shared by all heads, so one summary query weighs it: the mean of the absorbed queries over heads,
          which is the mean of the heads' logits.
        - Importance is that of attention itself, content and position together.

    Source: LCA 2604.12452 (ACL 2026); latent attention: DeepSeek-V2 2405.04434.
    """

    latent_size: int = 512
    group: int = 16
    window: int = 1024
    num_queries: int = 16
    queries: SummaryQueries = "causal"
    bias: BiasRule = "none"

    name: ClassVar[str] = "lca"

    def __post_init__(self) -> None:
        if self.queries not in {"causal", "prompt_end"}:
            raise InputError(f"queries are 'causal' or 'prompt_end', got {self.queries!r}")
        self.grouping  # noqa: B018  it checks the other settings

    @property
    def is_causal(self) -> bool:
        return self.queries == "causal"

    @property
    def grouping(self) -> Grouping:
        return Grouping(
            self.group,
            self.window,
            LatentCores(self.latent_size, self.bias),
            num_queries=self.num_queries,
            weighed_by="closing" if self.queries == "causal" else "prompt_end",
        )

    def plan(self, prompt: Prompt, known: Entries | None = None) -> Plan:
        """What each query of a `latent_prompt` attends to. See `Lca.plan`.

        Raises:
            ShapeError: this is no prompt of latents of this size.
        """
        if prompt.heads_k != 1 or prompt.v.shape[-1] != self.latent_size:
            raise ShapeError(
                f"wanted one shared head of latents of size {self.latent_size}, "
                f"got {prompt.heads_k} of {prompt.v.shape[-1]}"
            )
        if known is not None and not self.is_causal:
            raise InputError("queries='prompt_end' weighs all groups anew: entries of an earlier chunk are of no use")
        return self.grouping.plan(prompt, known)

    def cache(self) -> ReducedCache:
        return LatentCache(self)


class LatentCache:
    """The cache of groups and a window for latents: Dc + Dr channels an entry, values being a part of the keys."""

    def __init__(self, method: LatentLca) -> None:
        self._size = method.latent_size
        self._kept = WindowedCache(method.grouping)

    def fill(self, prompt: Prompt, plan: Plan) -> None:
        pooled, selected = (None if part is None else _without_values(part) for part in (plan.pooled, plan.selected))
        self._kept.fill(replace(prompt, v=prompt.k[..., :0]), replace(plan, pooled=pooled, selected=selected))

    def append(self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation | None = None) -> None:
        self._kept.append(q, k, k[..., :0], rotation)

    def segments(self) -> list[Entries]:
        return [replace(part, v=part.k[..., : self._size]) for part in self._kept.segments()]

    @property
    def num_tokens(self) -> int:
        return self._kept.num_tokens

    @property
    def num_entries(self) -> int:
        return self._kept.num_entries


def _without_values(entries: Entries) -> Entries:
    return replace(entries, v=entries.k[..., :0])
