"""The process in which decord runs, so that it can be killed: it has been seen to wait for ever inside one call.

Run as a file by `decord_reader`, it imports nothing of fdvs. Requests and answers go over pipes: four bytes of length,
JSON, and after an answer as many raw bytes as it announces. Nothing is pickled, so that a process taken over by a
hostile video can send numbers and pixels but no code.

Requests: `{"open": PATH}` → count, key indices, then the start of every frame in seconds as float64;
`{"frame": INDEX}` → shape, then the pixels (RGB, uint8). A failure is `{"error": TEXT, "kind": KIND}`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

_PARENT_CHECK_S = 0.5


def _exit_with_parent(parent: int) -> None:
    """End this process when the one that started it is gone, even while decord keeps the main thread busy."""
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)
    os._exit(1)


def _read(descriptor: int, count: int) -> bytes:
    """Exactly `count` bytes, fewer only at the end of the pipe."""
    data = b""
    while len(data) < count:
        piece = os.read(descriptor, count - len(data))
        if not piece:
            break
        data += piece
    return data


def _answer(descriptor: int, header: dict[str, Any], raw: bytes = b"") -> None:
    encoded = json.dumps({**header, "num_bytes": len(raw)}).encode()
    view = memoryview(len(encoded).to_bytes(4, "big") + encoded + raw)
    while view:
        view = view[os.write(descriptor, view) :]


def _open(decord: Any, path: str) -> tuple[Any, dict[str, Any], bytes]:
    # One thread: with more, damaged files give other pictures from run to run.
    reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
    count = len(reader)
    starts = reader.get_frame_timestamp(list(range(count)))[:, 0].astype("<f8")
    return reader, {"count": count, "keys": [int(key) for key in reader.get_key_indices()]}, starts.tobytes()


def main() -> int:
    # Only this module writes to the pipe; whatever a library prints goes to stderr.
    answers = os.dup(1)
    os.dup2(2, 1)
    threading.Thread(target=_exit_with_parent, args=(int(sys.argv[1]),), daemon=True).start()
    try:
        import decord
    except (ImportError, OSError) as error:  # OSError: its library does not load here
        _answer(answers, {"error": str(error), "kind": "missing"})
        return 1
    _answer(answers, {"version": str(decord.__version__)})
    reader: Any = None
    while True:
        length = _read(0, 4)
        if len(length) < 4:
            return 0
        request = json.loads(_read(0, int.from_bytes(length, "big")))
        try:
            if "open" in request:
                reader, header, raw = _open(decord, request["open"])
            else:
                pixels = reader[int(request["frame"])].asnumpy()
                header, raw = {"shape": list(pixels.shape)}, pixels.tobytes()
        except (decord.DECORDError, RuntimeError, IndexError, ValueError, AssertionError) as error:
            _answer(answers, {"error": str(error).strip()[:2000], "kind": type(error).__name__})
            continue
        _answer(answers, header, raw)


if __name__ == "__main__":
    sys.exit(main())
