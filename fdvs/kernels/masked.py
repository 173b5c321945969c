"""Attention under an additive mask that also returns its log-sum-exp: the building block of the gathering path."""

from __future__ import annotations

import torch
from torch import Tensor

from fdvs.kernels.plans import Attended


def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, *, scale: float, is_fused: bool) -> Attended:
    """One softmax over all keys, each logit plus its entry of `mask`.

    Args:
        q: `[B, H, R, D]`.
        k, v: `[B, Hk, N, D]`, `[B, Hk, N, Dv]`; Hk divides H.
        mask: `[B or 1, H or 1, R or 1, N]` float32 (float64 for float64), -inf where a key is not seen.
        scale: multiplies q·k.
        is_fused: use the kernel that `scaled_dot_product_attention` runs on CPUs. Tensors have to be there.

    Returns:
        `out` `[B, H, R, Dv]` in the type of q and `lse` `[B, H, R]`; zero and -inf where a row sees no key.
    """
    if q.shape[2] == 0 or k.shape[2] == 0:  # the kernel of CPUs divides by these and takes the process with it
        precise = torch.promote_types(q.dtype, torch.float32)
        lse = torch.full(q.shape[:3], -torch.inf, dtype=precise, device=q.device)
        return Attended(q.new_zeros(*q.shape[:3], v.shape[3]), lse)
    return _fused(q, k, v, mask, scale) if is_fused else _plain(q, k, v, mask, scale)


def _fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Attended:
    """The public function keeps the log-sum-exp to itself, so the operator beneath it is called.

    It wants heads of one size and a row that sees something: sizes are padded with zeros, blind rows are mended.
    """
    size, size_v = q.shape[3], v.shape[3]
    if size != size_v:
        q, k, v = (torch.nn.functional.pad(x, (0, max(size, size_v) - x.shape[3])) for x in (q, k, v))
    rows = mask.expand(*mask.shape[:2], q.shape[2], k.shape[2])
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, attn_mask=rows, scale=scale)
    is_blind = mask.amax(-1).isneginf()
    return Attended(out[..., :size_v].masked_fill(is_blind[..., None], 0.0), lse.masked_fill(is_blind, -torch.inf))


def causal_attention(q: Tensor, k: Tensor, v: Tensor, *, scale: float) -> Attended:
    """Causal attention of as many queries as keys, on a CPU, by the fused kernel's own rule and without a mask."""
    size, size_v = q.shape[3], v.shape[3]
    if size != size_v:
        q, k, v = (torch.nn.functional.pad(x, (0, max(size, size_v) - x.shape[3])) for x in (q, k, v))
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out, lse = flash(q, k, v, is_causal=True, scale=scale)
    return Attended(out[..., :size_v], lse)


def _plain(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Attended:
    """In three steps, each over R × N numbers, on any device."""
    precise = torch.promote_types(q.dtype, torch.float32)
    groups = q.shape[1] // k.shape[1]
    packed = q.to(precise).unflatten(1, (-1, groups))
    logits = (packed @ k.to(precise).mT[:, :, None]).mul_(scale).flatten(1, 2).add_(mask)
    top = logits.amax(-1, keepdim=True)
    top = top.masked_fill(top.isneginf(), 0.0)  # -inf - -inf would be NaN
    weights = logits.sub_(top).exp_()
    total = weights.sum(-1, keepdim=True)
    sums = (weights.unflatten(1, (-1, groups)) @ v.to(precise)[:, :, None]).flatten(1, 2)
    return Attended((sums / total.clamp_min(1e-30)).to(q.dtype), (top + total.log())[..., 0])
