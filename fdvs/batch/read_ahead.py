"""An iterator that is worked off on a thread of its own, a few items ahead of whoever uses them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar, cast

T = TypeVar("T")

AHEAD = 2
"""Items made and not yet used. More would only be memory: one clip's pictures are about 10 MB."""

_END = object()


def read_ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items in the same order; what `items` raises is raised here, after those before it.

    All of `items` runs on one thread, also its end. A user who stops early waits until the item in work is made.
    """
    made: queue.Queue[object] = queue.Queue(AHEAD)
    raised: list[BaseException] = []
    stopped = threading.Event()

    def work() -> None:
        try:
            for item in items:
                made.put(item)
                if stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - raised where the items are used
            raised.append(error)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
            made.put(_END)

    thread = threading.Thread(target=work, name="fdvs-read-ahead", daemon=True)
    thread.start()
    item = None
    try:
        while (item := made.get()) is not _END:
            yield cast(T, item)
        if raised:
            raise raised[0]
    finally:
        stopped.set()
        while item is not _END:
            item = made.get()
        thread.join()
