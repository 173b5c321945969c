"""What planners of whole blocks share: tiles of queries and of keys, their means, and where their bands start."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.plans import Plan, Tiles


@dataclass(frozen=True, slots=True)
class Tiling:
    """Queries and keys of one prompt in blocks of one size, in the order of the sequence.

    A query tile holds `block` neighbouring queries and a key tile `block` neighbouring tokens, the last ones perhaps
    fewer. Where queries begin in the middle of a key tile (a prompt in chunks), a query tile lies across two.

    Attributes:
        block: rows of a tile.
        own: `[nQ]` int64, the key tile in which each query tile's first query lies. It and what follows is the band.
        ends: `[nQ]` int64, position of each query tile's last query.
        num_k: number of key tiles.
        num_keys: tokens.
    """

    block: int
    own: Tensor
    ends: Tensor
    num_k: int
    num_keys: int

    @classmethod
    def of(cls, prompt: Prompt, block: int) -> Tiling:
        positions, num_keys = prompt.q_positions, prompt.k.shape[2]
        first = positions[::block]
        return cls(block, first // block, (first + block - 1).clamp_max(num_keys - 1), -(-num_keys // block), num_keys)

    def far(self, local: int = 1) -> Tensor:
        """`[nQ, nK]` bool: the key tiles before a band of `local` tiles, the query tile's own among them."""
        return torch.arange(self.num_k, device=self.own.device) < (self.own - local + 1)[:, None]

    def causal(self) -> Tensor:
        """`[nQ, nK]` bool: the key tiles in which any query of a query tile sees a token."""
        return torch.arange(self.num_k, device=self.own.device) * self.block <= self.ends[:, None]

    def plan(self, prompt: Prompt, keep: Tensor, *, local: int = 1) -> Plan:
        """The plan that shows `keep` `[B, Hk or Hq, nQ, nK]` before a band of `local` tiles, and the band."""
        start = (self.own - local + 1).clamp_min(0) * self.block
        band_start = start.repeat_interleave(self.block)[: prompt.q.shape[2]]
        tiles = Tiles(keep & self.far(local), self.block, self.block)
        return Plan(prompt.q_positions, band_start[None, None], tiles=tiles)


def means(x: Tensor, block: int) -> Tensor:
    """`[B, H, N, D]` in at least float32: the mean of each block of rows; the last one's over the rows it has."""
    precise = x.to(torch.promote_types(x.dtype, torch.float32))
    spare = -x.shape[2] % block
    sums = torch.unflatten(torch.nn.functional.pad(precise, (0, 0, 0, spare)), 2, (-1, block)).sum(3)
    sizes = torch.full((sums.shape[2], 1), float(block), dtype=sums.dtype, device=x.device)
    sizes[-1:] -= spare
    return sums / sizes


def tile_logits(queries: Tensor, keys: Tensor, scale: float) -> Tensor:
    """`[B, Hq, N, M]`: products of `[B, Hq, N, D]` with the keys of each head's KV head, `[B, Hk, M, D]`."""
    grouped = torch.unflatten(queries, 1, (keys.shape[1], -1))
    return torch.flatten(grouped @ keys.mT[:, :, None], 1, 2) * scale


def softmax_over(logits: Tensor, allowed: Tensor) -> Tensor:
    """Softmax of the last dimension over what is allowed; a row that allows nothing is zero, not NaN."""
    return torch.softmax(logits.masked_fill(~allowed, -torch.inf), dim=-1).nan_to_num(0.0)


def check_block(block: int) -> None:
    if block < 1:
        raise InputError(f"a block has at least one token, got {block}")
