"""Stands between `fdvs serve` and the server, and ends the server with all its processes when `fdvs serve` is gone.

Run as a program, by its path, as the leader of its own process group: `keeper.py DESCRIPTOR GRACE COMMAND…`.
The descriptor is the reading end of a pipe whose writing end `fdvs serve` holds and never writes to: it ends when that
process closes it or is gone, however it went, `kill -9` included. GRACE is how many seconds the server then has to end
by itself after SIGTERM. Uses nothing but the standard library.

Exits with the server's exit code, or with 0 when it was told to end it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time

LOOK_EVERY_S = 0.1
_PR_SET_CHILD_SUBREAPER = 36


def _adopt_orphans() -> None:
    """Processes whose parent ends become our children (Linux), so that we know when the last one is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _all_gone() -> bool:
    while True:
        try:
            reaped, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if reaped == 0:
            return False


def _end_group(grace_s: float) -> None:
    """End every process of the group but ourselves; those that do not go in time are killed, and we with them."""
    os.kill(0, signal.SIGTERM)
    end = time.monotonic() + grace_s
    while not _all_gone():
        if time.monotonic() > end:
            os.kill(0, signal.SIGKILL)
        time.sleep(LOOK_EVERY_S / 2)


def main(descriptor: int, grace_s: float, command: list[str]) -> int:
    told_to_end = False

    def on_sigterm(_signum: int, _frame: object) -> None:
        nonlocal told_to_end
        told_to_end = True

    # A handler, not SIG_IGN, which the server would inherit.
    signal.signal(signal.SIGTERM, on_sigterm)
    _adopt_orphans()
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while server.poll() is None and not told_to_end:
        readable, _, _ = select.select([descriptor], [], [], LOOK_EVERY_S)
        told_to_end = told_to_end or bool(readable)
    code = server.poll()
    _end_group(grace_s)
    if code is None:
        return 0
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
