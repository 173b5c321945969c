"""Writing the replies of one batch with a transformers model: each with its own bound, its own seed, its own end."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One prepared request.

    Attributes:
        inputs: what the model is given, without the rest of the batch.
        length: tokens of the request.
    """

    inputs: Mapping[str, Any]
    length: int
    max_tokens: int
    temperature: float
    seed: int


def generate(
    network: Any, batch: Mapping[str, Any], rows: Sequence[Row], eos: Set[int], *, stop: threading.Event
) -> list[list[int]]:
    """The tokens of each reply, at most `max_tokens` of its row; the token that ended it is the last one.

    Args:
        batch: the inputs of all rows, padded on the left, on the CPU.
        stop: when set, what was written so far is returned.
    """
    import torch

    inputs = {key: placed(value, network) for key, value in batch.items()}
    start = inputs["input_ids"].shape[1]
    budgets = torch.tensor([row.max_tokens for row in rows], device=network.device)

    def is_done(tokens: Any, _scores: Any, **_: Any) -> Any:
        if stop.is_set():
            return torch.ones(len(rows), dtype=torch.bool, device=tokens.device)
        return tokens.shape[1] - start >= budgets

    with torch.inference_mode():
        written = network.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=max(row.max_tokens for row in rows),
            stopping_criteria=[is_done],
            logits_processor=[_Draws(rows)] if any(row.temperature > 0 for row in rows) else None,
        )
    replies = written[:, start:].tolist()
    return [_cut(tokens[: row.max_tokens], eos) for tokens, row in zip(replies, rows, strict=True)]


def placed(value: Any, network: Any) -> Any:
    """A tensor where the model is; pictures in the model's precision."""
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    return value.to(network.device, network.dtype if value.is_floating_point() else None)


def _cut(tokens: list[int], eos: Set[int]) -> list[int]:
    end = next((i for i, token in enumerate(tokens) if token in eos), len(tokens))
    return tokens[: end + 1]


class _Draws:
    """Lets the most likely token be a drawn one for rows with a temperature.

    The largest of logits / temperature + Gumbel noise is a draw from their softmax. The noise comes from a generator
    of the row's own seed on the CPU, so that a reply depends neither on the rest of the batch nor on the device.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        import torch

        self._rows = [
            (i, row.temperature, torch.Generator().manual_seed(row.seed))
            for i, row in enumerate(rows)
            if row.temperature > 0
        ]

    def __call__(self, _tokens: Any, scores: Any) -> Any:
        import torch

        scores = scores.float().clone()
        for i, temperature, generator in self._rows:
            uniform = torch.rand(scores.shape[1], generator=generator, dtype=torch.float64)
            gumbel = -torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16)))
            scores[i] = scores[i] / temperature + gumbel.to(scores)
        return scores


def is_out_of_memory(error: BaseException) -> bool:
    import torch

    # What torch raises on a CPU has no type of its own.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
