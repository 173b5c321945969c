"""What reading the screen costs, how little of a film is read, and which lines are lost by that.

    python -m benchmarks.screen_text --cache FOLDER --save benchmarks/results/screen_text.md

The reference of a film are the lines that RapidOCR finds on all its samples: at least 4 letters, confidence 0.9 or
more, seen in at least two samples; lines that are alike by 0.9 are one. It takes minutes and is kept in FOLDER. A line
is kept when one that is alike is among the readings of a build. Misread lines of blurred pictures count as lines.

Costs are CPU seconds. D is the CPU time of ffmpeg decoding the file once with one thread. Needs the ffmpeg command.
Exits with 1 when a gate does not hold.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.build_cost import measure_quietly
from benchmarks.reporting import all_hold, finish, gate_rows
from fdvs.batch.source import probed
from fdvs.media.frame import Frame
from fdvs.media.reader import read_clips
from fdvs.records import Span
from fdvs.screen_text.reader import TextReader
from fdvs.screen_text.readings import MODEL, ReadLine
from fdvs.screen_text.watch import Shown, TextWatch, WatchState
from fdvs.settings import Settings

SLIDES = {"lecture_deep_learning_welcome.mp4": "360p", "talk_slides_laion_1080p.mp4": "1080p"}
FILM = "bbb_full_448x252.mkv"
ALIKE = 0.9
LEAST_LETTERS, LEAST_SCORE, LEAST_SAMPLES = 4, 0.9, 2
FRAMES_TIMED = 8

Line = tuple[str, float]


@dataclass(frozen=True)
class Slides:
    """What reading a slide film came to. `lost` are lines of the reference that no reading has."""

    samples: int
    read: int
    lines: int
    lost: tuple[str, ...]
    frame_s: float


@dataclass(frozen=True)
class Build:
    """One whole build in processes of its own."""

    duration_s: float
    decode_s: float
    cpu_s: float
    peak_mib: float


def plain(text: str) -> str:
    return "".join(text.lower().split())


def alike(a: str, b: str) -> bool:
    return a == b or difflib.SequenceMatcher(None, a, b, autojunk=False).ratio() >= ALIKE


def counted(lines: Iterable[Line]) -> Iterator[str]:
    """The lines that count, as plain text."""
    for text, score in lines:
        if score >= LEAST_SCORE and sum(character.isalpha() for character in text) >= LEAST_LETTERS:
            yield plain(text)


def reference(path: Path, cache: Path) -> list[list[Line]]:
    """The lines of every sample of a film, from the cache where they are there."""
    kept = cache / f"{path.name}.{path.stat().st_size}.json"
    if not kept.exists():
        source, reader = probed(path, Settings()), TextReader()

        def look(frame: Frame) -> list[Line]:
            return [(line.text, line.score) for line in reader.read(frame.rgb())]

        clips = read_clips(path, source.index, source.plans, look)
        found = [lines for clip in clips for _, _, lines in clip.frames]
        cache.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
    return [[(text, score) for text, score in lines] for lines in json.loads(kept.read_text(encoding="utf-8"))]


def reference_lines(samples: Iterable[Iterable[Line]]) -> list[str]:
    """Lines seen in at least two samples, those that are alike as one."""
    groups: list[str] = []
    seen: list[int] = []
    for lines in samples:
        here: set[int] = set()
        for line in counted(lines):
            found = next((i for i, one in enumerate(groups) if alike(one, line)), len(groups))
            if found == len(groups):
                groups.append(line)
                seen.append(0)
            seen[found] += found not in here
            here.add(found)
    return [line for line, times in zip(groups, seen, strict=True) if times >= LEAST_SAMPLES]


def slides(path: Path, cache: Path) -> Slides:
    """Read a film as a build does, and compare."""
    source, reader = probed(path, Settings()), TextReader()
    watch = TextWatch(WatchState(), lambda: reader)
    firsts = {plan.sample_pts[0] for plan in source.plans}
    spread = set(sorted(firsts)[:: max(1, len(firsts) // FRAMES_TIMED)])
    timed: list[float] = []

    def look(frame: Frame) -> Shown:
        if frame.pts in spread:
            start = time.process_time()
            reader.read(frame.rgb())
            timed.append(time.process_time() - start)
        return watch.shown(frame, begins_clip=frame.pts in firsts)

    samples, read, got = 0, 0, list[ReadLine]()
    for clip in read_clips(path, source.index, source.plans, look):
        span = Span(source.index.ms(clip.plan.start_pts), source.index.ms(clip.plan.end_pts))
        readings = watch.read(span, [(at, shown) for at, _, shown in clip.frames])
        samples += len(clip.frames)
        read += sum(reading.outcome == "read" for reading in readings)
        got += [line for reading in readings for line in reading.lines]
    wanted, kept = reference_lines(reference(path, cache)), {plain(line.text) for line in got}
    lost = tuple(line for line in wanted if not any(alike(line, one) for one in kept))
    return Slides(samples, read, len(wanted), lost, statistics.median(timed))


def build(path: Path, rounds: int) -> Build:
    """Medians of whole builds and of plain decoding, in turn."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise SystemExit("needs the ffmpeg command")
    plain_decode = [ffmpeg, "-v", "error", "-threads", "1", "-i", str(path), "-map", "0:v:0", "-f", "null", "-"]
    decode_s, runs = [], []
    for _ in range(rounds):
        decode_s.append(measure_quietly(plain_decode).cpu_s)
        with tempfile.TemporaryDirectory() as library:
            command = [sys.executable, "-m", "fdvs.cli.main", "build", str(path), "-L", library, "--jobs", "1"]
            runs.append(measure_quietly(command))
    return Build(
        probed(path, Settings()).index.duration_ms / 1000,
        statistics.median(decode_s),
        statistics.median(run.cpu_s for run in runs),
        max(run.peak_mib for run in runs),
    )


