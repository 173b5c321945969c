"""One step of the online softmax, the heart of prefill and decode."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def softmax_step(acc, top, total, logits, v):  # type: ignore[no-untyped-def]
    """Takes a tile of keys in.

    acc [ROWS, DV] and total [ROWS] are sums of weights relative to 2 ** top; logits [ROWS, KEYS] are to the base 2 and
    -inf where a key is hidden; v [KEYS, DV].
    """
    new_top = tl.maximum(top, tl.max(logits, 1))
    shift = tl.where(new_top == float("-inf"), 0.0, new_top)  # a row that sees nothing yet: -inf - -inf would be NaN
    weights = tl.exp2(logits - shift[:, None])
    fade = tl.exp2(top - shift)
    total = total * fade + tl.sum(weights, 1)
    acc = tl.dot(weights.to(v.dtype), v, acc * fade[:, None], input_precision="tf32x3")
    return acc, new_top, total


@triton.jit
def finish(acc, top, total):  # type: ignore[no-untyped-def]
    """Output and natural log-sum-exp; zero and -inf for rows that saw nothing."""
    is_blind = total == 0.0
    total = tl.where(is_blind, 1.0, total)
    out = acc / total[:, None]
    lse = tl.where(is_blind, float("-inf"), (top + tl.log2(total)) * 0.6931471805599453)
    return out, lse
