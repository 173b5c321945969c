"""How long commands take that people wait for, as wall time of the whole process.

    python -m benchmarks.latency --videos ../shared/data/videos --save benchmarks/results/latency.md

Best of five with warm caches; `python -c pass` of the same run tells how busy the machine was. The first search of a
library also writes its index: the index is deleted before each of its rounds. Exits with 1 when a gate does not hold.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.build_cost import FILES, measure_quietly

ROUNDS = 5
FDVS = (sys.executable, "-m", "fdvs.cli.main")


@dataclass(frozen=True, slots=True)
class Timed:
    """Best wall time and the least CPU time (user + system) of one command, in seconds."""

    name: str
    wall_s: float
    cpu_s: float
    gate_s: float | None = None
    aim_s: float | None = None

    @property
    def verdict(self) -> str:
        if self.gate_s is None or self.aim_s is None:
            return ""
        return "aim" if self.wall_s <= self.aim_s else "gate" if self.wall_s <= self.gate_s else "MISSED"


def best(command: list[str], before: Callable[[], object] = lambda: None) -> tuple[float, float]:
    """(wall, CPU) seconds, the least of `ROUNDS`; `before` runs outside the clock."""
    walls, cpus = [], []
    for _ in range(ROUNDS):
        before()
        started = time.perf_counter()
        run = measure_quietly(command)
        walls.append(time.perf_counter() - started)
        cpus.append(run.cpu_s)
    return min(walls), min(cpus)


def run_all(videos: Path) -> list[Timed]:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        build = [*FDVS, "build", *(str(videos / name) for name in FILES), "-L", str(library), "--screen-text", "off"]
        subprocess.run(build, check=True, capture_output=True)
        search = [*FDVS, "search", "a man explains networks", "-L", str(library)]
        ask = [*FDVS, "ask", "What is the lecture about?", "-L", str(library)]
        story = [*FDVS, "story", FILES[0], "-L", str(library)]
        return [
            Timed("python -c pass", *best([sys.executable, "-c", "pass"])),
            Timed("fdvs --help", *best([*FDVS, "--help"]), 0.3, 0.2),
            Timed(
                "first fdvs search",
                *best(search, lambda: shutil.rmtree(library / "index", ignore_errors=True)),
                0.5,
                0.3,
            ),
            Timed("later fdvs search", *best(search), 0.5, 0.3),
            Timed("fdvs ask", *best(ask)),
            Timed("fdvs story", *best(story)),
        ]


def report(timed: list[Timed], load: float) -> list[str]:
    lines = [
        "# How long commands take",
        "",
        f"`python -m benchmarks.latency` · {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()} · best of {ROUNDS}, whole process, warm caches · load before the run {load:.1f}",
        "",
        f"The library holds the {len(FILES)} films of `build_cost.md`.",
        "",
        "| command | wall s | CPU s | gate | aim | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in timed:
        limits = " | ".join("" if limit is None else f"{limit:g}" for limit in (one.gate_s, one.aim_s))
        lines.append(f"| `{one.name}` | {one.wall_s:.3f} | {one.cpu_s:.3f} | {limits} | {one.verdict} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, default=Path("../shared/data/videos"))
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    timed = run_all(options.videos)
    lines = report(timed, load)
    print("\n".join(lines))
    if options.save:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.exit(any(one.verdict == "MISSED" for one in timed))


if __name__ == "__main__":
    main()
