"""What this machine can run a model with, without importing anything heavy."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

GPU_FOLDER = Path("/proc/driver/nvidia/gpus")


def has_package(module: str) -> bool:
    """Whether a top-level module can be found; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # a module in memory that was never found as a file
        return False


def has_cuda(environ: Mapping[str, str]) -> bool:
    """Whether an NVIDIA GPU is there and not hidden by `CUDA_VISIBLE_DEVICES`."""
    if environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in {"", "-1", "NoDevFiles"}:
        return False
    return GPU_FOLDER.is_dir() and any(GPU_FOLDER.iterdir())


def in_process_back_end(environ: Mapping[str, str]) -> str | None:
    """`vllm` where it is installed beside a GPU, else `transformers` where it and torch are; None: neither."""
    if has_cuda(environ) and has_package("vllm"):
        return "vllm"
    if has_package("transformers") and has_package("torch"):
        return "transformers"
    return None
