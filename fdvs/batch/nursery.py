"""Where workers are born: a process that has loaded what every worker needs, and forks each of them from itself.

Loading takes longer than many a short video does. A forked worker is a process of its own like any other: it can be
killed, and what it breaks is its own. Forking is safe here because this process has one thread and never loads FFmpeg,
FAISS, onnxruntime or torch; every worker loads those for itself.

The process that asks holds one end of a socket. A request is `_FORK` with the worker's stdin, stdout, stderr and the
pipe for its report, or `_KILL` with a process id. The report is two lines: the worker's process id, and how it ended.
When the socket ends, all workers are killed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import IO

# Pure Python and NumPy: nothing that starts threads or holds state of native code.
PRELOADED = (
    "numpy",
    "fdvs.batch.worker",
    "fdvs.batch.freshness",
    "fdvs.captioners.builtin",
    "fdvs.captioners.measures",
    "fdvs.captioners.speech",
    "fdvs.encoders.builtin_picture",
    "fdvs.encoders.text",
    "fdvs.redundancy.visual",
    "fdvs.stories.imported",
    "fdvs.stories.tree",
)
# Where a build asks a model's server, every worker needs these too. They take longer to load than a short video takes
# to decode, and 20 MB.
CLIENT = ("fdvs.captioners.vlm", "fdvs.chat.openai", "httpx", "anyio", "sniffio")
# One thread per library: videos run side by side, and idle thread pools cost start-up time (and must not be forked).
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_REQUEST = struct.Struct("!cI")
_FORK, _KILL = b"F", b"K"
_NUM_DESCRIPTORS = 4


class Child:
    """A worker process: what `subprocess.Popen` is to its own."""

    def __init__(self, nursery: Nursery, pid: int, stdin: IO[str], stdout: IO[str], report: IO[str]) -> None:
        self._nursery, self._report = nursery, report
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self._returncode: int | None = None

    def kill(self) -> None:
        """End it now; does nothing where it has ended."""
        self._nursery.kill(self.pid)

    def wait(self) -> int:
        """Wait for its end. Returns its exit code, or minus the number of the signal that ended it."""
        if self._returncode is None:
            line = self._report.readline()
            self._report.close()
            # No report: the nursery was killed, and who was born there sees its input end and follows.
            self._returncode = int(line) if line else -signal.SIGKILL
        return self._returncode


class Nursery:
    """The asking side. Started with the first worker, and again when it was killed; used from several threads.

    `more` are modules to load before the first worker, beside those that every worker needs.
    """

    def __init__(self, more: Sequence[str] = ()) -> None:
        self._more = more
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._closed = False

    def start_worker(self, errors: int) -> Child:
        """A new worker whose stderr is the descriptor `errors`.

        Raises:
            OSError: none could be started, or the nursery is closed.
        """
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            job, stdin = _pipe(theirs, ours)
            stdout, events = _pipe(ours, theirs)
            report, told = _pipe(ours, theirs)
            self._ask(_FORK, 0, [job.fileno(), events.fileno(), errors, told.fileno()])
            theirs.close()
            line = report.readline()
            if not line:
                raise OSError("the process that starts workers has ended")
            ours.pop_all()
            return Child(self, int(line), stdin, stdout, report)

    def kill(self, pid: int) -> None:
        """Kill a worker; does nothing where it has ended."""
        with contextlib.suppress(OSError):
            self._ask(_KILL, pid, [])

    def close(self) -> None:
        """Kill all workers that still run, and wait until none is left."""
        with self._lock:
            self._closed = True
            self._end()

    def _ask(self, request: bytes, pid: int, descriptors: list[int]) -> None:
        with self._lock:
            if self._closed:
                raise OSError("no more workers are started")
            if self._process is not None and self._process.poll() is not None:
                self._end()
            if self._control is None:
                self._begin()
            assert self._control is not None
            socket.send_fds(self._control, [_REQUEST.pack(request, pid)], descriptors)

    def _begin(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fdvs.batch.nursery", *self._more],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={**os.environ, **_ENVIRONMENT},
            )

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.wait()
            self._process = None


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[IO[str], IO[str]]:
    """Both ends of a pipe as text, each closed by its stack."""
    read_end, write_end = os.pipe()
    read = reader.enter_context(os.fdopen(read_end, encoding="utf-8", errors="replace"))
    write = writer.enter_context(os.fdopen(write_end, "w", encoding="utf-8", errors="replace"))
    return read, write


class _Births:
    """The process that forks: one thread, one loop."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._reports: dict[int, int] = {}  # process id → where its end is told
        woken, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        self._woken = woken

    def run(self) -> None:
        """Serve until the socket ends."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj == self._woken:
                        os.read(self._woken, 4096)
                        self._reap(os.WNOHANG)
                    elif not self._serve():
                        return

    def _serve(self) -> bool:
        message, descriptors, _, _ = socket.recv_fds(self._control, _REQUEST.size, _NUM_DESCRIPTORS)
        if not message:
            return False
        request, pid = _REQUEST.unpack(message)
        if request == _FORK:
            self._fork(descriptors)
        elif pid in self._reports:  # not reaped yet: its id cannot be another process's
            os.kill(pid, signal.SIGKILL)
        return True

    def _fork(self, descriptors: list[int]) -> None:
        *standard, report = descriptors
        pid = os.fork()
        if not pid:
            _be_worker(standard)
        for descriptor in standard:
            os.close(descriptor)
        self._reports[pid] = report
        _tell(report, pid)

    def _reap(self, flags: int) -> None:
        while self._reports:
            pid, status = os.waitpid(-1, flags)
            if not pid:
                return
            report = self._reports.pop(pid)
            _tell(report, os.waitstatus_to_exitcode(status))
            os.close(report)

    def end_all(self) -> None:
        """Kill the workers that are left and wait for them: what they took of the processor counts as ours."""
        for pid in self._reports:
            os.kill(pid, signal.SIGKILL)
        self._reap(0)


def _tell(report: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(report, f"{number}\n".encode())


def _be_worker(standard: list[int]) -> None:
    """The rest of a forked worker's life."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for target, descriptor in enumerate(standard):
            os.dup2(descriptor, target)
        os.closerange(len(standard), os.sysconf("SC_OPEN_MAX"))  # the socket, and what belongs to other workers
        from fdvs.batch.worker import main as work

        work()
    except BaseException:  # noqa: BLE001  # must never go back into the loop of the process it was forked from
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(1)


def main() -> None:
    """Entry point of `python -m fdvs.batch.nursery [MODULE…]`, whose stdin is the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; who asks for workers decides
    with socket.socket(fileno=os.dup(0)) as control:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for name in (*PRELOADED, *sys.argv[1:]):
            importlib.import_module(name)
        gc.freeze()  # what is loaded stays: looking through it again would only copy its pages into every worker
        births = _Births(control)
        try:
            births.run()
        finally:
            births.end_all()


if __name__ == "__main__":
    main()