def report(read: dict[str, Slides], builds: dict[str, Build], rounds: int) -> tuple[list[str], bool]:
    lines = [
        "# What reading the screen costs",
        "",
        f"`python -m benchmarks.screen_text --rounds {rounds}` · {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()} · {MODEL}, one thread · CPU seconds, medians",
        "",
        "| slides | samples | read | lines of the reference | kept | a reading s |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {one.samples} | {one.read} | {one.lines} | {one.lines - len(one.lost)} | {one.frame_s:.2f} |"
        for name, one in read.items()
    ]
    lines += ["", *(f"Lost in {name}: {', '.join(map(repr, one.lost)) or 'none'}." for name, one in read.items())]
    lines += ["", "| whole build | seconds of film | CPU s | per second of film | × D | MiB |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: |"]
    lines += [
        f"| {name} | {one.duration_s:.0f} | {one.cpu_s:.1f} | {one.cpu_s / one.duration_s:.3f} | "
        f"{one.cpu_s / one.decode_s:.1f} | {one.peak_mib:.0f} |"
        for name, one in builds.items()
    ]
    total, lost = sum(one.lines for one in read.values()), sum(len(one.lost) for one in read.values())
    share = sum(one.read for one in read.values()) / sum(one.samples for one in read.values())
    per_second = max(builds[name].cpu_s / builds[name].duration_s for name in SLIDES)
    by_height = {SLIDES[name]: one.frame_s for name, one in read.items()}
    gates = [
        ("a reading at 360p, CPU s", by_height["360p"], 0.6, 0.5),
        ("a reading at 1080p, CPU s", by_height["1080p"], 1.25, 1.0),
        ("share of samples read, both slide films", share, 0.20, 0.12),
        ("share of lines lost, both slide films", lost / total, 0.02, 0.02),
        ("whole build of a slide film, CPU s per second of film, the worse", per_second, 0.12, 0.08),
        ("whole build of the moving film, × D", builds[FILM].cpu_s / builds[FILM].decode_s, 12, 6),
        ("peak memory of the largest process, MiB", max(one.peak_mib for one in builds.values()), 800, 700),
    ]
    lines += ["", *gate_rows(gates, ".3g")]
    return lines, all_hold(gates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, default=Path("../shared/data/videos"))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "fdvs-screen-text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    builds = {name: build(options.videos / name, options.rounds) for name in (*SLIDES, FILM)}
    read = {name: slides(options.videos / name, options.cache) for name in SLIDES}
    lines, held = report(read, builds, options.rounds)
    finish(lines, held, options.save)


if __name__ == "__main__":
    main()
