"""Block top-k with mean correction: the best blocks as they are, every other far block as the mean of its tokens.

Of our own, in the manner of block-sparse prefill with a zero-order correction (FlashPrefill V2, 2608.19758): blocks are
found by mean queries and mean keys; what is not kept still counts, once, by its mean key and value and the logarithm of
its length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.tiling import Tiling, check_block, means, softmax_over, tile_logits
from fdvs.kernels.plans import Entries, Plan


@dataclass(frozen=True, slots=True)
class TopBlocks:
    """The best-scored share of far blocks for each block of queries.

    Attributes:
        block: tokens in a block, of queries and of keys; published: 128.
        share: of the far blocks that a block of queries could see, how many it keeps, rounded up. Ours, so that kept
            shares can be compared with those of other methods; the published rule is a threshold (0.1 of the largest).
        sinks: first blocks that are kept on top; published: 2.
        local: newest blocks that are always seen as they are, a query's own among them; published: 4.
        corrects_mean: let blocks that are not kept count by their mean. False: they are dropped.
        lists: `query`: each query head has its own list of blocks. `kv`: the query heads of a KV head share one, by
            the mean of their weights.

    Decoding keeps every token: what a block of queries leaves out, the next may need. Tokens that a layout calls exact
    get no treatment of their own, as published.
    """

    block: int = 128
    share: float = 0.1
    sinks: int = 2
    local: int = 4
    corrects_mean: bool = True
    lists: Literal["query", "kv"] = "query"

    name: ClassVar[str] = "blocks"
    is_causal: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_block(self.block)
        if not 0 <= self.share <= 1:
            raise InputError(f"share lies in 0…1, got {self.share}")
        if self.sinks < 0 or self.local < 1:
            raise InputError(f"sinks is at least 0 and local at least 1, got {self.sinks} and {self.local}")
        if self.lists not in {"query", "kv"}:
            raise InputError(f"lists are by 'query' or by 'kv' heads, got {self.lists!r}")

    def plan(self, prompt: Prompt) -> Plan:
        tiling = Tiling.of(prompt, self.block)
        plan = tiling.plan(prompt, self.keep(prompt, tiling), local=self.local)
        return replace(plan, pooled=self.remainder(prompt), is_remainder=True) if self.corrects_mean else plan

    def keep(self, prompt: Prompt, tiling: Tiling) -> Tensor:
        """`[B, Hq or Hk, nQ, nK]` bool."""
        far = tiling.far(self.local)
        keys = means(prompt.k, self.block)
        weights = softmax_over(tile_logits(means(prompt.q, self.block), keys, prompt.softmax_scale), far)
        if self.lists == "kv":
            weights = weights.unflatten(1, (prompt.heads_k, -1)).mean(2)
        order = weights.masked_fill(~far, -1.0).sort(dim=-1, descending=True, stable=True).indices
        places = torch.arange(tiling.num_k, device=order.device).expand_as(order)
        ranks = torch.empty_like(order).scatter_(-1, order, places)
        wanted = (far.sum(-1, keepdim=True) * self.share - 1e-9).ceil()
        return ((ranks < wanted) | (places < self.sinks)) & far

    def remainder(self, prompt: Prompt) -> Entries:
        """One entry for each key tile: its mean key and value, and the logarithm of its length."""
        num_keys = prompt.k.shape[2]
        members = torch.arange(-(-num_keys // self.block) * self.block, device=prompt.k.device)
        members = members.masked_fill(members >= num_keys, -1).unflatten(0, (-1, self.block))
        return prompt.ops.pool(prompt.k, prompt.v, members[None, None], key_rule="mean", value_rule="mean").entries

    def cache(self) -> None:
        return None
