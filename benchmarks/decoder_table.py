"""Measure which frames PyAV and decord really return, and print the table (Markdown) that the README quotes.

    python benchmarks/decoder_table.py [--shared FOLDER] [--output benchmarks/results/decoder_table.md]

Three ways to read are compared on every file: fdvs with PyAV, decord used directly (`VideoReader(path)[i]`, in its own
process with a time limit), and fdvs with decord, which refuses files that decord reads wrongly. Frames are asked for in
random order. On the rendered files the frame is known by the number in its picture. On real videos it is compared with
all neighbouring frames of a plain front-to-back decode: a frame is wrong when another one fits clearly better.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fdvs.errors import FdvsError, MediaError
from fdvs.media.clips import ClipPlan
from fdvs.media.frame import Frame
from fdvs.media.index import PacketIndex
from fdvs.media.probe import probe
from fdvs.media.reader import read_clips
from fdvs.settings import LimitSettings
from tests.media_files import RECIPES, MediaFacts, read_number, render_all

SIDE = 64
NUM_SAMPLES = 40  # of a real video
REACH = 120  # neighbours that a frame is compared with
TIMEOUT_S = 120
VIDEO_SUFFIXES = {".mp4", ".mkv", ".webm", ".avi", ".ts"}

Thumbs = NDArray[np.uint8]  # [N, SIDE, SIDE]


@dataclass(frozen=True, slots=True)
class Result:
    """Outcome of one way to read one file; `thumbs[n]` belongs to row `rows[n]` in display order."""

    rows: tuple[int, ...] = ()
    thumbs: Thumbs | None = None
    count: int = 0
    refusal: str = ""
    error: str = ""


def thumb(picture: av.VideoFrame) -> Thumbs:
    """Mean of red, green and blue: luma would be another thing after a way through RGB."""
    small = picture.reformat(SIDE, SIDE, "rgb24", interpolation="AREA")
    return np.asarray(small.to_ndarray().mean(axis=2), dtype=np.uint8)


# ---------------------------------------------------------------------------------------------------------------------
# Three ways to read


def decord_child(path: str, limit: int) -> None:
    """Runs in its own process: frames in random order; arrays of an unexpected shape are taken as they come."""
    import decord

    reader = decord.VideoReader(path, num_threads=1)
    rows = sampled_rows(len(reader), limit)
    thumbs = []
    for row in rows:
        array = reader[row].asnumpy()[..., :3]
        thumbs.append(thumb(av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")))
    np.savez(sys.stdout.buffer, rows=np.array(rows), thumbs=np.array(thumbs), count=len(reader))


def sampled_rows(count: int, limit: int) -> list[int]:
    rows = list(range(count))
    random.Random(3).shuffle(rows)
    return rows[:limit]


def read_with_decord_directly(path: Path, limit: int) -> Result:
    command = [sys.executable, __file__, "--decord-child", str(path), str(limit)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return Result(error=f"no answer within {TIMEOUT_S} s")
    if done.returncode:
        return Result(error="cannot read" if done.returncode > 0 else f"crashed (signal {-done.returncode})")
    data = np.load(io.BytesIO(done.stdout))
    return Result(tuple(int(row) for row in data["rows"]), data["thumbs"], int(data["count"]))


def read_with_fdvs(path: Path, limit: int, decoder: str) -> Result:
    """Every sample is a clip of its own, read in random order: each starts with a seek."""
    try:
        _, index = probe(path, LimitSettings())
        count = len(index.display_pts)
        rows = sampled_rows(count, limit)
        if decoder == "decord":  # one process for all: in time order here, its own seeks are random enough
            rows.sort()
            found = read_rows(path, index, rows, decoder)
        else:
            found = {}
            for row in rows:
                found.update(read_rows(path, index, [row], decoder))
    except MediaError as error:
        _, _, reason = str(error).partition("because ")
        if reason:
            return Result(refusal=reason.partition(";")[0])
        return Result(error=error.code)
    except FdvsError as error:
        return Result(error=type(error).__name__)
    return Result(tuple(found), np.array(list(found.values())), count)


def read_rows(path: Path, index: PacketIndex, rows: Sequence[int], decoder: str) -> dict[int, Thumbs]:
    plans = []
    for row in rows:
        pts = int(index.display_pts[row])
        key = int(index.key_pts[max(0, int(np.searchsorted(index.key_pts, pts, side="right")) - 1)])
        plans.append(ClipPlan(pts, pts + 1, key, (pts,)))

    def measure(frame: Frame) -> Thumbs:
        return thumb(av.VideoFrame.from_ndarray(frame.rgb(), format="rgb24"))

    found = {}
    for clip in read_clips(path, index, plans, measure, decoder=decoder):
        for _, pts, picture in clip.frames:
            found[int(np.searchsorted(index.display_pts, pts))] = picture
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Verdicts


def judge_rendered(known: MediaFacts, result: Result) -> str:
    if result.refusal:
        return f"refused: {result.refusal}"
    if result.error:
        return f"error: {result.error}" if known.error is None else f"right (error: {result.error})"
    if known.error is not None:
        return f"**opens it** ({result.count} frames)"
    assert result.thumbs is not None
    wrong = sure = 0
    for row, picture in zip(result.rows, result.thumbs, strict=True):
        if row < len(known.numbers) and known.numbers[row] in known.unsure:
            continue
        sure += 1
        wrong += row >= len(known.numbers) or read_number(picture) != known.numbers[row]
    notes = []
    if result.count != len(known.numbers) and not known.unsure:
        notes.append(f"counts {result.count} of {len(known.numbers)} frames")
    return verdict(wrong, sure, notes)


def verdict(wrong: int, total: int, notes: list[str]) -> str:
    if wrong:
        notes.insert(0, f"{wrong} of {total} frames wrong")
    return f"**wrong**: {', '.join(notes)}" if notes else "right"


def reference(path: Path) -> Thumbs:
    """Every displayed frame of the first video stream, decoded from front to back."""
    thumbs = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for picture in container.decode(stream):
            if picture.pts is not None:
                thumbs[picture.pts] = thumb(picture)
    return np.array([thumbs[pts] for pts in sorted(thumbs)])


def standard(thumbs: Thumbs) -> NDArray[np.float64]:
    """Mean 0, deviation 1: decoders show HDR and colour matrices differently, which is not what is measured here."""
    values = thumbs.astype(np.float64)
    spread = np.maximum(values.std(axis=(1, 2), keepdims=True), 2.0)
    return np.asarray((values - values.mean(axis=(1, 2), keepdims=True)) / spread)


def judge_real(truth: Thumbs, result: Result) -> str:
    if result.refusal:
        return f"refused: {result.refusal}"
    if result.error:
        return f"error: {result.error}"
    assert result.thumbs is not None
    wrong = 0
    for row, picture in zip(result.rows, result.thumbs, strict=True):
        if row >= len(truth):
            wrong += 1
            continue
        first = max(0, row - REACH)
        near = standard(truth[first : row + REACH + 1])
        distances = np.abs(near - standard(picture[None])).mean(axis=(1, 2))
        own = distances[row - first]
        wrong += bool(own > 0.08 and own > distances.min() * 1.5 + 0.02)
    notes = [] if result.count == len(truth) else [f"counts {result.count} of {len(truth)} frames"]
    return verdict(wrong, len(result.rows), notes)


# ---------------------------------------------------------------------------------------------------------------------
# Table

HEADER = (
    "| file | frames | fdvs (PyAV) | decord used directly | fdvs with `run.decoder=decord` |\n|---|---:|---|---|---|"
)


def row_of(name: str, count: int | str, verdicts: Sequence[str]) -> str:
    return f"| {name} | {count} | " + " | ".join(verdicts) + " |"


def readings(path: Path, limit: int) -> list[Result]:
    return [
        read_with_fdvs(path, limit, "pyav"),
        read_with_decord_directly(path, limit),
        read_with_fdvs(path, limit, "decord"),
    ]


def rendered_rows(folder: Path) -> list[str]:
    rows = []
    for name in RECIPES:
        known = render_all(folder, [name])[name]
        verdicts = [judge_rendered(known, result) for result in readings(known.path, 10_000)]
        rows.append(row_of(name, len(known.numbers) if known.error is None else f"({known.error})", verdicts))
        print(rows[-1], flush=True)
    return rows


def real_rows(folder: Path) -> list[str]:
    rows = []
    for path in sorted(folder.glob("*")):
        if path.suffix in VIDEO_SUFFIXES:
            truth = reference(path)
            rows.append(row_of(path.name, len(truth), [judge_real(truth, r) for r in readings(path, NUM_SAMPLES)]))
            print(rows[-1], flush=True)
    clips = sorted((folder / "clips_with_captions").glob("*.mp4"))
    if clips:
        tally: list[dict[str, int]] = [{}, {}, {}]
        total = 0
        for path in clips:
            truth = reference(path)
            total += len(truth)
            for counts, result in zip(tally, readings(path, NUM_SAMPLES), strict=True):
                said = judge_real(truth, result).partition(":")[0]
                counts[said] = counts.get(said, 0) + 1
        texts = [", ".join(f"{count} {said}" for said, count in sorted(counts.items())) for counts in tally]
        rows.append(row_of(f"{len(clips)} short clips", total, texts))
        print(rows[-1], flush=True)
    return rows


def main() -> int:
    if sys.argv[1:2] == ["--decord-child"]:
        decord_child(sys.argv[2], int(sys.argv[3]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, help="folder with real videos; without it only rendered files are read")
    parser.add_argument("--output", type=Path, help="also write the table here")
    options = parser.parse_args()
    av.logging.set_level(None)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("av", "decord", "numpy"))
    ffmpeg = ".".join(str(part) for part in av.library_versions["libavcodec"])
    lines = [
        "# Which frames the decoders return",
        "",
        f"Made by `python benchmarks/decoder_table.py` with {versions} (libavcodec {ffmpeg}).",
        "Frames are asked for in random order. Wrong means that the picture of another frame came back, or a mangled",
        "one, without an error; colours are not compared.",
        "",
        "## Rendered files: the number in the picture says which frame it is (all frames)",
        "",
        HEADER,
    ]
    with tempfile.TemporaryDirectory() as folder:
        lines += rendered_rows(Path(folder))
    if options.shared is not None and options.shared.is_dir():
        lines += [
            "",
            f"## Real videos: {NUM_SAMPLES} frames each, compared with all their neighbours in a front-to-back decode",
            "",
            HEADER,
            *real_rows(options.shared),
        ]
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
