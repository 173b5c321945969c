"""How long something takes on a device: a few repeats, their quantiles, the highest memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MIN_REPEATS, MAX_REPEATS = 3, 20
SECONDS_PER_CASE = 1.0
"""Repeats stop after this, once there are enough of them."""


@dataclass(frozen=True, slots=True)
class Timed(Generic[T_co]):
    """`result` of the last call; milliseconds at the 20th, 50th and 80th percentile; MiB at the highest point."""

    result: T_co
    ms_20: float
    ms_50: float
    ms_80: float
    peak_mib: float | None


def measure(work: Callable[[], T_co], device: torch.device) -> Timed[T_co]:
    """Calls `work` once to warm up (kernels are compiled then), and then until there is enough to go by."""
    work()
    _wait(device)
    forget_peak(device)
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < MIN_REPEATS or (len(times) < MAX_REPEATS and time.perf_counter() - begun < SECONDS_PER_CASE):
        start = time.perf_counter()
        result = work()
        _wait(device)
        times.append((time.perf_counter() - start) * 1000)
    return summarise(result, times, device)


def forget_peak(device: torch.device) -> None:
    """The highest point of memory is looked for from here on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def summarise(result: T, times_ms: Sequence[float], device: torch.device) -> Timed[T]:
    """Quantiles of times that were taken elsewhere, and the highest memory since `forget_peak`."""
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    low, middle, high = torch.tensor(times_ms).quantile(torch.tensor([0.2, 0.5, 0.8])).tolist()
    return Timed(result, low, middle, high, peak)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
