"""How near a build with a model comes to what its server, or decoding, allows.

    python -m benchmarks.serving --save benchmarks/results/serving.md

The server is the tests' own, in a process of its own: every request takes it `latency` seconds, 32 at once. A build
is to take no longer than requests × latency / 32, or than pure decoding where that is longer: every picture of the
films decoded once by fdvs's own decoder, one thread per film, as many films at once as a build works on, with nothing
done to the pictures. Beside it stands `fdvs build --until frames`, another yardstick: it leaves out pictures that
nobody asks for, but starts processes, looks at the samples and stores what it sees; it makes none of the pictures that
a model is sent. The verdict is on the first ratio; the second is told too.

"No latency" is the same build with a server that answers at once: what decoding, pictures, sending and storing take
together; it is measured once, before the rounds. In a round pure decoding, `--until frames` and the build run in turn,
each in a new library; ratios are taken within a round and their median told. Wall and CPU time are of whole processes,
the server's left out. Memory is sampled during the builds.

A film that is bound by decoding is long enough that the start and the last replies, which cost the same for any film,
do not decide. The films are rendered: shots that the camera pans over, a key picture every four seconds, so a clip
each. Captions are three sentences of English: of text whose language is not plain, every video would load the model
that tells languages, 0.8 s of CPU. Exits with 1 when a ratio that has a target is above it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.reporting import finish
from fdvs.batch.local import default_jobs
from fdvs.media.probe import probe
from fdvs.media.schedule import plain_feed
from fdvs.media.session import Session
from fdvs.settings import LimitSettings
from tests.batch.commands import FDVS, children
from tests.batch.long_films import LongFilm
from tests.chat.fake_server import FakeServer, Seen
from tests.shared_library import SHARED_VIDEOS

SLOTS = 32
TARGET = 1.15
SAMPLE_S = 2.0  # a look takes a few ms of CPU for each worker
MIB = 1024  # /proc tells KiB
_NUMBERED = re.compile(r"^\[(\d+)\]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Case:
    """Films and the model that is asked about them. `target`: the greatest ratio to the ideal; None: only told."""

    name: str
    film: LongFilm
    film_s: int
    num_films: int
    latency_s: float
    flags: tuple[str, ...] = ()
    target: float | None = TARGET
    is_real: bool = False

    def write(self, folder: Path) -> None:
        if self.is_real:
            for film in REAL_FILMS:
                (folder / film.name).symlink_to(film)
            return
        for number in range(self.num_films):
            seeded = LongFilm(
                self.film.fps,
                self.film.key_every,
                min(self.film.pattern_s, self.film_s),
                self.film.shot_s,
                self.film.size,
                seed=number,
            )
            seeded.write(folder / f"film{number:03}.mp4", self.film_s)


LIGHT = LongFilm(fps=5, key_every=20, pattern_s=300, shot_s=(3, 15), size=(640, 360))
HEAVY = LongFilm(fps=25, key_every=100, pattern_s=60, shot_s=(3, 15), size=(1280, 720))
REAL_FILMS = tuple(
    path
    for name in ("bbb_full_448x252.mkv", "lecture_deep_learning_welcome.mp4", "talk_slides_laion_1080p.mp4")
    if (path := SHARED_VIDEOS / name).is_file()
)
"""Films of others, where they are at hand; without them their case is left out."""

CASES = (
    Case("one film, bound by the model", LIGHT, 2400, 1, 4.0),
    Case("one film, bound by decoding", HEAVY, 1800, 1, 1.5),
    Case("short films, bound by the model", LIGHT, 40, 45, 5.0),
    Case("one film, written by the model too", LIGHT, 2400, 1, 4.0, ("--writer", "openai"), target=None),
    *([Case("real films, bound by decoding", HEAVY, 350, len(REAL_FILMS), 0.5, is_real=True)] if REAL_FILMS else []),
)


# ---------------------------------------------------------------------------------------------------------------------
# The server


@dataclass(frozen=True, slots=True)
class Counted:
    """What the server saw: requests for a reply, and the most it worked on at once."""

    requests: int
    peak: int


def said(request: Seen) -> Any:
    """Of every clip something of its own; of every node one sentence that rests on its first line."""
    if request.schema is None:
        return (
            f"In shot {request.number} the camera moves over a wall that is painted in two colours. The large patches "
            "are blurred at their edges, and there is no one to be seen. The light does not change while the picture "
            f"slides to the side, and after {request.number % 7} seconds it is as it was at the start."
        )
    first = int(_NUMBERED.findall(request.text)[0])
    return {
        "title": "A painted wall",
        "sentences": [{"text": f"The camera moves over a wall, part {request.number}.", "sources": [first]}],
        "names": [],
    }


def _serve(pipe: Connection, latency_s: float) -> None:
    with FakeServer(said, latency_s=latency_s, slots=SLOTS) as server:
        pipe.send(server.url)
        pipe.recv()
        pipe.send(Counted(len(server.requests), server.peak_working))


class Server:
    """The fake server in another process; `counted` is known when it has ended."""

    def __init__(self, latency_s: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, latency_s), daemon=True)
        self._process.start()
        self.url: str = self._pipe.recv()
        self.counted = Counted(0, 0)

    def end(self) -> None:
        self._pipe.send("end")
        self.counted = self._pipe.recv()
        self._process.join()


@contextmanager
def served(latency_s: float) -> Iterator[Server]:
    server = Server(latency_s)
    try:
        yield server
    finally:
        server.end()


# ---------------------------------------------------------------------------------------------------------------------
# Memory


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a build's processes: their sum, and of their workers the number and the largest share that is one's own."""

    total_mib: float = 0.0
    workers: int = 0
    private_mib: float = 0.0


