"""Causal attention as it always was, as a method: the simplest planner, and the baseline of every comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fdvs.kernels.methods.base import Prompt, ReducedCache
from fdvs.kernels.methods.buffers import EntryBuffer, tokens_from
from fdvs.kernels.plans import Entries, Plan, dense_plan
from fdvs.kernels.rotary import Rotation


@dataclass(frozen=True, slots=True)
class Dense:
    """Every query sees every token before it. It has no settings."""

    name: ClassVar[str] = "dense"
    is_causal: ClassVar[bool] = True

    def plan(self, prompt: Prompt) -> Plan:
        return dense_plan(prompt.q.shape[2], prompt.k.shape[2], prompt.q.device)

    def cache(self) -> ReducedCache:
        return FullCache()


class FullCache:
    """Keeps every token."""

    def __init__(self) -> None:
        self._tokens: EntryBuffer | None = None

    def fill(self, prompt: Prompt, plan: Plan) -> None:
        self._tokens = EntryBuffer(tokens_from(prompt.k, prompt.v, 0))

    def append(self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation | None = None) -> None:
        assert self._tokens is not None, "a cache is filled before it is appended to"
        self._tokens.append(tokens_from(k, v, 0, first_position=len(self._tokens)))

    def segments(self) -> list[Entries]:
        assert self._tokens is not None, "a cache is filled before it is read"
        return [self._tokens.entries()]

    @property
    def num_tokens(self) -> int:
        return 0 if self._tokens is None else len(self._tokens)

    @property
    def num_entries(self) -> int:
        return self.num_tokens
