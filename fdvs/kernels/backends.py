"""Attention by the name of a back end, and what `auto` means: the public door of the kernels."""

from __future__ import annotations

import importlib.util
import logging
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from fdvs.kernels.choice import DENSE_BELOW
from fdvs.kernels.methods.base import Method, Prompt
from fdvs.kernels.names import open_ops
from fdvs.kernels.plans import Attended, Plan, dense_plan

_log = logging.getLogger(__name__)


class Choice(NamedTuple):
    """What `auto` came to, and why, in words for people."""

    name: str
    reason: str


def choose(q: Tensor) -> Choice:
    """The back end that `auto` stands for with queries like these."""
    return _choice(q.device.type, q.dtype)


@lru_cache
def _choice(device: str, dtype: torch.dtype) -> Choice:
    if device == "cpu":
        choice = Choice("gather", "tensors are on a CPU, where gathering before the fused softmax is the fastest path")
    elif device != "cuda":
        choice = Choice("gather", f"the Triton kernels are for CUDA devices, not for {device}")
    elif importlib.util.find_spec("triton") is None:
        choice = Choice("gather", "triton is not installed")
    elif dtype not in {torch.float16, torch.bfloat16, torch.float32}:
        choice = Choice("gather", f"the Triton kernels do not compute in {str(dtype).removeprefix('torch.')}")
    else:
        choice = Choice("triton", "tensors are on a CUDA device")
    _log.info("attention back end: %s, because %s", *choice)
    return choice


def attend(
    q: Tensor, k: Tensor, v: Tensor, plan: Plan, *, scale: float | None = None, backend: str = "auto"
) -> Attended:
    """One softmax over what `plan` shows each query.

    Args:
        q: `[B, Hq, Tq, D]`.
        k, v: `[B, Hk, Tk, D]`, `[B, Hk, Tk, Dv]`; Hq is a multiple of Hk.
        plan: who sees what.
        scale: multiplies q·k. Default: `D ** -0.5`.
        backend: a name of `fdvs.kernels.names.BACKENDS`, or `auto`: `choose` says which that is, and why.

    Returns:
        `out` `[B, Hq, Tq, Dv]` in the type of q, and `lse` `[B, Hq, Tq]`. A query that sees nothing is zero, not NaN.

    Raises:
        ShapeError: tensors and plan do not belong together; the message shows wanted and got.
        UnknownBackendError: there is no back end of this name.
        BackendUnavailableError: the named back end cannot run here. No other one takes its place.

    Meaning: `kernels/reference.py`.
    """
    name = choose(q).name if backend == "auto" else backend
    return open_ops(name).attend(q, k, v, plan, scale=scale)


class Planned(NamedTuple):
    """A plan, whether it is a dense one because the prompt is short, and the reason in words."""

    plan: Plan
    is_dense: bool
    reason: str


def plan_unless_short(method: Method, prompt: Prompt, *, dense_below: int = DENSE_BELOW) -> Planned:
    """The method's plan; for prompts of fewer than `dense_below` tokens causal attention over everything.

    The length counts all tokens up to the newest one, so that a prompt in chunks begins densely.
    """
    length = prompt.layout.length
    if length >= dense_below:
        return Planned(method.plan(prompt), False, f"{length} tokens are at least {dense_below}")
    plan = dense_plan(prompt.q.shape[2], prompt.k.shape[2], prompt.q.device)
    return Planned(plan, True, f"{length} tokens are fewer than {dense_below}, where planning is not expected to pay")
