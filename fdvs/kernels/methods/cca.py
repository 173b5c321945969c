"""CCA: groups of tokens become core tokens, weighed by their own last query, beside a local window. Causal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fdvs.kernels.methods.base import Prompt, ReducedCache
from fdvs.kernels.methods.cores import BiasRule, CorePosition, CoreRule
from fdvs.kernels.methods.windowed import Grouping
from fdvs.kernels.methods.windowed_cache import WindowedCache
from fdvs.kernels.plans import Entries, Plan


@dataclass(frozen=True, slots=True)
class Cca:
    """Core tokens of the far past and a window, under one softmax.

    Attributes:
        group: tokens of a core token, g; published: 16.
        window: newest tokens that are always seen, s; published: 1024. The window begins where a group ends, so that it
            holds up to `group` - 1 more.
        bias: `none`, as published, makes a core token weigh like one token, which fine-tuning has to make up for. For
            a model that was not fine-tuned take `Cca.training_free()`. See `BiasRule`.
        core_position: where a core token's key stands. The paper does not say.
        counts_border_twice: false, our choice: every token counts once. True: as the paper's indices are printed, the
            last token before the window counts in its core token and as itself.

    Decided here, as the paper is silent:
        - The weights of a group come from rotated keys and the mean query of the query heads of a KV head: one core
          token for each KV head, so that a cache shrinks by what is published.
        - A core token is the weighted sum of hidden states, which keys and values are linear in; so keys are summed
          before rotation and rotated once, to the position of the group's last token. Where keys are normalised before
          rotation, as in Qwen3, the sum is of the normalised ones, and shorter than they are.
        - Without a rotation in the layout keys are summed as they come: exact for models without rotary embedding; for
          others the same as `core_position="rotated"`.
        - Exact tokens of the layout are in no group and are seen as they are; groups cross no border of the layout.

    Source: CCA 2412.12465 (ICML 2025).
    """

    group: int = 16
    window: int = 1024
    bias: BiasRule = "none"
    core_position: CorePosition = "last"
    counts_border_twice: bool = False

    name: ClassVar[str] = "cca"
    is_causal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.grouping  # noqa: B018  it checks the settings

    @classmethod
    def training_free(cls, group: int = 16, window: int = 1024) -> Cca:
        """For a model that was not fine-tuned: core tokens weigh what their tokens weigh. Ours, not the paper's."""
        return cls(group=group, window=window, bias="log_count")

    @property
    def grouping(self) -> Grouping:
        cores = CoreRule("weighted", "weighted", self.bias, self.core_position)
        return Grouping(self.group, self.window, cores, counts_border_twice=self.counts_border_twice)

    def plan(self, prompt: Prompt, known: Entries | None = None) -> Plan:
        """What each query attends to.

        Args:
            known: for a later chunk of a prompt: `pooled` of the plan of the chunk before it.

        Raises:
            InputError: queries of an earlier chunk would be needed and `known` is not given.
        """
        return self.grouping.plan(prompt, known)

    def cache(self) -> ReducedCache:
        return WindowedCache(self.grouping)
