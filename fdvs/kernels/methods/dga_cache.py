"""The cache of DGA: what the prompt's last query saw, and new tokens that are folded a block at a time."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fdvs.errors import InputError, ShapeError
from fdvs.kernels.columns import compact, positions_of
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.buffers import EntryBuffer, no_entries, tokens_from
from fdvs.kernels.methods.cores import CoreRule
from fdvs.kernels.plans import NEVER, Entries, Plan
from fdvs.kernels.pooling import mean_of_query_heads
from fdvs.kernels.rotary import Rotation


class DgaCache:
    """Groups, tokens that stay (focal ones, exact ones, the band of the prompt's last query), and new tokens.

    A block of new tokens is folded before the next token is looked at, so that no query sees a group it lies in.

    Args:
        cores: what stands for a group.
        group: tokens that become a group when a block is folded.
        num_focal: tokens of the block that stay.
        window: newest tokens that are never folded.
    """

    def __init__(self, cores: CoreRule, group: int, num_focal: int, window: int) -> None:
        self._cores, self._block, self._num_focal, self._window = cores, group + num_focal, num_focal, window
        self._num_tokens = 0

    def fill(self, prompt: Prompt, plan: Plan) -> None:
        assert plan.pooled is not None
        assert plan.selected is not None
        self._ops, self._scale = prompt.ops, prompt.softmax_scale
        self._num_tokens = prompt.k.shape[2]
        start = plan.band_start[..., -1].expand(prompt.k.shape[:2])
        band = tokens_from(prompt.k, prompt.v, int(start.min()))
        band = replace(band, last=band.last.masked_fill(band.last < start[..., None], NEVER))
        self._pooled = EntryBuffer(_seen_from(plan.pooled, start))
        self._staying = EntryBuffer(_seen_from(plan.selected, start))
        self._staying.append(band)
        self._new = EntryBuffer(no_entries(prompt.k, prompt.v, has_bias=False))
        self._queries = prompt.q[:, :, :0]
        turned = prompt.layout.rotation
        self._rotation = None if turned is None else Rotation(turned.cos[:0], turned.sin[:0])

    def append(self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation | None = None) -> None:
        if k.shape[2] != 1:
            raise ShapeError(f"a step takes one token, got {k.shape[2]}")
        self._new.append(tokens_from(k, v, 0, first_position=self._num_tokens))
        self._num_tokens += 1
        self._queries = torch.cat([self._queries, q], dim=2)
        if self._rotation is not None:
            if rotation is None:
                raise InputError("the prompt's keys were rotated: a step has to tell the rotation of its token")
            self._rotation = Rotation(*(torch.cat(parts) for parts in zip(self._rotation, rotation, strict=True)))
        if len(self._new) == self._block + self._window:
            self._fold()

    def segments(self) -> list[Entries]:
        return [self._pooled.entries(), self._staying.entries(), self._new.entries()]

    @property
    def num_tokens(self) -> int:
        return self._num_tokens

    @property
    def num_entries(self) -> int:
        return len(self._pooled) + len(self._staying) + len(self._new) if self._num_tokens else 0

    def _fold(self) -> None:
        """Takes the oldest block of new tokens: its focal ones stay, the others become a group."""
        size, begin = self._block, self._num_tokens - len(self._new)
        block = self._new.first(size)
        k, v = block.k, block.v
        query = self._queries[:, :, size - 1 : size]
        chosen = torch.zeros(k.shape[:3], dtype=torch.bool, device=k.device)
        if self._num_focal:
            scores = self._ops.column_scores(query, torch.tensor([size - 1], device=k.device), k, scale=self._scale)
            best = scores.sort(dim=-1, descending=True, stable=True).indices[..., : self._num_focal]
            chosen.scatter_(-1, best, True)
            stays = compact(k, v, positions_of(chosen))
            self._staying.append(replace(stays, last=stays.last + begin))
        members = positions_of(~chosen)[:, :, None]
        entries = self._cores.pool(
            k,
            v,
            members,
            members.amax(-1),
            mean_of_query_heads(query, k.shape[1]),
            rotation=self._rotation,
            ops=self._ops,
            scale=self._scale,
        )
        self._pooled.append(replace(entries, last=entries.last + begin))
        self._new.drop_first(size)
        self._queries = self._queries[:, :, size:]
        if self._rotation is not None:
            self._rotation = Rotation(self._rotation.cos[size:], self._rotation.sin[size:])


def _seen_from(entries: Entries, start: Tensor) -> Entries:
    """Those that end before `start` `[B, Hk]`; in heads that see fewer than others the rest is padding."""
    is_seen = entries.last < start[..., None]
    count = int(is_seen.sum(-1).max()) if entries.num_entries else 0
    last = entries.last.masked_fill(~is_seen, NEVER)[:, :, :count]
    bias = None if entries.bias is None else entries.bias[:, :, :count]
    return Entries(entries.k[:, :, :count], entries.v[:, :, :count], last, bias)
