"""Core tokens, which CCA, DGA and LCA share: what stands for a group, where its key stands and what it weighs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.ops import Ops
from fdvs.kernels.plans import NEVER, Entries
from fdvs.kernels.pooling import Pooled, PoolRule, take
from fdvs.kernels.rotary import Rotation, rotate, unrotate

CorePosition = Literal["last", "anchor", "rotated"]
"""Where a key that was averaged stands: at the group's last token or at its anchor, averaged before rotation; or
`rotated`, averaged as rotated keys, which weakens it the more the faster a channel turns."""

BiasRule = Literal["none", "log_count", "matched"]
"""What is added to an entry's logit: nothing; the logarithm of its number of tokens, so that equal tokens weigh what
they weigh; or what makes the entry weigh for the query that pooled it exactly what its tokens weigh. Of equal tokens
the last two are the same."""


class Cores(Protocol):
    """What makes entries of groups."""

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
        """Groups as entries, in the positions of `k`.

        Args:
            k, v: `[B, Hk, T, D]`, `[B, Hk, T, Dv]`.
            members: `[B or 1, Hk or 1, M, G]`, padded with -1 on the right.
            last: `[B or 1, Hk or 1, M]`, where each group ends; `NEVER` for a group that is padding.
            queries: `[B, Hk, M, D]`, what weighs each group. Always by rotated keys, as attention would weigh them.
            rotation: of the T positions.
        """


@dataclass(frozen=True, slots=True)
class CoreRule:
    """What stands for a group of ordinary keys and values.

    Attributes:
        key_rule, value_rule: see `PoolRule`.
        bias: see `BiasRule`. `matched` is ours: weights are exp(q·k_i) over their sum, so for the query q that weighed
            a group the whole sum is known, and log Σ exp(q·k_i) - q·k of the entry makes up for what is missing.
        core_position: see `CorePosition`. It matters where keys are averaged and there is a rotation; without one, keys
            are averaged as they are.
    """

    key_rule: PoolRule = "weighted"
    value_rule: PoolRule = "weighted"
    bias: BiasRule = "none"
    core_position: CorePosition = "last"

    def __post_init__(self) -> None:
        for what, value, known in (
            ("key_rule", self.key_rule, PoolRule),
            ("value_rule", self.value_rule, PoolRule),
            ("bias", self.bias, BiasRule),
            ("core_position", self.core_position, CorePosition),
        ):
            if value not in get_args(known):
                raise InputError(f"{what} is one of {', '.join(get_args(known))}, got {value!r}")

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
        """As `Cores.pool` says."""
        pooled = ops.pool(
            k,
            v,
            members,
            queries,
            scale=scale,
            key_rule=self.key_rule,
            value_rule=self.value_rule,
            has_log_count=self.bias == "log_count",
        )
        last = last.expand(pooled.entries.last.shape)
        entries = replace(pooled.entries, last=last)
        if rotation is not None and self.key_rule != "anchor" and self.core_position != "rotated":
            places = pooled.anchors if self.core_position == "anchor" else last.masked_fill(last == NEVER, 0)
            entries = replace(entries, k=self._turned_once(k, members, pooled.weights, places, rotation))
        if self.bias == "matched":
            entries = replace(entries, bias=matched_bias(k, pooled, entries.k, queries, scale))
        return entries

    def _turned_once(self, k: Tensor, members: Tensor, weights: Tensor, places: Tensor, rotation: Rotation) -> Tensor:
        """`[B, Hk, M, D]`: keys averaged as they were before rotation, then rotated to `places` `[B, Hk, M]`."""
        precise = torch.promote_types(k.dtype, torch.float32)
        keys = take(k, members.expand(*k.shape[:2], -1, -1)).to(precise)
        flat = unrotate(keys, rotation, members.clamp_min(0))
        if self.key_rule == "mean":
            is_member = members >= 0
            weights = is_member.to(precise) / is_member.sum(-1, keepdim=True).clamp_min(1)
        return rotate((flat * weights[..., None].to(precise)).sum(-2), rotation, places.clamp_min(0)).to(k.dtype)


def matched_bias(k: Tensor, pooled: Pooled, keys: Tensor, queries: Tensor, scale: float) -> Tensor:
    """log Σ exp(q·k_i) - q·k of the entry: `[B, Hk, M]` float32, zero for padding.

    The logarithm of the sum is the anchor's logit less the logarithm of its weight.
    """
    precise = torch.promote_types(k.dtype, torch.float32)
    anchors = take(k, pooled.anchors).to(precise)
    above = ((anchors - keys.to(precise)) * queries.to(precise)).sum(-1) * scale
    largest = pooled.weights.amax(-1)
    return torch.where(largest > 0, above - largest.log(), 0.0).to(torch.float32)
