"""An event loop on a thread of its own, for clients that are called from ordinary code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundLoop:
    """One daemon thread that runs one event loop; it never keeps the process alive."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._guard = threading.Lock()
        self._is_open = True
        self._thread.start()

    def submit(self, make: Callable[[], Coroutine[Any, Any, T]]) -> Future[T] | None:
        """Begin with what `make` makes; cancelling the future cancels it. None after `close`."""
        with self._guard:
            return asyncio.run_coroutine_threadsafe(make(), self._loop) if self._is_open else None

    def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `make` makes, done to its end."""
        running = self.submit(make)
        assert running is not None, "the loop is closed"
        return running.result()

    def close(self, at_last: Callable[[], Coroutine[Any, Any, None]], timeout_s: float = 5.0) -> None:
        """Cancel all that runs, wait until it has ended, do `at_last`, and end the thread. A second call does nothing.

        What does not end within `timeout_s` is left to the end of the process.
        """
        with self._guard:
            if not self._is_open:
                return
            self._is_open = False
            ending = asyncio.run_coroutine_threadsafe(self._end(at_last), self._loop)
        try:
            ending.result(timeout_s)
        except TimeoutError:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout_s)

    async def _end(self, at_last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await at_last()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()
