"""How far from float64 a result may lie: no farther than plain low precision does, and some rounding. One rule."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Verdict(NamedTuple):
    """Largest absolute error of a result, and the largest that is allowed. `reason` is empty where all is well."""

    error: float
    allowed: float
    reason: str

    @property
    def is_right(self) -> bool:
        return not self.reason


def judge(name: str, got: Tensor, truth: Tensor, plain: Tensor, dtype: torch.dtype) -> Verdict:
    """Compares a result with float64. NaN is never right, and infinity only where it belongs.

    Args:
        name: what it is, for the reason.
        got: the result of a back end.
        truth: the same in float64, from the same rounded inputs.
        plain: the same as plain PyTorch computes it with everything in `dtype`.
        dtype: what results are rounded to. Allowed is twice the error of `plain` and four roundings of the largest
            value, but in half precision no more than 2 % of it.
    """
    got, truth, plain = (x.detach().to("cpu", torch.float64) for x in (got, truth, plain))
    if got.shape != truth.shape:
        return Verdict(float("inf"), 0.0, f"{name} has shape {list(got.shape)}, not {list(truth.shape)}")
    is_finite = truth.isfinite()
    largest = float(truth[is_finite].abs().max()) if is_finite.any() else 0.0
    allowed = 2 * _largest_error(plain, truth) + 4 * torch.finfo(dtype).eps * max(1.0, largest)
    if dtype in {torch.float16, torch.bfloat16}:
        allowed = min(allowed, 2e-2 * max(1.0, largest))
    if got.isnan().any():
        return Verdict(float("nan"), allowed, f"{name} has NaN")
    if not torch.equal(got.isinf(), truth.isinf()):
        return Verdict(float("inf"), allowed, f"{name} is infinite in other places")
    error = _largest_error(got, truth)
    return Verdict(error, allowed, "" if error <= allowed else f"{name} is off by {error:.2g}, allowed {allowed:.2g}")


def _largest_error(got: Tensor, truth: Tensor) -> float:
    difference = (got - truth).masked_fill(~truth.isfinite(), 0.0).abs()
    return float(difference.max()) if difference.numel() else 0.0
