"""The build's side: starts the process that holds models, waits until they are loaded, ends it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fdvs.errors import BackendUnavailableError
from fdvs.hosting import wire
from fdvs.hosting.host import SUMMARY, roles_of
from fdvs.settings import Settings, settings_to_json

_LAST_WORDS = 2000


@contextmanager
def hosted(settings: Settings, note: Callable[[str], None]) -> Iterator[str]:
    """Path of a socket behind which the models of `settings` are; empty where none has to be hosted.

    Args:
        note: gets lines for people before and after loading, which can take minutes, and at the end about what was
            done.

    Raises:
        BackendUnavailableError: a model cannot be loaded; the message says why.
    """
    roles = roles_of(settings)
    if not roles:
        yield ""
        return
    from fdvs.pipeline import captions_hash  # loads FFmpeg, which a build without hosted models leaves to its workers

    with tempfile.TemporaryDirectory(prefix="fdvs-") as folder, tempfile.TemporaryFile() as errors:
        path = str(Path(folder) / "models")  # in a folder that only this user can enter
        process = subprocess.Popen(
            [sys.executable, "-m", "fdvs.hosting.host", path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # with the processes that vLLM starts for itself: they end together
        )
        try:
            note(f"loading the model of the {' and the '.join(roles)}")
            for line in _await_ready(process, settings, captions_hash(settings), errors):
                note(line)
            yield path
            for line in _summary(path):
                note(line)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it keeps nothing that could be lost
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                assert process.stdin is not None
                process.stdin.close()
            assert process.stdout is not None
            process.stdout.close()


def _await_ready(
    process: subprocess.Popen[str], settings: Settings, settings_hash: str, errors: IO[bytes]
) -> list[str]:
    """Lines for people about what was loaded."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # one that ended at once is told apart below
        process.stdin.write(json.dumps({"settings": settings_to_json(settings), "settings_hash": settings_hash}) + "\n")
        process.stdin.flush()
    line = process.stdout.readline()
    told = json.loads(line) if line.endswith("\n") else {}
    if told.get("ready"):
        return [str(line) for line in told.get("notes", ())]
    raise BackendUnavailableError(told.get("error") or _sudden_end(process, errors))


def _summary(path: str) -> list[str]:
    """Lines for people about what the models did; none where their process has ended."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
            wire.send(connection, {"role": SUMMARY})
            said = wire.receive(connection)
        except OSError:
            said = None
    return [] if said is None else [str(line) for line in said[0]["lines"]]


def _sudden_end(process: subprocess.Popen[str], errors: IO[bytes]) -> str:
    code = process.wait()
    errors.seek(0)
    tail = errors.read()[-_LAST_WORDS:].decode(errors="replace").strip().splitlines()
    last = f"; its last words: {tail[-1][:300]}" if tail else ""
    how = f"signal {-code} (out of memory?)" if code < 0 else f"exit code {code}"
    return f"the process that loads the model ended with {how}{last}"
