"""`fdvs` as a process of its own: started, watched, stopped in every way, and what it left in the library."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from fdvs.batch.build import build
from fdvs.batch.jobs import Event, Until
from fdvs.batch.report import BuildReport
from fdvs.settings import load_settings
from tests.media_files import render, x264

T = TypeVar("T")

# Only against tests that would never end; nothing is measured with it.
HANG_S = 500.0

FDVS = (sys.executable, "-m", "fdvs.cli.main")
# One clip per key picture: short films with many clips.
MANY_CLIPS = "clips.min_clip_s=0"
# Loading what reads the screen takes a worker longer than all else it does with a short film. For films that show no
# text, in tests of something else. Not for a build that is to be stopped in time: it would be over too soon.
NO_READING = "captions.screen_text=off"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """Rows of `build --json` or `status --json`, by path."""
        rows: list[dict[str, Any]] = json.loads(self.out)["videos"]
        assert len({row["path"] for row in rows}) == len(rows)
        return {row["path"]: row for row in rows}


def environment() -> dict[str, str]:
    """The environment without settings of the user's own; output refuses what is no text, as on most terminals."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FDVS_")}
    return {**kept, "PYTHONIOENCODING": "utf-8:strict"}


def fdvs(*arguments: str | Path, before: Sequence[str] = (), cwd: Path | None = None) -> Ended:
    """Run a command to its end; `before` is put in front of it."""
    command = [*before, *FDVS, *map(str, arguments)]
    ended = subprocess.run(
        command, capture_output=True, timeout=HANG_S, cwd=cwd, env=environment(), errors="surrogateescape"
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


# Whoever watches a command goes before it: else it may be over, on a busy machine, before a look at it is taken. Not
# further behind: beside other tests that keep every core busy, the nicest command hardly gets to start.
BEHIND_THE_TEST = ("nice", "-n", "10")


class Running:
    """A command in a process group of its own."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [*BEHIND_THE_TEST, *FDVS, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=environment(),
        )

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.signal_group(signal.SIGKILL)
        self.process.communicate(timeout=HANG_S)

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the command and its workers, as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def wait(self) -> Ended:
        out, err = self.process.communicate(timeout=HANG_S)
        return Ended(self.process.returncode, out, err)

    def workers(self) -> list[int]:
        """The process that starts workers, and the workers."""
        (nursery,) = children(self.process.pid)
        return [nursery, *children(nursery)]


def children(parent: int) -> list[int]:
    """Ids of the living child processes of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # gone meanwhile
            if int(fields[1]) == parent and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def is_alive(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], *, unless: Callable[[], bool] = lambda: False) -> bool:
    """Wait for a condition; False when `unless` came true first."""
    deadline = time.monotonic() + HANG_S
    while not condition():
        if unless():
            return condition()
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)
    return True


def stored_clips(library: Path) -> int:
    """Clips that are in a library now, also while it is being made."""
    path = library / "library.sqlite"
    if not path.exists():
        return 0
    db = sqlite3.connect(path, timeout=HANG_S)
    try:
        return int(db.execute("SELECT count(*) FROM clips").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # its tables are not there yet
    finally:
        db.close()


def stopped_midway(arguments: Sequence[str | Path], library: Path, total: int, stop: Callable[[Running], T]) -> T:
    """Start a command, `stop` it when a clip is stored, and see that fewer than `total` are.

    One that was over before it could be stopped proves nothing: it is done again in a new library.
    """
    while True:
        with Running(*arguments) as running:
            wait_until(lambda: stored_clips(library) > 0, unless=lambda: not running.runs)
            ended = stop(running)
        if stored_clips(library) < total:
            return ended
        shutil.rmtree(library)


def assert_sound(library: Path) -> None:
    """The database is whole, and no row points to nothing."""
    db = sqlite3.connect(library / "library.sqlite")
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        db.close()


def exported(library: Path, folder: Path) -> dict[str, bytes]:
    """`export --all`: file name → bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    ended = fdvs("export", "--all", "-L", library, "-o", folder)
    assert ended.code == 0, ended.err
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def render_film(path: Path, number: int, *, seconds: int = 40, size: tuple[int, int] = (320, 180)) -> None:
    """A film of 5 pictures a second with a key picture every 0.4 s: 100 clips in 40 s where every one counts."""
    film = x264(
        2,
        b_frames=0,
        num_frames=5 * seconds - number,
        first_number=number,
        time_base=Fraction(1, 5),
        rate=Fraction(5),
        size=size,
    )
    render(path, film)


class Watched:
    """Builds in this process, and the events that their workers sent. `always`: settings of all of them."""

    def __init__(self, library: Path, *inputs: Path, always: Sequence[str] = ()) -> None:
        self.library, self.inputs, self.always = library, inputs, always
        self.events: list[tuple[str, Event]] = []

    def build(self, *assignments: str, until: Until = "story", retry_failed: bool = False) -> BuildReport:
        """Build all inputs; `events` are those of this build."""
        self.events = []
        settings = load_settings(library=self.library, assignments=[*self.always, *assignments], environ={})
        return build(
            self.library,
            self.inputs,
            settings,
            until=until,
            retry_failed=retry_failed,
            on_event=lambda _index, _total, name, event: self.on_event(name, event),
        )

    def on_event(self, name: str, event: Event) -> None:
        """Called for every event, in the thread that builds."""
        self.events.append((name, event))

    @property
    def ends(self) -> dict[str, Event]:
        """The last event of every video that a worker was started for, by file name."""
        return {name: event for name, event in self.events if event.kind in ("done", "failed")}

    @property
    def decoded(self) -> int:
        return sum(event.clips_decoded for event in self.ends.values())

    @property
    def captioned(self) -> int:
        return sum(event.clips_captioned for event in self.ends.values())
