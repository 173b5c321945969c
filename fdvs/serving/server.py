"""A server as a child of this process: started, waited for until it answers, and ended with everything it started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from fdvs.errors import InputError, ServerError
from fdvs.serving import keeper

LOOK_EVERY_S = 0.2
TELL_EVERY_S = 10.0
ANSWER_WITHIN_S = 5.0
GRACE_S = 10.0
LAST_LINES = 20
_LAST_BYTES = 16384

# No proxy of the environment stands between us and this machine.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def free_port(host: str) -> int:
    """A port that nobody uses at this moment."""
    with _bound(host, 0) as found:
        return int(found.getsockname()[1])


def check_port(host: str, port: int) -> None:
    """InputError where somebody else already listens there."""
    try:
        _bound(host, port).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"port {port} of {host} cannot be used: {error}; --port 0 takes a free one") from error


def _bound(host: str, port: int) -> socket.socket:
    taken = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        # As servers do: connections that ended a moment ago do not block the port.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
    except BaseException:
        taken.close()
        raise
    return taken


class Server:
    """A running server; ends with the `with` block, and also when this process is killed.

    Args:
        command: what starts it.
        environment: its whole environment.
        log: file to which everything it prints is appended.
        url: where it will answer, without `/v1`.
        grace_s: how long it has to end by itself before it is killed.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, url: str, grace_s: float = GRACE_S
    ) -> None:
        self.log = log
        self.url = url
        self._grace_s = grace_s
        watched, self._held = os.pipe()
        try:
            with log.open("ab") as out:
                self._keeper = subprocess.Popen(
                    [sys.executable, "-P", str(Path(keeper.__file__)), str(watched), str(grace_s), *command],
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    pass_fds=(watched,),
                    start_new_session=True,  # Ctrl-C is for us: we end it in order
                )
        except BaseException:
            os.close(self._held)
            raise
        finally:
            os.close(watched)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server with all its processes; a second call does nothing."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1
        try:
            code = self._keeper.wait(self._grace_s + 5)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        if code < 0:  # the keeper was killed before its work was done: whoever is left of the group goes now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._keeper.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Wait until the server ends by itself, which is never right.

        Raises:
            ServerError: it ended.
        """
        raise self._ended(self._keeper.wait(), "")

    def wait_until_ready(self, model: str, key: str, timeout_s: float, tell: Callable[[str], None]) -> None:
        """Wait until the server is healthy and knows `model`.

        Args:
            tell: gets a line on how it is going every `TELL_EVERY_S`.

        Raises:
            ServerError: it ended, took longer than `timeout_s`, or is not the server that was started.
        """
        start = time.monotonic()
        told = start
        while not self._is_healthy():
            code = self._keeper.poll()
            if code is not None:
                raise self._ended(code, " before it was ready")
            now = time.monotonic()
            if now - start > timeout_s:
                raise ServerError(f"the server was not ready after {timeout_s:g} s (--timeout); {self._last_lines()}")
            if now - told >= TELL_EVERY_S:
                told = now
                tell(f"{now - start:.0f} s: {self._last_line()}")
            time.sleep(LOOK_EVERY_S)
        self._check_model(model, key)

    def _is_healthy(self) -> bool:
        try:
            with _open(f"{self.url}/health", timeout=ANSWER_WITHIN_S) as reply:
                return bool(reply.status == 200)
        except OSError:  # also an HTTP status that is an error
            return False

    def _check_model(self, model: str, key: str) -> None:
        """That it takes our key and serves our model: another program may have been faster to take the port."""
        headers = {"Authorization": f"Bearer {key}"}
        request = urllib.request.Request(f"{self.url}/v1/models", headers=headers)  # noqa: S310  our own http address
        try:
            with _open(request, timeout=ANSWER_WITHIN_S) as reply:
                served = [row["id"] for row in json.load(reply)["data"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ServerError(f"what answers at {self.url} is not the server that was started: {error}") from error
        if model not in served:
            raise ServerError(f"what answers at {self.url} serves {', '.join(served) or 'nothing'}, not {model}")

    def _ended(self, code: int, when: str) -> ServerError:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return ServerError(f"the server {how}{when}; {self._last_lines()}")

    def _tail(self) -> list[str]:
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
            text = file.read().decode(errors="replace")
        return [line.rstrip() for line in text.splitlines() if line.strip()]

    def _last_line(self) -> str:
        return (self._tail() or ["nothing in its log yet"])[-1][:160]

    def _last_lines(self) -> str:
        lines = self._tail()[-LAST_LINES:]
        if not lines:
            return f"it wrote nothing into {self.log}"
        return f"the last lines of {self.log}:\n" + "\n".join(f"  {line}" for line in lines)
