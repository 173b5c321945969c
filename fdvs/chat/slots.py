"""How many requests are in flight at a server at once: in this process, and over all processes of a build.

Over processes, a slot is one byte of a file, locked while a request is in flight. The system drops the locks of a
process that dies, however it dies. Such locks belong to the process, not to a descriptor: a process never sees its own,
and loses all of a file when it closes any descriptor of it. So all clients of a process share one table per file.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

from fdvs.errors import InputError

POLL_S = 0.008
"""At most, between looks for a free slot while others have all of them."""

GRACE_S = 0.02
"""How long a client leaves a slot that it gave back to others who wait, before it may take one again."""

_WAITING = 1 << 32  # the byte that processes share a lock of while they wait; far beyond any slot
_FLOCK = struct.Struct("hhqqi4x")  # struct flock


class Slots(Protocol):
    """A bound on requests in flight; used on one event loop."""

    def slot(self) -> AbstractAsyncContextManager[None]:
        """Waits for a slot and holds it."""
        ...

    def close(self) -> None:
        """Let go of what is shared; a second call does nothing."""
        ...


def open_slots(count: int, path: Path | None) -> Slots:
    """A bound of `count` requests: of this client alone, or of all clients that use the file `path`.

    Raises:
        InputError: there can be no locks on this file.
    """
    return OwnSlots(count) if path is None else SharedSlots(count, path)


class OwnSlots:
    """A bound for one client."""

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        async with self._free:
            yield

    def close(self) -> None:
        """Nothing is shared."""


class SharedSlots:
    """A bound over all processes that use one file. Whoever waits gets a turn: see `GRACE_S`."""

    def __init__(self, count: int, path: Path) -> None:
        self._count = count
        self._table: _Table | None = _shared_table(path)
        self._line = asyncio.Lock()  # one of this client's requests at a time looks for a slot, in order
        self._given_back = asyncio.Event()
        self._not_before = 0.0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        table = self._table
        if table is None:
            raise asyncio.CancelledError("closed")
        number = await self._take(table)
        try:
            yield
        finally:
            table.give_back(number)
            if table.others_wait(self):
                self._not_before = asyncio.get_running_loop().time() + GRACE_S
            self._given_back.set()

    async def _take(self, table: _Table) -> int:
        async with self._line:
            if self._may_take() and (number := table.take(self._count)) is not None:
                return number
            table.wait(self, True)
            try:
                while True:
                    self._given_back.clear()
                    pause = random.uniform(POLL_S / 2, POLL_S)  # noqa: S311
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._given_back.wait()
                    if self._may_take() and (number := table.take(self._count)) is not None:
                        return number
            finally:
                table.wait(self, False)

    def _may_take(self) -> bool:
        return asyncio.get_running_loop().time() >= self._not_before

    def close(self) -> None:
        if self._table is not None:
            _drop_table(self._table)
            self._table = None


class _Table:
    """The locks that this process holds on one file; its clients may run on several threads."""

    def __init__(self, path: Path) -> None:
        self.path, self.users = path, 0
        self._guard = threading.Lock()
        self._held: set[int] = set()
        self._waiting: set[object] = set()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise InputError(f"requests cannot be counted over processes in {path}: {error.strerror}") from error
        try:
            fcntl.fcntl(self._file, fcntl.F_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
        except OSError as error:
            os.close(self._file)
            raise InputError(f"{path} stands on a file system without locks: {error.strerror}") from error

    def take(self, count: int) -> int | None:
        """A free slot of `count`, now held; None where all are taken."""
        with self._guard:
            for number in range(count):
                if number not in self._held and self._lock(fcntl.LOCK_EX, number):
                    self._held.add(number)
                    return number
        return None

    def give_back(self, number: int) -> None:
        with self._guard:
            self._held.discard(number)
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)

    def wait(self, client: object, waits: bool) -> None:
        """Tell everybody that a client waits for a slot, or no longer does."""
        with self._guard:
            (self._waiting.add if waits else self._waiting.discard)(client)
            if self._waiting:
                self._lock(fcntl.LOCK_SH, _WAITING)
            else:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _WAITING)

    def others_wait(self, client: object) -> bool:
        """True when somebody else waits: another client of this process, or another process."""
        if self._waiting - {client}:
            return True
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _WAITING, 1, 0)
        return bool(_FLOCK.unpack(fcntl.fcntl(self._file, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK)

    def close(self) -> None:
        os.close(self._file)

    def _lock(self, kind: int, offset: int) -> bool:
        try:
            fcntl.lockf(self._file, kind | fcntl.LOCK_NB, 1, offset)
        except (BlockingIOError, PermissionError):
            return False
        return True


_TABLES: dict[Path, _Table] = {}
_TABLES_GUARD = threading.Lock()


def _shared_table(path: Path) -> _Table:
    """This process's table of a file; clients of one process never hold two descriptors of it."""
    path = path.resolve()
    with _TABLES_GUARD:
        table = _TABLES.get(path)
        if table is None:
            table = _TABLES[path] = _Table(path)
        table.users += 1
        return table


def _drop_table(table: _Table) -> None:
    with _TABLES_GUARD:
        table.users -= 1
        if not table.users:
            del _TABLES[table.path]
            table.close()
