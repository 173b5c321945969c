"""Who works on what: byte-range locks on one file of the library, released by the system when a process dies.

Two workers, of one build or of two, never handle the same path or the same content at once; a killed worker leaves
nothing behind that has to be cleaned up.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

_FILE_NAME = "library.lock"
_OFFSET_BITS = 62  # offsets are signed 64-bit; the file itself stays empty


def _offset(key: str) -> int:
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _OFFSET_BITS)


class Locks:
    """The locks one worker holds. One descriptor for all: closing any descriptor of a file drops all its locks."""

    def __init__(self, library: Path) -> None:
        self._descriptor = os.open(library / _FILE_NAME, os.O_RDWR | os.O_CREAT, 0o644)

    def acquire(self, key: str) -> None:
        """Take the lock of `key`; waits for whoever has it."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, _offset(key))

    def close(self) -> None:
        """Drop all locks."""
        os.close(self._descriptor)


def is_held(library: Path, key: str) -> bool:
    """True when a process that is alive holds the lock of `key`. Must not be called while this process holds one."""
    path = library / _FILE_NAME
    if not path.exists() or not os.access(path, os.W_OK):
        return False
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(key))
    except (BlockingIOError, PermissionError):
        return True
    else:
        return False
    finally:
        os.close(descriptor)
