"""Head shapes of the models that the figures are about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What attention and its surroundings need to know of a decoder.

    Attributes:
        heads_q, heads_k, head_size: of one layer.
        layers, hidden, intermediate, vocabulary: of the whole decoder, for end-to-end figures.
    """

    name: str
    heads_q: int
    heads_k: int
    head_size: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int


SHAPES = {
    shape.name: shape
    for shape in (
        ModelShape("qwen2.5-vl-7b", 28, 4, 128, 28, 3584, 18944, 152064),
        ModelShape("llama-3.1-8b", 32, 8, 128, 32, 4096, 14336, 128256),
        ModelShape("tiny", 8, 2, 64, 2, 512, 1024, 512),  # for machines without a GPU
    )
}
