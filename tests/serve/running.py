"""A real server as `fdvs serve` starts it, the processes it is made of, and requests to it as plain JSON."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.media_files import jpeg

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 240  # half a minute on a quiet machine
_LINE = re.compile(r"OPENAI_API_KEY=(\S+) .*--captioner-url (\S+) --captioner-model (\S+)")
_LISTENS = "0A"


class Endpoint(NamedTuple):
    """Where a model is served: what the captioner, the writer and the reader need to be told."""

    url: str  # with /v1
    key: str
    model: str


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    at: Endpoint
    process: subprocess.Popen[str]  # `fdvs serve`
    log: Path

    def ask(self, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
        """Status and JSON of a request to `path`, which begins behind the host; `key` instead of the right one."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key or self.at.key}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.at.url.removesuffix("/v1") + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                status, text = reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read()
        return status, json.loads(text) if text else None

    def chat(self, content: Any, **more: Any) -> tuple[int, Any]:
        """Status and JSON of one turn."""
        turn = {"role": "user", "content": content}
        return self.ask(
            "/v1/chat/completions",
            {"model": self.at.model, "messages": [turn], "max_tokens": 8, "temperature": 0, **more},
        )


@contextlib.contextmanager
def launched(model: Path, log: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`fdvs serve` in a process of its own until the block ends; then it is told to end, and has to."""
    command = [sys.executable, "-m", "fdvs", "serve", str(model), "--log", str(log), "--timeout", str(READY_WITHIN_S)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FDVS_", "OPENAI_"))}
    environment |= {"VLLM_CPU_KVCACHE_SPACE": "1", "PYTHONPATH": str(ROOT)}
    with (
        log.with_suffix(".progress").open("w") as progress,
        subprocess.Popen(
            [*command, *options], env=environment, text=True, stdout=subprocess.PIPE, stderr=progress
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def ready(process: subprocess.Popen[str], log: Path) -> Running:
    """The server, once it says how it is to be used."""
    assert process.stdout is not None
    found = _LINE.match(process.stdout.readline())
    assert found, log.with_suffix(".progress").read_text()
    return Running(Endpoint(found[2], found[1], found[3]), process, log)


def video(numbers: list[int]) -> dict[str, Any]:
    """A stretch of video as one part of a turn: pictures that show these numbers."""
    frames = ",".join(base64.b64encode(jpeg(number)).decode() for number in numbers)
    return {"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{frames}"}}


def image(number: int) -> dict[str, Any]:
    return {
        "type": "image_url",
        "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(jpeg(number)).decode()}"},
    }


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def times(seconds: list[float]) -> dict[str, Any]:
    """What tells the server when each frame was shown."""
    indices = [round(1000 * second) for second in seconds]
    total = indices[-1] + 1
    kept = {
        "num_frames": -1,
        "fps": 1000,
        "frames_indices": indices,
        "total_num_frames": total,
        "duration": total / 1000,
    }
    return {"media_io_kwargs": {"video": kept}}


def family_of(pid: int) -> list[int]:
    """A process and all that it started, and they, and so on."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended while we looked
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def all_gone(pids: list[int], within_s: float) -> bool:
    """Whether these processes have ended; looks again until `within_s` is over."""
    end = time.monotonic() + within_s
    while any(_runs(pid) for pid in pids):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def listening_at(pids: list[int]) -> set[str]:
    """The addresses, as the kernel writes them, at which these processes listen."""
    sockets = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                sockets.add(str(link.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == _LISTENS and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].partition(":")[0])
    return found
