"""Random queries, keys and values, and what dense attention makes of them."""

from __future__ import annotations

import torch
from torch import Tensor


def qkv(  # noqa: PLR0917
    batch: int,
    heads_q: int,
    heads_k: int,
    num_q: int,
    num_k: int,
    size: int,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor, Tensor]:
    """`[B, Hq, Tq, D]` and twice `[B, Hk, Tk, D]`, standard normal."""
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, heads_q, num_q, size, generator=generator, dtype=torch.float64).to(dtype),
        torch.randn(batch, heads_k, num_k, size, generator=generator, dtype=torch.float64).to(dtype),
        torch.randn(batch, heads_k, num_k, size, generator=generator, dtype=torch.float64).to(dtype),
    )


def sdpa_causal(q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None) -> Tensor:
    """Causal attention by PyTorch itself, queries at the end of the sequence."""
    num_q, num_k = q.shape[2], k.shape[2]
    mask = torch.ones(num_q, num_k, dtype=torch.bool).tril(num_k - num_q)
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=True)
