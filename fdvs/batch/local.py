"""The local engine: one worker process per video, a wall-clock limit on each, progress, and a clean stop.

A crash, a time-out or an out-of-memory kill costs that video only. The runner knows nothing of captions: it starts
workers, reads their event lines and turns every end, also a sudden one, into exactly one `done` or `failed` event.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fdvs.batch.jobs import Event, Job
from fdvs.batch.nursery import Nursery
from fdvs.settings import uses_model

# Without a limit of the user's own: time to open and hash the file, then a multiple of the video's length.
OPENING_LIMIT_S = 600.0
HASHING_BYTES_PER_S = 20e6
SECONDS_PER_VIDEO_SECOND = 3.0

OnEvent = Callable[[int, Event], None]


def default_jobs() -> int:
    """Workers to run at once when the user names no number: one per usable core."""
    return max(1, len(os.sched_getaffinity(0)))


class _Worker:
    """One running worker process and its wall-clock limit."""

    def __init__(self, job: Job, nursery: Nursery) -> None:
        self.job = job
        self.timed_out = False
        self.limit_s = job.settings.limits.video_timeout_s or OPENING_LIMIT_S + _size(job.path) / HASHING_BYTES_PER_S
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in events(); native code writes to it as it likes
        try:
            self.process = nursery.start_worker(self._errors.fileno())
        except BaseException:
            self._errors.close()
            raise
        self._timer = self._start_timer(self.limit_s)

    def _start_timer(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        return timer

    def _expire(self) -> None:
        self.timed_out = True
        self.process.kill()

    def events(self) -> Iterator[Event]:
        """Events of the worker, ending with exactly one `done` or `failed`."""
        try:
            for event in self._read():
                yield event
                if event.kind in ("done", "failed"):
                    return
            yield self._sudden_end(self._end())
        finally:
            self._end()
            self._errors.close()

    def _read(self) -> Iterator[Event]:
        """Events as they come, until the worker's output ends."""
        with contextlib.suppress(BrokenPipeError):  # a worker that died at once is told apart by how it ended
            self.process.stdin.write(self.job.dumps() + "\n")
            self.process.stdin.flush()  # left open: its end tells the worker that we are gone
        for line in self.process.stdout:
            if not line.startswith("{") or not line.endswith("}\n"):
                continue  # a library printed something, or the worker was killed in the middle of a line
            event = Event.loads(line)
            if not self.job.settings.limits.video_timeout_s:
                self._extend(event)
            yield event

    def _extend(self, event: Event) -> None:
        """Set the limit anew where the user named none: by the video's length once that is known, and with every step
        forward where a model decides how long a step takes."""
        if event.kind == "probed":
            self.limit_s = OPENING_LIMIT_S + SECONDS_PER_VIDEO_SECOND * event.duration_ms / 1000
            if uses_model(self.job.settings):
                run = self.job.settings.run
                self.limit_s += run.request_timeout_s * (1 + run.request_retries)
        elif event.kind not in ("progress", "decoded") or not uses_model(self.job.settings):
            return
        self._timer.cancel()
        self._timer = self._start_timer(self.limit_s)

    def _end(self) -> int:
        """Let the worker go and wait for its end; a second call changes nothing."""
        self._timer.cancel()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait()

    def _sudden_end(self, returncode: int) -> Event:
        if self.timed_out:
            message = f"stopped after {self.limit_s:.0f} s without finishing; --video-timeout S sets the limit"
            return Event("failed", code="timeout", message=message)
        if returncode < 0:
            how = f"was ended by signal {signal.Signals(-returncode).name}"
            if -returncode == signal.SIGKILL:
                how += " (out of memory?)"
        else:
            how = f"ended with exit code {returncode}"
        self._errors.seek(0)
        tail = self._errors.read()[-2000:].decode(errors="replace").strip().splitlines()
        last = f"; its last words: {tail[-1][:300]}" if tail else ""
        return Event("failed", code="crashed", message=f"the worker process {how}{last}")


def _events_of(job: Job, nursery: Nursery) -> Iterator[Event]:
    """Start a worker and pass on its events; that none could be started is one, too."""
    try:
        worker = _Worker(job, nursery)
    except OSError as error:
        yield Event("failed", code="crashed", message=f"no worker could be started: {error}")
        return
    yield from worker.events()


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def run_jobs(
    jobs: Sequence[Job],
    *,
    workers: int,
    on_event: OnEvent,
    waiting_workers: int = 0,
    preloaded: Sequence[str] = (),
) -> None:
    """Run every job in a process of its own, at most `workers` at once.

    Args:
        jobs: what to do; indices into this sequence name the jobs in events.
        workers: processes at once, at least 1.
        waiting_workers: processes beside these that have said `decoded` and wait for a model, so that a model's server
            is not idle while short videos are decoded one after the other. Each has about 100 MiB of its own
            (benchmarks/results/serving.md); there are only as many as the model is behind.
        preloaded: modules that every worker will need, loaded once for all of them.
        on_event: called in the calling thread for each event; every job ends with one `done` or `failed`.

    An exception in the calling thread (also KeyboardInterrupt) kills the running workers before it goes on; what
    they stored stays stored.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(jobs)):
        waiting.put(index)
    events: queue.SimpleQueue[tuple[int, Event]] = queue.SimpleQueue()
    stopping = threading.Event()
    nursery = Nursery(preloaded)
    working = threading.Semaphore(workers)

    def slot() -> None:
        while True:
            working.acquire()
            with contextlib.ExitStack() as place:
                place.callback(working.release)
                try:
                    index = waiting.get_nowait()
                except queue.Empty:
                    return
                if stopping.is_set():
                    return
                for event in _events_of(jobs[index], nursery):
                    if event.kind == "decoded":
                        place.close()
                    events.put((index, event))

    threads = [threading.Thread(target=slot, daemon=True) for _ in range(min(workers + waiting_workers, len(jobs)))]
    for thread in threads:
        thread.start()
    open_jobs = len(jobs)
    try:
        while open_jobs:
            index, event = events.get()
            on_event(index, event)
            open_jobs -= event.kind in ("done", "failed")
    finally:
        stopping.set()
        nursery.close()
        for thread in threads:
            thread.join(timeout=5)
