"""Taking the rotary embedding off keys and putting it on again, so that keys can be pooled before rotation."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """Rotary angles of every position: `cos`, `sin` `[T, R]`, as models hand them out (both halves equal).

    R may be smaller than the head size; the channels after R are not rotated. Multimodal models mix their three
    position axes into these angles, so nothing here depends on how many axes there are.
    """

    cos: Tensor
    sin: Tensor


def rotate(x: Tensor, rotation: Rotation, positions: Tensor) -> Tensor:
    """Rotates `x` `[…, T, D]` to `positions` `[…, T]`. Half-split convention, as in Llama and Qwen."""
    cos, sin = rotation.cos[positions].to(x.dtype), rotation.sin[positions].to(x.dtype)
    turned, kept = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    low, high = turned.chunk(2, dim=-1)
    return torch.cat([turned * cos + torch.cat([-high, low], dim=-1) * sin, kept], dim=-1)


def unrotate(x: Tensor, rotation: Rotation, positions: Tensor) -> Tensor:
    """The inverse of `rotate`: a rotation by the opposite angle."""
    return rotate(x, Rotation(rotation.cos, -rotation.sin), positions)
