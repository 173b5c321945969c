"""Dense causal attention by every back end that PyTorch has here: the fastest one is what others are held against."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

BACKENDS = {
    "sdpa-flash": SDPBackend.FLASH_ATTENTION,
    "sdpa-cudnn": SDPBackend.CUDNN_ATTENTION,
    "sdpa-efficient": SDPBackend.EFFICIENT_ATTENTION,
}
"""`math` is left out: it keeps all logits in memory and is never the fastest."""


def dense_calls(q: Tensor, k: Tensor, v: Tensor) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Each back end that can do this, as a call. A single query is the step of a decoder and sees all keys."""
    is_causal = q.shape[2] > 1
    repeats = q.shape[1] // k.shape[1]
    for name, backend in BACKENDS.items():
        for shares_heads in (True, False):
            keys, values = (k, v) if shares_heads else (repeat(k, repeats), repeat(v, repeats))

            def call(
                backend: SDPBackend = backend, keys: Tensor = keys, values: Tensor = values, shared: bool = shares_heads
            ) -> Tensor:
                with sdpa_kernel(backend):
                    return torch.nn.functional.scaled_dot_product_attention(
                        q, keys, values, is_causal=is_causal, enable_gqa=shared
                    )

            if _can_do(call):
                yield name, call
                break


def repeat(heads: Tensor, times: int) -> Tensor:
    return heads.repeat_interleave(times, dim=1)


def _can_do(call: Callable[[], Tensor]) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns with the reason before it raises
        try:
            call()
        except RuntimeError:
            return False
    return True
