"""What a server was started with, and whether its processes are still there."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Started:
    """What the stand-in for vLLM wrote down: its own process comes first, then the one it started."""

    arguments: list[str]
    environment: dict[str, str]
    pids: list[int]

    def all_gone(self, within_s: float = 20.0) -> bool:
        """Whether no process of it is left; looks again until `within_s` is over."""
        end = time.monotonic() + within_s
        while any(map(is_there, self.pids)):
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked about is not there."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return _answers(pid) and not Path("/proc/self/stat").exists()
    return state not in "ZX"


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
