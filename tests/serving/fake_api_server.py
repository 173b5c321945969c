"""Stands in for vLLM's server where its processes and not its words matter; `FAKE_VLLM` says how it behaves.

`ready`: healthy, and serves the model it was told to, to whoever brings the key. `dies`: ends with 7. `hangs`: never
listens. `other`: serves another model. `ends`: is ready and ends with 9 after it was asked for its models. `stubborn`:
`ready`, but ignores SIGTERM. `sparse`: plans every prompt it is given, and reports so. `refuses`: ends with 1 as its
settings do not suit the attention that was asked for. Writes what it was started with, and the process that it starts
itself, into the file `FAKE_VLLM_RECORD`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BEHAVIOUR = os.environ["FAKE_VLLM"]
ARGUMENTS = sys.argv[1:]


def option(name: str) -> str:
    return ARGUMENTS[ARGUMENTS.index(name) + 1]


def report(**content: object) -> None:
    """As the plug-in of vLLM does, into the folder that it is told of."""
    folder = Path(json.loads(os.environ["FDVS_ATTENTION"])["report"])
    (folder / f"attention-{os.getpid()}.json").write_text(json.dumps({"pid": os.getpid(), **content}))


class Handler(BaseHTTPRequestHandler):
    planned = 0

    def do_GET(self) -> None:
        if self.path == "/health":
            self.reply(200, b"")
        elif self.headers.get("Authorization") != f"Bearer {os.environ['VLLM_API_KEY']}":
            self.reply(401, b'{"error": "Unauthorized"}')
        else:
            model = "another" if BEHAVIOUR == "other" else option("--served-model-name")
            self.reply(200, json.dumps({"data": [{"id": model}]}).encode())
            if BEHAVIOUR == "ends":
                threading.Timer(0.2, os._exit, (9,)).start()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if BEHAVIOUR == "sparse" and self.path == "/v1/completions":
            Handler.planned += 1
            counts: dict[str, object] = {
                "planned_prompts": Handler.planned,
                "planned_tokens": 100,
                "planned_calls": 2 * Handler.planned,
            }
            counts |= {"pairs": 30, "dense_pairs": 100, "dense": {}, "layers": ["a", "b"], "unserved": {}}
            report(stage="built", counts=counts)
        self.reply(200, json.dumps({"tokens": [5]}).encode())

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    if BEHAVIOUR == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    own = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    started = {"arguments": ARGUMENTS, "environment": dict(os.environ), "pids": [os.getpid(), own.pid]}
    record = Path(os.environ["FAKE_VLLM_RECORD"])
    record.with_suffix(".part").write_text(json.dumps(started))
    record.with_suffix(".part").rename(record)
    print("loading weights", flush=True)
    if BEHAVIOUR == "dies":
        print("no memory left for the cache", flush=True)
        sys.exit(7)
    if BEHAVIOUR == "refuses":
        report(stage="refused", refusal="attention tca cannot run in this vLLM: pass --no-enable-prefix-caching")
        sys.exit(1)
    if BEHAVIOUR == "hangs":
        time.sleep(600)
    ThreadingHTTPServer((option("--host"), int(option("--port"))), Handler).serve_forever()


if __name__ == "__main__":
    main()
