"""Costly things that several tests look at, made once per run: a library of all shared films in each profile."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

from fdvs.batch.build import build
from fdvs.batch.report import BuildReport
from fdvs.media.discover import discover
from fdvs.settings import load_settings

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SHARED_VIDEOS = SHARED / "videos"


def once_per_run(root: Path, name: str, make: Callable[[Path], object]) -> Path:
    """Folder `root/name`, filled by `make` exactly once, however many processes of a test run ask for it.

    `root` is what the processes have in common. A `make` that fails is tried again by the next who asks.
    """
    folder, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
    return folder


def shared_films() -> list[Path]:
    """The shared films; empty where there are none."""
    return [found.path for found in discover([SHARED_VIDEOS])] if SHARED_VIDEOS.is_dir() else []


def build_shared(folder: Path, profile: str) -> BuildReport:
    """Build all shared films into the library `folder`."""
    return build(folder, [SHARED_VIDEOS], load_settings(profile=profile, environ={}))
