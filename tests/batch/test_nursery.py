"""Workers are processes of their own, wherever they were born: they end alone, are killed alone, and none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fdvs.batch.nursery import CLIENT, PRELOADED, Child, Nursery
from tests.batch.commands import children, is_alive, wait_until


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    opened = Nursery()
    yield opened
    opened.close()


def start(nursery: Nursery) -> Child:
    """A worker that waits for its job."""
    return nursery.start_worker(2)


def release(child: Child) -> int:
    """Let a worker go: at the end of its input it ends by itself, with exit code 1, unless it has ended before."""
    child.stdin.close()
    child.stdout.close()
    return child.wait()


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


def test_what_is_loaded_before_a_fork_has_one_thread_and_no_native_code_that_minds() -> None:
    code = (
        "import importlib, os, sys\n"
        f"for name in {(*PRELOADED, *CLIENT)!r}: importlib.import_module(name)\n"
        "print(sorted({'av', 'cv2', 'faiss', 'onnxruntime', 'tokenizers', 'torch'} & set(sys.modules)))\n"
        "print(len(os.listdir('/proc/self/task')))\n"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert ran.stdout == "[]\n1\n"


def test_workers_of_one_nursery_end_each_for_itself(nursery: Nursery) -> None:
    first, second, third = (start(nursery) for _ in range(3))
    assert sorted(children(parent_of(first.pid))) == sorted([first.pid, second.pid, third.pid])
    os.kill(first.pid, signal.SIGSEGV)
    assert release(first) == -signal.SIGSEGV
    second.kill()
    assert second.wait() == release(second) == -signal.SIGKILL
    assert is_alive(third.pid)
    assert release(third) == 1
    second.kill()  # has ended: nothing happens
    assert release(start(nursery)) == 1


def test_a_killed_nursery_takes_its_workers_along_and_another_one_follows(nursery: Nursery) -> None:
    child = start(nursery)
    killed = parent_of(child.pid)
    os.kill(killed, signal.SIGKILL)
    assert child.wait() == release(child) == -signal.SIGKILL
    assert wait_until(lambda: not is_alive(child.pid))
    assert wait_until(lambda: not is_alive(killed))
    assert release(start(nursery)) == 1


def test_a_closed_nursery_leaves_nobody_and_starts_nobody(nursery: Nursery) -> None:
    workers = [start(nursery) for _ in range(2)]
    nursery.close()
    assert not any(is_alive(worker.pid) for worker in workers)
    assert [release(worker) for worker in workers] == [-signal.SIGKILL] * 2
    with pytest.raises(OSError, match="no more workers"):
        start(nursery)


def test_what_a_build_needs_more_is_loaded_once_for_all_its_workers(nursery: Nursery) -> None:
    def has_tls(of: Nursery) -> bool:
        child = start(of)
        found = "_ssl" in Path(f"/proc/{child.pid}/maps").read_text(encoding="utf-8")
        assert release(child) == 1
        return found

    asking = Nursery(CLIENT)
    try:
        assert [has_tls(asking) for _ in range(2)] == [True, True]
    finally:
        asking.close()
    assert not has_tls(nursery)
