"""Shot cuts of fdvs against PySceneDetect 0.7.2 on real films: what they cost, and where the two disagree.

    python3 -m venv psd && psd/bin/pip install scenedetect==0.7.2 opencv-python
    python -m benchmarks.shot_cuts --psd-python psd/bin/python --sheets sheets --save benchmarks/results/shot_cuts.md

Costs are CPU seconds (user + system) of whole processes over D, the CPU time of decoding the file once with ffmpeg on
one thread; fdvs is `build --shot-cuts on --until clips`, library included. Two cuts are the same when at most two
pictures lie between them; a fade through black matches anywhere in its black. `--sheets` writes a PNG for each file
with the pictures in front of and at every cut that only one side has: who is right is for eyes to say, and what was
said stands in the saved file under "Looked at", which is kept when it is written anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

from benchmarks.build_cost import measure_quietly
from fdvs.batch.shots import stored_or_found_cuts
from fdvs.media.container import choose_stream, open_container
from fdvs.media.index import PacketIndex
from fdvs.media.probe import probe
from fdvs.settings import LimitSettings
from fdvs.store.library import Store

SUFFIXES = {".mp4", ".mkv", ".webm", ".avi", ".ts"}
DETECTORS = ("ContentDetector", "AdaptiveDetector")
WITHIN = 2  # pictures
TILE_WIDTH = 220
EYES = "## Looked at"
# Runs in the peer's own Python: cuts in milliseconds, as JSON into a file.
PEER = """
import json, sys
import scenedetect
video, detector, out = sys.argv[1:]
scenes = scenedetect.detect(video, getattr(scenedetect, detector)())
json.dump([round(1000 * start.seconds) for start, _ in scenes[1:]], open(out, "w"))
"""

Stretch = tuple[int, int]  # numbers of pictures: black begins, the shot begins


@dataclass(frozen=True, slots=True)
class FileFigures:
    """Costs in CPU seconds, and cuts as numbers of pictures in display order."""

    index: PacketIndex
    decode_s: float
    ours_s: float
    ours: tuple[Stretch, ...]
    peer_s: dict[str, float]
    peer: dict[str, tuple[int, ...]]

    def only_ours(self, detector: str) -> list[Stretch]:
        return [cut for cut in self.ours if not any(_same(cut, other) for other in self.peer[detector])]

    def only_theirs(self, detector: str) -> list[int]:
        return [other for other in self.peer[detector] if not any(_same(cut, other) for cut in self.ours)]


def _same(cut: Stretch, other: int) -> bool:
    return cut[0] - WITHIN <= other <= cut[1] + WITHIN


def measure_file(path: Path, psd_python: Path, ffmpeg: str) -> FileFigures:
    _, index = probe(path, LimitSettings())
    decode = [ffmpeg, "-v", "error", "-threads", "1", "-i", str(path), "-map", "0:v:0", "-f", "null", "-"]
    decode_s = measure_quietly(decode).cpu_s
    times = np.array([index.ms(int(pts)) for pts in index.display_pts])
    with tempfile.TemporaryDirectory() as folder:
        build = [sys.executable, "-m", "fdvs.cli.main", "build", str(path), "-L", f"{folder}/library"]
        ours_s = measure_quietly([*build, "--jobs", "1", "--shot-cuts", "on", "--until", "clips"]).cpu_s
        with Store.open(Path(folder) / "library", create=False) as store:
            (video,) = store.videos()
            cuts = stored_or_found_cuts(store, video.id, path, index)  # stored by the build: nothing is decoded here
        ours = tuple(
            (int(np.searchsorted(index.display_pts, c.black_pts)), int(np.searchsorted(index.display_pts, c.pts)))
            for c in cuts
        )
        peer_s, peer = {}, {}
        for detector in DETECTORS:
            out = f"{folder}/{detector}.json"
            peer_s[detector] = measure_quietly([str(psd_python), "-c", PEER, str(path), detector, out]).cpu_s
            found = json.loads(Path(out).read_text(encoding="utf-8"))
            peer[detector] = tuple(int(np.abs(times - ms).argmin()) for ms in found)
    return FileFigures(index, decode_s, ours_s, ours, peer_s, peer)


def report(figures: dict[str, FileFigures]) -> list[str]:
    lines = [
        "# Shot cuts against PySceneDetect 0.7.2",
        "",
        f"`python -m benchmarks.shot_cuts` · {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()} · D = ffmpeg full decode, one thread; C, A = its content and adaptive detector",
        "",
        "| file | D s | fdvs × D | C × D | A × D | cuts: fdvs | C | A | C: same, only fdvs, only C "
        "| A: same, only fdvs, only A |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for name, one in figures.items():
        ratios = [one.ours_s, *(one.peer_s[detector] for detector in DETECTORS)]
        lines.append(
            f"| {name} | {one.decode_s:.2f} | {' | '.join(f'{s / one.decode_s:.2f}' for s in ratios)} "
            f"| {len(one.ours)} | {' | '.join(str(len(one.peer[d])) for d in DETECTORS)} "
            f"| {' | '.join(_agreement(one, d) for d in DETECTORS)} |"
        )
    decode_s = sum(one.decode_s for one in figures.values())
    sums = [sum(one.ours_s for one in figures.values())]
    sums += [sum(one.peer_s[detector] for one in figures.values()) for detector in DETECTORS]
    lines.append(f"| **sum** | {decode_s:.2f} | {' | '.join(f'{s / decode_s:.2f}' for s in sums)} | | | | | |")
    return lines


def _agreement(one: FileFigures, detector: str) -> str:
    ours, theirs = one.only_ours(detector), one.only_theirs(detector)
    return f"{len(one.peer[detector]) - len(theirs)}, {len(ours)}, {len(theirs)}"


def write_sheet(path: Path, one: FileFigures, target: Path) -> None:
    """Pictures in front of and at every cut that only one side has: `+` only fdvs, `C`, `A` only that detector."""
    labels: dict[int, str] = {}
    for detector in DETECTORS:
        for _, at in one.only_ours(detector):
            labels[at] = labels.get(at, "+") + detector[0].lower()
        for at in one.only_theirs(detector):
            labels[at] = labels.get(at, "") + detector[0]
    tiles = list(_tiles(path, one.index, labels))
    if not tiles:
        return
    width, height = 2 * TILE_WIDTH + 8, max(tile.height for tile in tiles) + 4
    sheet = Image.new("RGB", (3 * width, -(-len(tiles) // 3) * height), "darkred")
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % 3 * width, place // 3 * height))
    sheet.save(target)


def _tiles(path: Path, index: PacketIndex, labels: dict[int, str]) -> Iterator[Image.Image]:
    before: Image.Image | None = None
    with open_container(path) as container:
        stream, _ = choose_stream(container)
        for frame in container.decode(stream):
            if frame.pts is None:
                continue
            at = int(np.searchsorted(index.display_pts, frame.pts))
            if at not in labels and at + 1 not in labels:
                continue
            picture = _small(frame)
            if at in labels:
                tile = Image.new("RGB", (2 * TILE_WIDTH, picture.height + 14))
                tile.paste(before or picture, (0, 14))
                tile.paste(picture, (TILE_WIDTH, 14))
                ImageDraw.Draw(tile).text((2, 1), f"{index.ms(frame.pts) / 1000:.3f} s  {labels[at]}", fill="white")
                yield tile
            before = picture


def _small(frame: av.VideoFrame) -> Image.Image:
    height = TILE_WIDTH * frame.height // frame.width
    return Image.fromarray(frame.to_ndarray(format="rgb24", width=TILE_WIDTH, height=height))


def save(target: Path, lines: Sequence[str]) -> None:
    """Write the figures and keep what eyes said below them."""
    told = target.read_text(encoding="utf-8").partition(EYES) if target.exists() else ("", "", "")
    target.write_text("\n".join(lines) + "\n" + (f"\n{EYES}{told[2]}" if told[1] else ""), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, default=Path("../shared/data/videos"))
    parser.add_argument("--psd-python", type=Path, required=True, help="Python of an environment with scenedetect")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets of the disagreements")
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise SystemExit("needs the ffmpeg command")
    figures: dict[str, FileFigures] = {}
    for path in sorted(path for path in options.videos.iterdir() if path.suffix in SUFFIXES):
        figures[path.name] = measure_file(path, options.psd_python, ffmpeg)
        if options.sheets:
            options.sheets.mkdir(parents=True, exist_ok=True)
            write_sheet(path, figures[path.name], options.sheets / f"{path.name}.png")
    lines = report(figures)
    print("\n".join(lines))
    if options.save:
        save(options.save, lines)


if __name__ == "__main__":
    main()
