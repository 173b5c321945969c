"""A text encoder that encodes no text twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fdvs.encoders.text import TextEncoder


class Remembering:
    """`TextEncoder` over another one, for the steps of one story: they look at the same texts. It keeps every vector
    for as long as it lives."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.name, self.dimension = encoder.name, encoder.dimension
        self._encoder = encoder
        self._known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[N, D]`, as the encoder behind it; new texts go there in one call, each once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._known[text] for text in texts]) if texts else np.zeros((0, self.dimension), np.float32)
