"""Entries that decoding adds to one by one, without copying all of them at each step."""

from __future__ import annotations

import torch
from torch import Tensor

from fdvs.kernels.plans import NEVER, Entries

SPARE = 64
"""Least room, in entries, that is made when there is none left; a quarter of what is held otherwise."""


class EntryBuffer:
    """A run of entries that grows on the right and may shrink on the left.

    It holds copies: the tensors it was made of can be freed. Entries that it hands out are views, good until the next
    `append`.
    """

    def __init__(self, entries: Entries) -> None:
        self._held = entries
        self._begin, self._end = 0, entries.num_entries
        self._make_room(0)

    def __len__(self) -> int:
        return self._end - self._begin

    def entries(self) -> Entries:
        """All of them, oldest first."""
        return self.first(len(self))

    def first(self, count: int) -> Entries:
        """The oldest `count`."""
        return _cut(self._held, self._begin, self._begin + count)

    def append(self, entries: Entries) -> None:
        """Adds entries on the right; they have a bias exactly if those here have one."""
        assert (entries.bias is None) == (self._held.bias is None)
        if self._end + entries.num_entries > self._held.num_entries:
            self._make_room(entries.num_entries)
        end = self._end + entries.num_entries
        for held, new in _tensors(self._held, entries):
            held[:, :, self._end : end] = new
        self._end = end

    def drop_first(self, count: int) -> None:
        """Forgets the oldest `count`."""
        assert count <= len(self)
        self._begin += count

    def _make_room(self, more: int) -> None:
        held = self.entries()
        size = len(self) + more + max(SPARE, len(self) // 4)

        def larger(part: Tensor) -> Tensor:
            return part.new_empty(*part.shape[:2], size, *part.shape[3:])

        bias = None if held.bias is None else larger(held.bias)
        self._held = Entries(larger(held.k), larger(held.v), larger(held.last), bias)
        self._begin, self._end = 0, 0
        self.append(held)


def tokens_from(k: Tensor, v: Tensor, begin: int, *, first_position: int = 0) -> Entries:
    """The tokens of `k` `[B, Hk, T, D]` and `v` from index `begin` on, one entry each.

    Args:
        first_position: position of index 0.
    """
    positions = torch.arange(begin, k.shape[2], device=k.device) + first_position
    return Entries(k[:, :, begin:], v[:, :, begin:], positions.expand(*k.shape[:2], -1))


def entries_before(entries: Entries, position: int) -> Entries:
    """Those that end before a position, of entries in ascending order; what is left over in a head is padding."""
    is_before = entries.last < position
    kept = _cut(entries, 0, int(is_before.sum(-1).max()) if entries.num_entries else 0)
    return Entries(kept.k, kept.v, kept.last.masked_fill(kept.last >= position, NEVER), kept.bias)


def no_entries(k: Tensor, v: Tensor, *, has_bias: bool) -> Entries:
    """A run of none, in the types of `k` and `v`."""
    last = torch.zeros(*k.shape[:2], 0, dtype=torch.int64, device=k.device)
    return Entries(k[:, :, :0], v[:, :, :0], last, last.to(torch.float32) if has_bias else None)


def _cut(entries: Entries, begin: int, end: int) -> Entries:
    part = slice(begin, end)
    bias = None if entries.bias is None else entries.bias[:, :, part]
    return Entries(entries.k[:, :, part], entries.v[:, :, part], entries.last[:, :, part], bias)


def _tensors(one: Entries, other: Entries) -> list[tuple[Tensor, Tensor]]:
    pairs = [(one.k, other.k), (one.v, other.v), (one.last, other.last)]
    if one.bias is not None and other.bias is not None:
        pairs.append((one.bias, other.bias))
    return pairs
