"""Progress on stderr: a live line on a terminal, one line per finished video elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from fdvs.records import clock
from fdvs.stories.words import safe_text

if TYPE_CHECKING:
    from fdvs.batch.jobs import Event

REDRAW_EVERY_S = 0.1
NAME_WIDTH = 40


class Progress:
    """Shows rate (video time per wall time) and the time left. Knows only events, nothing of the work itself."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._live = sys.stderr.isatty()
        self._duration_ms: dict[int, int] = {}
        self._done_ms: dict[int, float] = {}
        self._total = 0
        self._finished = 0
        self._names: dict[int, str] = {}
        self._next_redraw = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def on_event(self, index: int, total: int, name: str, event: Event) -> None:
        """Take note of one event of job `index` of `total`."""
        self._total = total
        self._names[index] = name
        if event.kind == "probed":
            self._duration_ms[index] = event.duration_ms
        elif event.kind == "progress" and event.clips_total:
            self._done_ms[index] = self._duration_ms.get(index, 0) * event.clips_done / event.clips_total
        if event.kind in ("done", "failed"):
            self._finished += 1
            self._done_ms[index] = self._duration_ms.get(index, 0)
            self._names.pop(index)
            if not self._live:
                outcome = f"failed: {event.code}" if event.kind == "failed" else "done"
                self._write(f"[{self._finished}/{total}] {safe_text(name)}: {outcome}\n")
        if self._live and (event.kind in ("done", "failed") or time.monotonic() >= self._next_redraw):
            self._redraw()

    def _redraw(self) -> None:
        self._next_redraw = time.monotonic() + REDRAW_EVERY_S
        elapsed = time.monotonic() - self._start
        done = sum(self._done_ms.values()) / 1000
        rate = done / elapsed if elapsed > 0.5 else 0.0
        known = sum(self._duration_ms.values()) / 1000
        left = f", {clock(int(1000 * (known - done) / rate))} left" if rate > 0 and known > done else ""
        current = safe_text(next(iter(self._names.values()), ""))[:NAME_WIDTH]
        self._write(f"\r\x1b[K[{self._finished}/{self._total}] {current}  {rate:.0f}× real time{left}")

    def close(self) -> None:
        """End the live line; safe to call twice."""
        if self._live and self._total:
            self._write("\r\x1b[K")
            self._live = False

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
