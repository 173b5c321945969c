"""Rows that grow in number and stay one array."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=np.generic)

_FIRST_ROOM = 256  # rows


class GrowingRows(Generic[Value]):
    """`[N, D]`; adding costs the rows added, on average: the room doubles when it is full."""

    def __init__(self, width: int, dtype: type[Value]) -> None:
        self._room: NDArray[Value] = np.empty((0, width), dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, rows: NDArray[Value]) -> None:
        """Add `[M, D]` after the others."""
        needed = self._count + len(rows)
        if needed > len(self._room):
            grown = np.empty((max(needed, 2 * len(self._room), _FIRST_ROOM), self._room.shape[1]), self._room.dtype)
            grown[: self._count] = self.rows
            self._room = grown
        self._room[self._count : needed] = rows
        self._count = needed

    @property
    def rows(self) -> NDArray[Value]:
        """`[N, D]`, a view: good until rows are added."""
        return self._room[: self._count]
