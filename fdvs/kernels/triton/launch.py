"""What all launchers share: which tensors can be taken here, how large tiles are, and sizes as powers of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction

from fdvs.errors import BackendUnavailableError, InputError, ShapeError

LOG2_E = 1.4426950408889634
TYPES = (torch.float32, torch.float16, torch.bfloat16)
MAX_HEAD_SIZE = 256


@triton.jit
def _probe(x_ptr):  # type: ignore[no-untyped-def]
    tl.store(x_ptr, 0.0)


IS_INTERPRETED = isinstance(_probe, InterpretedFunction)
"""Whether kernels are run step by step in Python. Decided when Triton is imported: by TRITON_INTERPRET, once."""


def check(*tensors: Tensor) -> None:
    """Raises what stands in the way of these tensors: the wrong device, the wrong type, heads that are too large."""
    for x in tensors:
        if x.dtype not in TYPES:
            raise InputError(f"the Triton kernels compute in float32, float16 and bfloat16, not in {_name(x.dtype)}")
        if x.dtype != tensors[0].dtype:
            raise InputError(f"tensors of one type were wanted, got {_name(tensors[0].dtype)} and {_name(x.dtype)}")
        if x.shape[-1] > MAX_HEAD_SIZE:
            raise ShapeError(f"wanted heads of at most {MAX_HEAD_SIZE}, got {x.shape[-1]}")
        check_device(x)
    if IS_INTERPRETED and tensors[0].dtype == torch.bfloat16:
        raise BackendUnavailableError(
            "Triton's interpreter multiplies the bit patterns of bfloat16 as if they were numbers: results would be "
            "wrong without a word. Use float16 or float32 here, or a GPU"
        )


def check_device(x: Tensor) -> None:
    """Raises BackendUnavailableError where no kernel can run on this tensor."""
    if IS_INTERPRETED or x.device.type == "cuda":
        return
    raise BackendUnavailableError(
        f"the Triton kernels need tensors on a GPU, these are on {x.device.type}; set TRITON_INTERPRET=1 before Python "
        "starts to run them step by step (for tests: thousands of times slower)"
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def with_unit_stride(x: Tensor) -> Tensor:
    """The tensor itself where its last axis is dense, else a copy."""
    return x if x.stride(-1) == 1 else x.contiguous()


def padded_size(size: int) -> int:
    """Head size as a tile's axis: the next power of two, and at least 16, the least that matrix units take."""
    return max(16, 1 << (size - 1).bit_length())


def strides(x: Tensor) -> tuple[int, int, int]:
    """Of batch, head and token; that of the channel is 1."""
    return x.stride(0), x.stride(1), x.stride(2)


@dataclass(frozen=True, slots=True)
class Tiling:
    """How one kernel is cut and compiled."""

    rows: int
    keys: int
    num_warps: int
    num_stages: int

    def options(self) -> dict[str, Any]:
        return {"num_warps": self.num_warps, "num_stages": self.num_stages}


def prefill_tiling(dtype: torch.dtype, size: int) -> Tiling:
    """128 rows, and as many keys as fit into 163 KiB of shared memory in a pipeline: compiled for sm_80 and sm_90a,
    not tuned on a chip."""
    if dtype == torch.float32:
        return Tiling(64, 32, 4, 2 if size <= 64 else 1)
    if size <= 128:
        return Tiling(128, 64, 8 if size > 64 else 4, 3 if size <= 64 else 2)
    return Tiling(64, 32, 4, 2)
