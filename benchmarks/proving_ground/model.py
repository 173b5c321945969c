"""A small decoder (RMS norm, grouped queries, rotary positions, gated MLP) whose attention is left open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.proving_ground.tasks import VOCABULARY

Attention = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Layer, `q` `[B, Hq, T, D]`, `k` and `v` `[B, Hk, T, D]`, rotated → `[B, Hq, T, D]`."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large the model is. Two million parameters with these defaults.

    The rotary base is large for the same reason as in models for long text: with 1e5, eight of the 32 channels of a
    head turn slowly enough to compare tokens 2K apart, and several needles at different distances were not found.
    """

    vocabulary: int = VOCABULARY
    width: int = 256
    layers: int = 2
    heads_q: int = 4
    heads_k: int = 2
    head_size: int = 32
    hidden: int = 1024
    rope_theta: float = 1e7


def causal(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Dense attention by PyTorch itself."""
    return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def angles(length: int, size: Size) -> tuple[Tensor, Tensor]:
    """`cos`, `sin` `[T, D]`, both halves equal."""
    speeds = size.rope_theta ** (-torch.arange(0, size.head_size, 2) / size.head_size)
    turned = (torch.arange(length)[:, None] * speeds).repeat(1, 2)
    return turned.cos(), turned.sin()


class RmsNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.rms_norm(x, self.weight.shape, self.weight, 1e-6)


class Block(nn.Module):
    """One layer: attention, then a gated MLP, each added to what was there."""

    def __init__(self, index: int, size: Size) -> None:
        super().__init__()
        self.index, self.size = index, size
        self.norm_1, self.norm_2 = RmsNorm(size.width), RmsNorm(size.width)
        self.q = nn.Linear(size.width, size.heads_q * size.head_size)
        self.k = nn.Linear(size.width, size.heads_k * size.head_size)
        self.v = nn.Linear(size.width, size.heads_k * size.head_size)
        self.o = nn.Linear(size.heads_q * size.head_size, size.width, bias=False)
        self.gate = nn.Linear(size.width, size.hidden, bias=False)
        self.up = nn.Linear(size.width, size.hidden, bias=False)
        self.down = nn.Linear(size.hidden, size.width, bias=False)

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values, of `x` `[B, T, width]`."""
        x = self.norm_1(x)
        q, k, v = (
            layer(x).unflatten(-1, (-1, self.size.head_size)).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        return _turn(q, cos, sin), _turn(k, cos, sin), v

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """The rest of the layer, from `x` and what attention made of it."""
        x = x + self.o(attended.transpose(1, 2).flatten(2))
        y = self.norm_2(x)
        added: Tensor = self.down(nn.functional.silu(self.gate(y)) * self.up(y))
        return x + added


class Decoder(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.embed = nn.Embedding(size.vocabulary, size.width)
        self.blocks = nn.ModuleList(Block(index, size) for index in range(size.layers))
        self.norm = RmsNorm(size.width)
        self.head = nn.Linear(size.width, size.vocabulary, bias=False)
        self._begin()

    def _begin(self) -> None:
        """First weights: queries that look for what is like them, and values that come out as they went in.

        Circuits that recall are found many times faster from there than from independent random numbers (after
        2305.09828, mimetic initialisation). The first layer is to find places rather than likenesses: its queries begin
        small.
        """
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                deep = 0.5 if name.endswith("down.weight") else 1.0
                nn.init.normal_(weight, std=1.0 if name == "embed.weight" else deep * weight.shape[1] ** -0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)
        group = self.size.heads_q // self.size.heads_k
        with torch.no_grad():
            for block in self.layers():
                if block.index == 0:
                    block.q.weight.mul_(0.3)
                else:
                    block.q.weight.copy_(_for_query_heads(block.k.weight, self.size))
                block.o.weight.copy_(_for_query_heads(block.v.weight, self.size).T / group)

    def layers(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]

    def forward(self, tokens: Tensor, attention: Attention = causal, places: Tensor | None = None) -> Tensor:
        """Logits `[B, T, vocabulary]`, or `[B, A, vocabulary]` of `places` `[A]` alone."""
        x = self.embed(tokens)
        cos, sin = angles(tokens.shape[1], self.size)
        for block in self.layers():
            x = block.finish(x, attention(block.index, *block.project(x, cos, sin)))
        logits: Tensor = self.head(self.norm(x if places is None else x[:, places]))
        return logits


def build(size: Size, seed: int) -> Decoder:
    """An untrained model, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Decoder(size)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-high, low], dim=-1) * sin


def _for_query_heads(weight: Tensor, size: Size) -> Tensor:
    """`[Hq * D, width]`: the rows of each KV head, once for each of its query heads."""
    heads: Tensor = weight.unflatten(0, (size.heads_k, size.head_size))
    return heads.repeat_interleave(size.heads_q // size.heads_k, dim=0).flatten(0, 1)
