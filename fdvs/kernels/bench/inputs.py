"""Made-up queries and keys whose attention looks like that of language models: sinks, bright columns, a local band.

Normal noise alone would spread attention evenly, and every sparse method would look equally bad. What is made here has
the three features that all methods rest on, in amounts that are stated; how methods do on *trained* attention is
measured elsewhere (benchmarks/proving_ground).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NUM_SINKS = 4
BRIGHT_SHARE = 0.01
LOCAL_LENGTH = 128
"""Tokens over which neighbouring keys resemble each other."""

FRAME_TOKENS = 64
"""Tokens of what passes for a frame: methods for films are told so, and nothing about these inputs knows it."""

SINK_LOGIT, BRIGHT_LOGIT, LOCAL_LOGIT = 6.0, 5.0, 3.0
"""Mean logits of a query with sinks, with bright columns, and with its own neighbourhood; others are about 0 ± 1."""


class Inputs(NamedTuple):
    """`q` `[1, Hq, T, D]`, `k` and `v` `[1, Hk, T, D]`."""

    q: Tensor
    k: Tensor
    v: Tensor


def make_inputs(
    heads_q: int, heads_k: int, length: int, size: int, *, dtype: torch.dtype, device: torch.device, seed: int = 0
) -> Inputs:
    """Inputs of one layer, the same for the same seed and kind of device."""
    generator = torch.Generator(device).manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device, dtype=torch.float32)

    unit = size**0.5  # q·k / sqrt(D) of two unit vectors times sqrt(D) each is then sqrt(D)
    direction = torch.nn.functional.normalize(noise(1, heads_k, 1, size), dim=-1)
    bright = torch.rand(1, heads_k, length, 1, generator=generator, device=device) < BRIGHT_SHARE
    height = torch.where(bright, BRIGHT_LOGIT, 0.0)
    height[:, :, :NUM_SINKS] = SINK_LOGIT
    local = _slow_walk(noise(heads_k, size, max(length // LOCAL_LENGTH, 1) + 1), length)[None]

    k = noise(1, heads_k, length, size) / size**0.25
    k = k + direction * height + local * LOCAL_LOGIT**0.5
    q = noise(1, heads_q, length, size) / size**0.25
    per_query_head = heads_q // heads_k
    q = q + (direction * unit).repeat_interleave(per_query_head, dim=1)
    q = q + (local * LOCAL_LOGIT**0.5 * unit).repeat_interleave(per_query_head, dim=1)
    return Inputs(q.to(dtype), k.to(dtype), noise(1, heads_k, length, size).to(dtype))


def _slow_walk(knots: Tensor, length: int) -> Tensor:
    """`[H, T, D]` unit vectors that turn slowly, from one knot of `[H, D, K]` to the next."""
    walk = torch.nn.functional.interpolate(knots, size=length, mode="linear", align_corners=True)
    return torch.nn.functional.normalize(walk.transpose(1, 2), dim=-1)
