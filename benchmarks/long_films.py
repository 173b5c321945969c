"""What films of many hours cost: building, memory, and how soon their stories are read.

    python -m benchmarks.long_films --save benchmarks/results/long_films.md

The films are those of the tests (tests/batch/long_films.py): tiny pictures, so that what is measured is the number of
clips and not decoding; built without screen text, of which they have none. Peak memory is that of the largest process.
Reading is wall time of the whole process, best of three; the target is one second each. Exits with 1 when it does not
hold.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.build_cost import Run, measure_quietly
from fdvs.api import Library
from tests.batch.long_films import FEATURE, STATIC_CAMERA, LongFilm

ROUNDS = 3
TARGET_S = 1.0
FDVS = (sys.executable, "-m", "fdvs.cli.main")
QUESTION = "When does the camera pan left over something green?"
FILMS = (
    ("shots, 10 minutes", FEATURE, 600),
    ("shots, 3 hours", FEATURE, 3 * 3600),
    ("static camera, 10 minutes", STATIC_CAMERA, 600),
    ("static camera, 10 hours", STATIC_CAMERA, 10 * 3600),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one film."""

    name: str
    clips: int
    built: Run
    story_s: float
    first_ask_s: float
    ask_s: float

    @property
    def slowest_s(self) -> float:
        return max(self.story_s, self.first_ask_s, self.ask_s)


def best(command: list[str], index: Path | None = None) -> float:
    """Wall seconds, the least of `ROUNDS`; the folder `index` is deleted before each."""
    walls = []
    for _ in range(ROUNDS):
        if index is not None:
            shutil.rmtree(index, ignore_errors=True)
        started = time.perf_counter()
        measure_quietly(command)
        walls.append(time.perf_counter() - started)
    return min(walls)


def measure_film(name: str, made: LongFilm, seconds: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        film, library = Path(folder) / "film.mp4", Path(folder) / "library"
        made.write(film, seconds)
        built = measure_quietly([*FDVS, "build", str(film), "-L", str(library), "--screen-text", "off"])
        with Library(library, create=False) as opened:
            clips = sum(not node.children for node in opened.story(film.name).nodes)
        ask = [*FDVS, "ask", QUESTION, "-L", str(library)]
        return Figures(
            name=name,
            clips=clips,
            built=built,
            story_s=best([*FDVS, "story", film.name, "-L", str(library)]),
            first_ask_s=best(ask, library / "index"),
            ask_s=best(ask),
        )


def report(figures: list[Figures], load: float) -> list[str]:
    lines = [
        "# Films of many hours",
        "",
        f"`python -m benchmarks.long_films` · {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()} · reading: wall time, best of {ROUNDS}, target {TARGET_S:g} s each · load before "
        f"the run {load:.1f}",
        "",
        "| film | clips | build CPU s | peak MiB | `story` s | first `ask` s | later `ask` s | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [
        f"| {one.name} | {one.clips} | {one.built.cpu_s:.1f} | {one.built.peak_mib:.0f} | {one.story_s:.2f} | "
        f"{one.first_ask_s:.2f} | {one.ask_s:.2f} | {'held' if one.slowest_s <= TARGET_S else 'MISSED'} |"
        for one in figures
    ]
    pairs = zip(figures[::2], figures[1::2], strict=True)
    lines += ["", *(f"{b.name}: {b.built.peak_mib / a.built.peak_mib:.2f} × the memory of {a.name}." for a, b in pairs)]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    figures = [measure_film(*film) for film in FILMS]
    lines = report(figures, load)
    print("\n".join(lines))
    if options.save:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.exit(any(one.slowest_s > TARGET_S for one in figures))


if __name__ == "__main__":
    main()
