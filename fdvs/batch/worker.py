"""One video, in a process of its own: reads a job on stdin, prints event lines, writes the library clip by clip.

Killed at any moment, it leaves whole transactions only; started again, it goes on after the last stored clip. It ends
at once when the process that started it does.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from fdvs.batch.jobs import Event, Job
from fdvs.batch.locks import Locks
from fdvs.errors import FdvsError, MediaError
from fdvs.records import State
from fdvs.store.library import Store
from fdvs.store.paths import Fingerprint, PathError

Emit = Callable[[Event], None]


def handle(job: Job, emit: Emit) -> Event:
    """Bring one file up to the wanted stage and record how that ended.

    Returns:
        The `done` or `failed` event. Whatever is wrong with the file or while working on it is a `failed` event; the
        path's row in the library says the same.
    """
    from fdvs.batch.video import VideoBuild, look

    if job.dry_run:
        return _guarded(lambda: look(job))
    locks = Locks(Path(job.library))
    locks.acquire(path_lock(job.path))
    try:
        with Store.open(Path(job.library), create=True) as store:
            ended = _guarded(lambda: VideoBuild(job, store, locks, emit).run())
            if ended.kind == "failed":
                record_failure(store, Path(job.path), ended)
            return ended
    finally:
        locks.close()


def _guarded(work: Callable[[], Event]) -> Event:
    """Run a job; whatever goes wrong becomes its `failed` event."""
    try:
        return work()
    except MediaError as error:
        return Event("failed", code=error.code, message=str(error))
    except FileNotFoundError as error:
        return Event("failed", code="not_found", message=str(error))
    except FdvsError as error:
        return Event("failed", code="crashed", message=str(error))
    except OSError as error:
        return Event("failed", code="unreadable", message=str(error))
    except Exception as error:  # noqa: BLE001 - the job boundary: one video's trouble stays its own
        traceback.print_exc()
        return Event("failed", code="crashed", message=f"{type(error).__name__}: {error}")


def path_lock(path: str) -> str:
    """Lock key of whoever works on a path."""
    return f"path:{path}"


def record_failure(store: Store, path: Path, failed: Event) -> None:
    """Write down why a path failed. What was known of its content stays."""
    try:
        fingerprint = Fingerprint.of(path)
    except OSError:
        fingerprint = None
    known = store.find_path(path)
    same = known is not None and known.fingerprint == fingerprint
    store.record_path(
        path,
        fingerprint,
        known.video_id if same and known is not None else None,
        state=State.FAILED,
        error=PathError(failed.code, failed.message),
    )


def _end_with_parent() -> None:
    """Block until stdin ends: then the parent is gone (or wants us gone)."""
    while os.read(0, 1):
        pass
    os._exit(1)


def main() -> None:
    """The whole life of a worker process; never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    # Our lines go to the real stdout; whatever native code prints there goes to stderr.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="surrogateescape")
    os.dup2(2, 1)
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1 << 16)
        if not byte:
            os._exit(1)
        line += byte
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def emit(event: Event) -> None:
        try:
            out.write(event.dumps() + "\n")
            out.flush()
        except BrokenPipeError:  # the parent is gone; that is no fault of the video's
            os._exit(1)

    emit(handle(Job.loads(line.decode()), emit))
    sys.stderr.flush()
    os._exit(0)  # everything is written; tearing down the interpreter would only cost time
