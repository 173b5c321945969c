"""A text encoder that encodes before it is asked, while a model's server is waited for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fdvs.encoders.text import TextEncoder


class Ahead:
    """`TextEncoder` over one whose vectors do not depend on what else is encoded, bit for bit.

    Texts that are `expect`ed are encoded on a thread of its own, one after the other and each once, so that nothing but
    the last of them is left to do when a story is told.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self.name, self.dimension = encoder.name, encoder.dimension
        self._encoder = encoder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fdvs-ahead")
        self._known: dict[str, Future[NDArray[np.float32]]] = {}

    def expect(self, text: str) -> None:
        """Begin with a text that will be asked for."""
        self._vector(text)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[N, D]`, as the encoder behind it."""
        rows = [self._vector(text) for text in texts]
        return np.stack([row.result() for row in rows]) if rows else np.zeros((0, self.dimension), np.float32)

    def close(self) -> None:
        """Give up what is not begun; a second call does nothing."""
        self._thread.shutdown(cancel_futures=True)

    def _vector(self, text: str) -> Future[NDArray[np.float32]]:
        if text not in self._known:
            self._known[text] = self._thread.submit(self._one, text)
        return self._known[text]

    def _one(self, text: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self._encoder.encode([text])[0]
        return vector
