"""What a build costs, as ratios to plain decoding within one run.

    python benchmarks/build_cost.py --videos ../shared/data/videos --rounds 3 --save benchmarks/results/build_cost.md

D is the CPU time (user + system) of `ffmpeg -v error -threads 1 -i FILE -map 0:v:0 -f null -` on the same file in the
same round. Every figure is the CPU time of whole processes, start-up and children included, median over the rounds.
In the columns of the files each is built by a command of its own, which starts Python twice; "one command" builds all
of them as one does with a folder. Needs the ffmpeg command. Exits with 1 when a gate does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.reporting import all_hold, finish, gate_rows

FILES = (
    "bbb_full_448x252.mkv",
    "lecture_deep_learning_welcome.mp4",
    "talk_slides_laion_1080p.mp4",
    "static_camera_one_by_one.mp4",
    "tears_of_steel_battle_vp8.webm",
    "bbb_30s_360p.ts",
)
TALK = "talk_slides_laion_1080p.mp4"
MODES = {
    "frames": ["--screen-text", "off", "--until", "frames"],
    "build": ["--screen-text", "off"],
    "keyframes": ["--screen-text", "off", "--frames", "keyframes", "--until", "frames"],
    "keyframes build": ["--screen-text", "off", "--frames", "keyframes"],
}


@dataclass
class Run:
    """CPU seconds and the peak resident size of the largest process of one command."""

    cpu_s: float
    peak_mib: float


def measure(command: list[str]) -> Run:
    """Run a command to its end; children that it waited for are counted in."""
    pid = os.spawnv(os.P_NOWAIT, command[0], command)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"failed with status {status}: {' '.join(command)}")
    return Run(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def measure_quietly(command: list[str]) -> Run:
    """`measure` with stdout and stderr thrown away."""
    saved = os.dup(1), os.dup(2)
    with Path(os.devnull).open("w") as null:
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
        try:
            return measure(command)
        finally:
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            os.close(saved[0])
            os.close(saved[1])


def build_command(paths: list[str], library: str, flags: list[str]) -> list[str]:
    return [sys.executable, "-m", "fdvs.cli.main", "build", *paths, "-L", library, "--jobs", "1", *flags]


@dataclass
class FileFigures:
    decode_s: list[float] = field(default_factory=list)
    mode_s: dict[str, list[float]] = field(default_factory=lambda: {mode: [] for mode in MODES})
    peak_mib: float = 0.0
    samples: int = 0

    def ratio(self, mode: str) -> float:
        return statistics.median(m / d for m, d in zip(self.mode_s[mode], self.decode_s, strict=True))


Figures = tuple[dict[str, FileFigures], dict[str, list[float]]]


def run_all(videos: Path, rounds: int) -> Figures:
    """What each file costs, and by mode what all of them cost in one command, in every round."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise SystemExit("needs the ffmpeg command")
    figures = {name: FileFigures() for name in FILES}
    together: dict[str, list[float]] = {mode: [] for mode in MODES}
    for _ in range(rounds):
        for name in FILES:
            one, path = figures[name], str(videos / name)
            one.decode_s.append(
                measure_quietly(
                    [ffmpeg, "-v", "error", "-threads", "1", "-i", path, "-map", "0:v:0", "-f", "null", "-"]
                ).cpu_s
            )
            for mode, flags in MODES.items():
                with tempfile.TemporaryDirectory() as library:
                    run = measure_quietly(build_command([path], library, flags))
                    one.mode_s[mode].append(run.cpu_s)
                    one.peak_mib = max(one.peak_mib, run.peak_mib)
                    if mode == "build":
                        one.samples = count_samples(name, library)
        for mode, flags in MODES.items():
            with tempfile.TemporaryDirectory() as library:
                paths = [str(videos / name) for name in FILES]
                together[mode].append(measure_quietly(build_command(paths, library, flags)).cpu_s)
    return figures, together


def count_samples(name: str, library: str) -> int:
    shown = subprocess.run(
        [sys.executable, "-m", "fdvs.cli.main", "redundancy", name, "-L", library, "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(json.loads(shown.stdout)["frames_sampled"])


def summed_ratio(figures: dict[str, FileFigures], mode: str) -> float:
    """Sum over files, per round, then the median of the rounds."""
    return ratio_to_decoding(
        figures, [sum(s) for s in zip(*(one.mode_s[mode] for one in figures.values()), strict=True)]
    )


def ratio_to_decoding(figures: dict[str, FileFigures], seconds: list[float]) -> float:
    """CPU seconds of each round over those of decoding all files in it; the median of the rounds."""
    decoding = by_round([one.decode_s for one in figures.values()])
    return statistics.median(s / d for s, d in zip(seconds, decoding, strict=True))


def by_round(seconds: list[list[float]]) -> list[float]:
    """Seconds of each file in every round, summed over the files."""
    return [sum(of_round) for of_round in zip(*seconds, strict=True)]


def file_margin(one: FileFigures) -> float:
    """Seconds left below 0.6 s + 1.05·D + 1.2 ms × samples (median of the rounds); negative = gate broken."""
    return statistics.median(
        0.6 + 1.05 * d + 0.0012 * one.samples - b for d, b in zip(one.decode_s, one.mode_s["build"], strict=True)
    )


def report(measured: Figures, rounds: int) -> tuple[list[str], bool]:
    figures, together = measured
    lines = [
        "# What a build costs",
        "",
        f"`python benchmarks/build_cost.py --rounds {rounds}` · {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, load {os.getloadavg()[2]:.1f} · "
        "CPU seconds, medians; D = ffmpeg full decode, one thread, same round",
        "",
        "| file | D s | frames stage × D | build × D | key frames: stage × D | build × D | samples | room s | MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {statistics.median(one.decode_s):.2f} | {one.ratio('frames'):.2f} | {one.ratio('build'):.2f} | "
        f"{one.ratio('keyframes'):.2f} | {one.ratio('keyframes build'):.2f} | {one.samples} | "
        f"{file_margin(one):+.2f} | {one.peak_mib:.0f} |"
        for name, one in figures.items()
    ]
    gates = [
        ("clips + samples + descriptor + selection, a command each, sum", summed_ratio(figures, "frames"), 1.1, 0.8),
        ("the same, one command", ratio_to_decoding(figures, together["frames"]), 1.1, 0.8),
        ("whole build without screen text, a command each, sum", summed_ratio(figures, "build"), 1.3, 1.0),
        ("the same, one command", ratio_to_decoding(figures, together["build"]), 1.3, 1.0),
        ("1080p talk, whole build", figures[TALK].ratio("build"), 0.5, 0.3),
        ("key-frame mode, up to frame selection, a command each, sum", summed_ratio(figures, "keyframes"), 0.3, 0.2),
        ("the same, one command", ratio_to_decoding(figures, together["keyframes"]), 0.3, 0.2),
        ("peak memory of the largest process, MiB", max(one.peak_mib for one in figures.values()), 200, 150),
        (
            "each file: room below 0.6 s + 1.05·D + 1.2 ms × samples, negated",
            -min(map(file_margin, figures.values())),
            0,
            0,
        ),
    ]
    lines += ["", *gate_rows(gates, ".2f")]
    return lines, all_hold(gates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, default=Path("../shared/data/videos"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    lines, held = report(run_all(options.videos, options.rounds), options.rounds)
    finish(lines, held, options.save)


if __name__ == "__main__":
    main()
