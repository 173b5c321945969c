"""Encoding before it is asked for changes when, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fdvs.encoders.ahead import Ahead
from fdvs.encoders.text import text_encoder

TEXTS = ("A red car turns left.", "Two people talk at a table.", "", "A red car turns left.")


class Counting:
    """The shipped encoder; `seen` is what it was given."""

    def __init__(self) -> None:
        self._encoder = text_encoder("minilm")
        self.name, self.dimension = self._encoder.name, self._encoder.dimension
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.seen += texts
        return self._encoder.encode(texts)


def test_vectors_are_the_same_and_each_text_is_encoded_once_in_the_order_expected() -> None:
    counting = Counting()
    ahead = Ahead(counting)
    for text in TEXTS[1:]:
        ahead.expect(text)
    try:
        assert ahead.encode(TEXTS).tobytes() == text_encoder("minilm").encode(TEXTS).tobytes()
        assert ahead.encode([]).shape == (0, counting.dimension)
    finally:
        ahead.close()
    assert counting.seen == [TEXTS[1], TEXTS[2], TEXTS[0]]
    assert (ahead.name, ahead.dimension) == (counting.name, counting.dimension)
