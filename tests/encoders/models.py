"""What the tests of real models share: whether packages are there, and pictures to encode."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

SHARED_TEXT = Path(__file__).resolve().parents[3] / "shared" / "data" / "text"


def needs(*modules: str) -> pytest.MarkDecorator:
    """Skip, saying what is missing, unless all modules are installed. Imports none of them."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def pictures(count: int, height: int = 32, width: int = 40) -> list[NDArray[np.uint8]]:
    """RGB pictures that clearly differ: smooth patterns in different colours."""
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    made = []
    for i in range(count):
        planes = [np.sin(2 * np.pi * (rows * (1 + i % 3) + columns * (c + i)) + i) for c in range(3)]
        made.append(np.rint(127.5 + 127.5 * np.stack(planes, axis=-1)).astype(np.uint8))
    return made


class StubFrame:
    """Answers what an encoder asks of a frame and remembers the size it was asked for."""

    def __init__(self, small: NDArray[np.uint8] | None = None) -> None:
        self.asked_short_side: int | None = None
        self._small = small

    def small(self) -> NDArray[np.uint8]:
        assert self._small is not None
        return self._small

    def rgb(self, short_side: int | None = None) -> NDArray[np.uint8]:
        assert short_side is not None
        self.asked_short_side = short_side
        return pictures(1, short_side, short_side * 16 // 9)[0]
