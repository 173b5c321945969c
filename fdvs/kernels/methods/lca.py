"""LCA for grouped-query attention: what groups say is pooled, where they stand is one token's own key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from fdvs.errors import InputError
from fdvs.kernels.methods.base import Prompt, ReducedCache
from fdvs.kernels.methods.cores import BiasRule, CorePosition, CoreRule
from fdvs.kernels.methods.windowed import Grouping
from fdvs.kernels.methods.windowed_cache import WindowedCache
from fdvs.kernels.plans import Entries, Plan
from fdvs.kernels.pooling import PoolRule

SummaryQueries = Literal["causal", "prompt_end"]
"""Which queries say what matters in a group: the newest when it is complete, or the newest of the whole prompt."""


@dataclass(frozen=True, slots=True)
class Lca:
    """Condensed groups of the far past and a window, under one softmax.

    For models with latent attention see `fdvs.kernels.methods.mla`; this is the form for ordinary keys and values.

    Attributes:
        group: tokens of a group, g; published: 16.
        window: newest tokens that are always seen, w; published: 1024. It begins where a group ends, so that it holds
            up to `group` - 1 more: that is where the tokens go which are no whole group.
        num_queries: queries whose mean is the summary query; published: 16.
        queries: `causal`, for training, streaming and shared prefixes. `prompt_end` lets the question at the end of a
            prompt say what matters in all of it; then a token's output depends on later tokens. The paper does not say
            which it means. Groups that are completed by decoding are weighed as they are completed, in either case.
        bias: `none`, as published; for a model that was not fine-tuned take `Lca.training_free()`. See `BiasRule`.
        key_rule: what a group's key is. `anchor`, as published: the rotated key of its most important token.
        value_rule: what a group's value is. `weighted`, as published.
        core_position: where an averaged key stands, with another `key_rule`.

    Decided here, as the paper is silent:
        - The published latent is content and the rotary key is position. Ordinary keys are both, and rotated keys must
          not be averaged; so the key is selected and the value is pooled.
        - The summary query is the mean over the query heads of a KV head, too.
        - Exact tokens of the layout are in no group and are seen as they are; groups cross no border of the layout.

    Source: LCA 2604.12452 (ACL 2026).
    """

    group: int = 16
    window: int = 1024
    num_queries: int = 16
    queries: SummaryQueries = "causal"
    bias: BiasRule = "none"
    key_rule: PoolRule = "anchor"
    value_rule: PoolRule = "weighted"
    core_position: CorePosition = "last"

    name: ClassVar[str] = "lca"

    def __post_init__(self) -> None:
        if self.queries not in {"causal", "prompt_end"}:
            raise InputError(f"queries are 'causal' or 'prompt_end', got {self.queries!r}")
        self.grouping  # noqa: B018  it checks the other settings

    @classmethod
    def training_free(cls, group: int = 16, window: int = 1024) -> Lca:
        """For a model that was not fine-tuned: a group weighs for its summary query what its tokens weigh. Ours.

        The logarithm of the count would let an anchor, the strongest of its group, stand for too much.
        """
        return cls(group=group, window=window, bias="matched")

    @property
    def is_causal(self) -> bool:
        return self.queries == "causal"

    @property
    def grouping(self) -> Grouping:
        return Grouping(
            self.group,
            self.window,
            CoreRule(self.key_rule, self.value_rule, self.bias, self.core_position),
            num_queries=self.num_queries,
            weighed_by="closing" if self.queries == "causal" else "prompt_end",
        )

    def plan(self, prompt: Prompt, known: Entries | None = None) -> Plan:
        """What each query attends to.

        Args:
            known: for a later chunk of a prompt, with causal queries: `pooled` of the plan of the chunk before it.

        Raises:
            InputError: queries of an earlier chunk would be needed; or entries are known that the end of the prompt
                would have weighed in another way.
        """
        if known is not None and not self.is_causal:
            raise InputError("queries='prompt_end' weighs all groups anew: entries of an earlier chunk are of no use")
        return self.grouping.plan(prompt, known)

    def cache(self) -> ReducedCache:
        return WindowedCache(self.grouping)