class Sampler:
    """Looks every `SAMPLE_S` at a command, the process that starts its workers, and these."""

    def __init__(self, command: int) -> None:
        self.peak, self.most_workers, self.private_mib = Memory(), 0, 0.0
        self._command, self._ended = command, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> Memory:
        """The most memory, of how many workers it was, and the most that any worker ever had of its own."""
        self._ended.set()
        self._thread.join()
        return Memory(self.peak.total_mib, self.most_workers, self.private_mib)

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            nurseries = children(self._command)
            workers = [worker for nursery in nurseries for worker in children(nursery)]
            sizes = {pid: _sizes(pid) for pid in (self._command, *nurseries, *workers)}
            now = Memory(sum(total for total, _ in sizes.values()), len(workers))
            self.peak = max(self.peak, now, key=lambda one: one.total_mib)
            self.most_workers = max(self.most_workers, len(workers))
            self.private_mib = max(self.private_mib, *(sizes[pid][1] for pid in workers), 0.0)


def _sizes(pid: int) -> tuple[float, float]:
    """Proportional and private size of a process in MiB; 0 where it has ended."""
    try:
        lines = (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return 0.0, 0.0
    sizes = {name: int(rest.split()[0]) / MIB for name, _, rest in (line.partition(":") for line in lines)}
    return sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"]


# ---------------------------------------------------------------------------------------------------------------------
# Builds


@dataclass(frozen=True, slots=True)
class Timed:
    """Wall seconds, and CPU seconds of all processes."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Built:
    """One build: wall seconds, CPU seconds of all its processes, their memory, and what the server saw."""

    wall_s: float
    cpu_s: float
    memory: Memory
    counted: Counted = Counted(0, 0)


def decode_all(films: Path) -> Timed:
    """Pure decoding: see the top of this file."""
    paths = sorted(films.iterdir())
    context, at_once = multiprocessing.get_context("spawn"), min(default_jobs(), len(paths))
    all_started = context.Barrier(at_once + 1)  # starting Python is no part of decoding
    with context.Pool(at_once, all_started.wait) as pool:
        all_started.wait()
        started = time.perf_counter()
        cpu_s = sum(pool.imap_unordered(_decode, paths))
        return Timed(time.perf_counter() - started, cpu_s)


def _decode(path: Path) -> float:
    """Decode every picture of a film; the CPU seconds that took."""
    started = time.process_time()
    _, index = probe(path, LimitSettings())
    with Session(path, index) as session:
        for _ in session.pictures(plain_feed(index, 0)):
            pass
    return time.process_time() - started


def run(films: Path, flags: Sequence[str]) -> Built:
    """One `fdvs build` in a new library."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*FDVS, "build", str(films), "-L", str(Path(folder) / "library"), "--screen-text", "off", "--json"]
        before, started = _cpu_of_children_s(), time.perf_counter()
        process = subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        sampler = Sampler(process.pid)
        out, err = process.communicate()
        built = Built(time.perf_counter() - started, _cpu_of_children_s() - before, sampler.end())
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command)}\n{err[-2000:]}")
    failed = [row for row in json.loads(out)["videos"] if row["state"] == "failed"]
    if failed:
        raise SystemExit(f"not built: {failed[:3]}")
    return built


