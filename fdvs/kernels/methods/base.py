"""What a method is: a planner of segments, and the reduced cache that it allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.layout import Layout
from fdvs.kernels.ops import REFERENCE, Ops
from fdvs.kernels.plans import Entries, Plan, query_positions
from fdvs.kernels.pooling import mean_of_query_heads
from fdvs.kernels.rotary import Rotation


@dataclass(frozen=True, slots=True)
class Prompt:
    """Queries, keys and values of one layer, and what is known of the tokens.

    Attributes:
        q: `[B, Hq, Tq, D]`, rotated. The last Tq of the Tk tokens: fewer when a prompt comes in chunks.
        k, v: `[B, Hk, Tk, D]`, `[B, Hk, Tk, Dv]`.
        layout: of all Tk tokens.
        scale: multiplies q·k. None: `D ** -0.5`.
        layer: which layer of the model, for methods whose settings differ between layers.
        ops: the back end that planning itself runs on.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    layout: Layout
    scale: float | None = None
    layer: int = 0
    ops: Ops = REFERENCE

    @property
    def heads_k(self) -> int:
        return self.k.shape[1]

    @property
    def q_positions(self) -> Tensor:
        return query_positions(self.q.shape[2], self.k.shape[2], self.q.device)

    @property
    def softmax_scale(self) -> float:
        return self.q.shape[-1] ** -0.5 if self.scale is None else self.scale


class ReducedCache(Protocol):
    """The keys and values of one layer that decoding needs, fewer than there were tokens."""

    def fill(self, prompt: Prompt, plan: Plan) -> None:
        """Keeps of a whole prompt what later steps see. `plan` is the one its attention ran with."""

    def append(self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation | None = None) -> None:
        """Takes one new token in, `[B, H, 1, D]` each, and folds what it pushes out of the window.

        Args:
            rotation: that of the new token, `[1, R]`; needed where the layout of the prompt had one.
        """

    def segments(self) -> list[Entries]:
        """What a step attends to, the newest token included, for `Ops.decode`."""

    @property
    def num_tokens(self) -> int:
        """Tokens the cache has been given: the logical length, which positions count by."""

    @property
    def num_entries(self) -> int:
        """Entries it holds per KV head at most, those included that wait for their group to leave the window."""


class Method(Protocol):
    """A way to attend to less than everything."""

    @property
    def name(self) -> str: ...

    @property
    def is_causal(self) -> bool:
        """Whether what a token sees depends on no later token, so that chunks and prefix caches give the same."""

    def plan(self, prompt: Prompt) -> Plan:
        """What each query of `prompt` attends to."""

    def cache(self) -> ReducedCache | None:
        """An empty cache for one layer, or None where decoding has to keep every token."""


def queries_at(prompt: Prompt, positions: Tensor) -> Tensor:
    """`[B, Hk, M, D]`: the queries of tokens at `positions` `[M]`, the mean over the query heads of a KV head.

    Raises:
        InputError: the queries of some of these tokens are gone, as in a later chunk of a prompt.
    """
    first = int(prompt.q_positions[0])
    if len(positions) and int(positions.min()) < first:
        raise InputError(
            f"groups that end before position {first} need queries of an earlier chunk; give the whole prompt at once"
        )
    return mean_of_query_heads(prompt.q, prompt.heads_k)[:, :, positions - first]
