"""A whole build against claude-real-video 0.10.7, the nearest peer that prepares a video for a language model.

    python3 -m venv crv && crv/bin/pip install claude-real-video==0.10.7
    python -m benchmarks.peers --crv crv/bin/claude-real-video --save benchmarks/results/peers.md

Both do what they do without speech: the peer extracts frames and sets near-equal ones aside (`--no-transcribe`), fdvs
builds the story with all that belongs to it (`--screen-text off`). Figures are CPU seconds (user + system) of whole
processes, start-up and children included, both in turn on the same file, medians over the rounds. Needs the ffmpeg
command, which the peer runs. Exits with 1 when a gate does not hold.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.build_cost import FILES, MODES, measure_quietly
from benchmarks.reporting import finish

PEER = "claude-real-video 0.10.7"
GATE_FILE, AIM_SUM = 1 / 5, 1 / 8


@dataclass
class Pair:
    """CPU seconds of each round on one file."""

    ours_s: list[float] = field(default_factory=list)
    theirs_s: list[float] = field(default_factory=list)

    def ratio(self) -> float:
        return statistics.median(a / b for a, b in zip(self.ours_s, self.theirs_s, strict=True))


def compare(videos: Path, crv: Path, rounds: int) -> dict[str, Pair]:
    os.environ["CRV_NO_MEMORY"] = "1"  # else the peer keeps a search database in the home directory
    pairs = {name: Pair() for name in FILES}
    for _ in range(rounds):
        for name, pair in pairs.items():
            path = str(videos / name)
            with tempfile.TemporaryDirectory() as folder:
                build = [sys.executable, "-m", "fdvs.cli.main", "build", path, "-L", f"{folder}/library", "--jobs", "1"]
                pair.ours_s.append(measure_quietly([*build, *MODES["build"]]).cpu_s)
                pair.theirs_s.append(measure_quietly([str(crv), "--no-transcribe", "-o", f"{folder}/out", path]).cpu_s)
    return pairs


def report(pairs: dict[str, Pair], rounds: int) -> tuple[list[str], bool]:
    lines = [
        f"# A whole build against {PEER}",
        "",
        f"`python -m benchmarks.peers --rounds {rounds}` · {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()} · CPU seconds of whole processes, children included, medians",
        "",
        "| file | fdvs s | peer s | fdvs / peer |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {statistics.median(pair.ours_s):.2f} | {statistics.median(pair.theirs_s):.2f} "
        f"| {said(pair.ratio())} |"
        for name, pair in pairs.items()
    ]
    worst = max(pair.ratio() for pair in pairs.values())
    total = statistics.median(
        sum(pair.ours_s[i] for pair in pairs.values()) / sum(pair.theirs_s[i] for pair in pairs.values())
        for i in range(rounds)
    )
    lines += ["", "| target | measured | wanted | |", "| --- | ---: | ---: | --- |"]
    lines.append(f"| each file, the worst | {said(worst)} | gate 1/5 | {'gate' if worst <= GATE_FILE else 'MISSED'} |")
    lines.append(f"| sum of six | {said(total)} | aim 1/8 | {'aim' if total <= AIM_SUM else 'MISSED'} |")
    lines += [
        "",
        "Not the same work: the peer writes pictures for a model to look at, 640 pixels wide, and no text; fdvs writes "
        "and indexes a story of measured facts and subtitles, and keeps one small picture for each clip.",
    ]
    return lines, worst <= GATE_FILE


def said(ratio: float) -> str:
    """0.1 → 1/10.0"""
    return f"1/{1 / ratio:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, default=Path("../shared/data/videos"))
    parser.add_argument("--crv", type=Path, required=True, help="the peer's command, in an environment of its own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    lines, held = report(compare(options.videos, options.crv, options.rounds), options.rounds)
    finish(lines, held, options.save)


if __name__ == "__main__":
    main()
