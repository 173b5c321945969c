"""A model hub on loopback with a few tiny repositories: the routes that listing and downloading need, and no more."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "somebody/tiny"
FILES: Mapping[str, bytes] = {
    "config.json": b'{"model_type": "qwen3"}',
    "tokenizer.json": b"{}",
    "model.safetensors": b"W" * 5000,
    "pytorch_model.bin": b"pickle",
    "modeling_tiny.py": b"raise SystemExit('code from the hub was run')",
    "onnx/model.onnx": b"onnx",
    "LICENSE": b"as you like",
    "README.md": b"---\nlicense: mit\n---\n",
}


@dataclass
class Hub:
    """What the hub has, what it was asked for, and how it fails: `broken_after` bytes of a file, once."""

    files: Mapping[str, bytes] = field(default_factory=lambda: dict(FILES))
    head: str = COMMIT
    broken_after: int | None = None
    asked: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    address: str = ""

    @property
    def fetched(self) -> set[str]:
        """Paths of files whose bytes were asked for."""
        marker = f"/resolve/{self.head}/"
        return {one.partition(marker)[2] for one in self.asked if one.startswith("GET") and marker in one}


def _answers(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append(f"{self.command} {path}")
            api = f"/api/models/{REPOSITORY}"
            if path in (api, f"{api}/revision/{hub.head}"):
                siblings = [{"rfilename": name, "size": len(data)} for name, data in hub.files.items()]
                about = {"id": REPOSITORY, "sha": hub.head, "siblings": siblings, "cardData": {"license": "mit"}}
                self._json(about)
            elif path == f"{api}/tree/{hub.head}":
                self._json(
                    [
                        {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                        for name, data in hub.files.items()
                    ]
                )
            elif (name := path.removeprefix(f"/{REPOSITORY}/resolve/{hub.head}/")) in hub.files:
                self._file(hub.files[name], with_body)
            else:
                self._send(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})

        def _json(self, data: Any) -> None:
            self._send(200, json.dumps(data).encode(), {"Content-Type": "application/json"})

        def _file(self, data: bytes, with_body: bool) -> None:
            headers = {
                "X-Repo-Commit": hub.head,
                "ETag": f'"{hashlib.sha1(data).hexdigest()}"',
                "Accept-Ranges": "bytes",
            }
            wanted = self.headers.get("Range")
            start = 0
            if wanted and with_body:
                hub.ranges.append(wanted)
                start = int(wanted.removeprefix("bytes=").partition("-")[0])
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            body = data[start:]
            if with_body and hub.broken_after is not None and len(body) > hub.broken_after:
                cut, hub.broken_after = hub.broken_after, None
                self._send(200, body[:cut], headers, length=len(body))
                self.close_connection = True
                return
            self._send(206 if start else 200, body if with_body else b"", headers, length=len(body))

        def _send(self, code: int, body: bytes, headers: Mapping[str, str], length: int | None = None) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
            pass

    return Answers


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub at an address of its own, until the end of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _answers(hub))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
