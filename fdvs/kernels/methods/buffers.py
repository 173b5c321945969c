"""Entries that decoding adds to one by one, without copying all of them at each step."""

from __future__ import annotations

import torch
from torch import Tensor

from fdvs.kernels.plans import Entries


class EntryBuffer:
    """A run of entries that grows on the right and may shrink on the left.

    Room doubles when it is used up, so that n appended entries cost n copies and not n². Entries handed out are views:
    good until the next `append`.
    """

    def __init__(self, entries: Entries) -> None:
        self._k, self._v, self._last = entries.k, entries.v, entries.last
        self._bias = entries.bias
        self._begin, self._end = 0, entries.num_entries

    def __len__(self) -> int:
        return self._end - self._begin

    def entries(self) -> Entries:
        """All of them, oldest first."""
        return self.first(len(self))

    def first(self, count: int) -> Entries:
        """The oldest `count`."""
        part = slice(self._begin, self._begin + count)
        bias = None if self._bias is None else self._bias[:, :, part]
        return Entries(self._k[:, :, part], self._v[:, :, part], self._last[:, :, part], bias)

    def append(self, entries: Entries) -> None:
        """Adds entries on the right; they have a bias exactly if those here have one."""
        assert (entries.bias is None) == (self._bias is None)
        end = self._end + entries.num_entries
        if end > self._k.shape[2] or not self._begin <= self._end:
            self._make_room(entries.num_entries)
            end = self._end + entries.num_entries
        for room, new in ((self._k, entries.k), (self._v, entries.v), (self._last, entries.last)):
            room[:, :, self._end : end] = new
        if self._bias is not None and entries.bias is not None:
            self._bias[:, :, self._end : end] = entries.bias
        self._end = end

    def drop_first(self, count: int) -> None:
        """Forgets the oldest `count`."""
        assert count <= len(self)
        self._begin += count

    def _make_room(self, more: int) -> None:
        size = 2 * (len(self) + more)
        held = len(self)

        def moved(room: Tensor) -> Tensor:
            larger = room.new_empty(*room.shape[:2], size, *room.shape[3:])
            larger[:, :, :held] = room[:, :, self._begin : self._end]
            return larger

        self._k, self._v, self._last = moved(self._k), moved(self._v), moved(self._last)
        self._bias = None if self._bias is None else moved(self._bias)
        self._begin, self._end = 0, held


def tokens_from(k: Tensor, v: Tensor, begin: int, *, first_position: int = 0) -> Entries:
    """The tokens of `k` `[B, Hk, T, D]` and `v` from index `begin` on, one entry each.

    Args:
        first_position: position of index 0.
    """
    positions = torch.arange(begin, k.shape[2], device=k.device) + first_position
    return Entries(k[:, :, begin:], v[:, :, begin:], positions.expand(*k.shape[:2], -1))