def _cpu_of_children_s() -> float:
    """CPU seconds of all processes that have ended below this one; a server counts only when it has."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_with_model(case: Case, films: Path, latency_s: float) -> Built:
    with served(latency_s) as server:
        flags = ["--captioner", "openai", "--captioner-url", server.url, *case.flags]
        if "--writer" in case.flags:
            flags += ["--writer-url", server.url]
        built = run(films, flags)
    return replace(built, counted=server.counted)


@dataclass
class Figures:
    """What was measured of one case; lists by round."""

    case: Case
    no_latency: Built
    decoded: list[Timed] = field(default_factory=list)
    until_frames: list[Built] = field(default_factory=list)
    built: list[Built] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return self.built[0].counted.requests

    @property
    def model_s(self) -> float:
        return self.requests * self.case.latency_s / SLOTS

    @property
    def ratios(self) -> list[float]:
        """To pure decoding, or the model."""
        return self._ratios(self.decoded)

    @property
    def ratios_until_frames(self) -> list[float]:
        """To `--until frames`, or the model."""
        return self._ratios(self.until_frames)

    def _ratios(self, yardstick: Sequence[Timed | Built]) -> list[float]:
        return [
            built.wall_s / max(self.model_s, other.wall_s) for built, other in zip(self.built, yardstick, strict=True)
        ]

    @property
    def held(self) -> bool:
        return self.case.target is None or statistics.median(self.ratios) <= self.case.target


def measure(case: Case, rounds: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        films = Path(folder)
        case.write(films)
        figures = Figures(case, run_with_model(case, films, 0.0))
        for _ in range(rounds):
            figures.loads.append(os.getloadavg()[0])
            figures.decoded.append(decode_all(films))
            figures.until_frames.append(run(films, ["--until", "frames"]))
            figures.built.append(run_with_model(case, films, case.latency_s))
            print(_round(figures), file=sys.stderr, flush=True)
    return figures


def _round(figures: Figures) -> str:
    """The last round in words."""
    decoded, looked, built = figures.decoded[-1], figures.until_frames[-1], figures.built[-1]
    return (
        f"{figures.case.name}: load {figures.loads[-1]:.1f}, model {figures.model_s:.1f} s, pure decoding "
        f"{decoded.wall_s:.1f} s (CPU {decoded.cpu_s:.1f}), until frames {looked.wall_s:.1f} s "
        f"(CPU {looked.cpu_s:.1f}), "
        f"no latency {figures.no_latency.wall_s:.1f} s, {built}, ratio {figures.ratios[-1]:.3f}, to until frames "
        f"{figures.ratios_until_frames[-1]:.3f}"
    )


def report(figures: Sequence[Figures], rounds: int) -> list[str]:
    lines = [
        "# How near a build comes to its server",
        "",
        f"`python -m benchmarks.serving --rounds {rounds}` · {_versions()} · {SLOTS} requests at once · wall seconds, "
        f"medians of {rounds} rounds · target: ratio ≤ {TARGET:g}",
        "",
        "| case | films × s | requests | latency | model s | pure decoding s | until frames s | no latency s | build s "
        "| ratio | of rounds | | ratio to until frames |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- | ---: |",
    ]
    for one in figures:
        case, ratios = one.case, one.ratios
        verdict = "" if case.target is None else "held" if one.held else "MISSED"
        lines.append(
            f"| {case.name} | {case.num_films} × {case.film_s} | {one.requests} | {case.latency_s:g} | "
            f"{one.model_s:.1f} | {_median(d.wall_s for d in one.decoded):.1f} | "
            f"{_median(b.wall_s for b in one.until_frames):.1f} | {one.no_latency.wall_s:.1f} | "
            f"{_median(b.wall_s for b in one.built):.1f} | {statistics.median(ratios):.2f} | "
            f"{', '.join(f'{ratio:.2f}' for ratio in ratios)} | {verdict} | "
            f"{statistics.median(one.ratios_until_frames):.2f} |"
        )
    lines += [
        "",
        "| case | CPU s: pure decoding; until frames; build | asked at once | workers at once | MiB of all "
        "| MiB of a worker's own | load |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in figures:
        memories = [built.memory for built in one.built]
        lines.append(
            f"| {one.case.name} | {_median(d.cpu_s for d in one.decoded):.1f}; "
            f"{_median(b.cpu_s for b in one.until_frames):.1f}; {_median(b.cpu_s for b in one.built):.1f} | "
            f"{max(built.counted.peak for built in one.built)} | "
            f"{max(m.workers for m in memories)} | {max(m.total_mib for m in memories):.0f} | "
            f"{max(m.private_mib for m in memories):.0f} | {', '.join(f'{load:.1f}' for load in one.loads)} |"
        )
    return lines


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _versions() -> str:
    import av
    import httpx

    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], check=False, capture_output=True, text=True)
    commit = told.stdout.strip()
    return (
        f"commit {commit or 'unknown'} · {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, PyAV {av.__version__}, httpx {httpx.__version__}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", type=int, action="append", choices=range(len(CASES)), help="only this one; from 0")
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    chosen = [CASES[number] for number in options.case or range(len(CASES))]
    figures = [measure(case, options.rounds) for case in chosen]
    finish(report(figures, options.rounds), all(one.held for one in figures), options.save)


if __name__ == "__main__":
    main()
