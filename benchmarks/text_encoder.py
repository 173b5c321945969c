"""How fast and how faithful the sentence encoder in the package is.

    python -m benchmarks.text_encoder ../shared/data/text/msrvtt_test_captions.jsonl.gz \\
        ../shared/data/text/activitynet_captions_qa.jsonl.gz \\
        ../shared/data/text/nextqa_val_captions_qa_grounding.jsonl.gz --save benchmarks/results/text_encoder.md

Speed: distinct captions of the first file per second of CPU time on one thread, tokenising included, model loaded
before. Median and best over the rounds, the ways of running taking turns. Likeness: cosine of every caption's vector
to the float32 network run by transformers (needs what tools/export_minilm.py needs). Exits with 1 when a gate does not
hold: 400 captions per second, cosine 0.99 on average.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fdvs.encoders.minilm import MiniLM
from tools.export_minilm import caption_sample, reference_vectors, source_folder

GATE_PER_S, GATE_COSINE = 400, 0.99
LOADS = 5
Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def in_batches(encoder: MiniLM, size: int) -> Encode:
    """The same network over batches of texts of equal length: what the encoder would do if it batched."""

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        ids = [encoder._tokenizer.encode(text).ids for text in texts]
        by_length: dict[int, list[int]] = {}
        for row, tokens in enumerate(ids):
            by_length.setdefault(len(tokens), []).append(row)
        vectors = np.empty((len(texts), encoder.dimension), np.float32)
        for rows in by_length.values():
            for start in range(0, len(rows), size):
                batch = rows[start : start + size]
                vectors[batch] = encoder._session.run(None, {"ids": np.array([ids[row] for row in batch], np.int64)})[0]
        return vectors

    return encode


def captions_per_s(ways: dict[str, Encode], texts: Sequence[str], rounds: int) -> dict[str, list[float]]:
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, encode in ways.items():
            start = time.process_time()
            encode(texts)
            speeds[name].append(len(texts) / (time.process_time() - start))
    return speeds


def load_ms() -> float:
    """Median CPU time from a new encoder to its first vector, onnxruntime and tokenizers being imported already."""
    times = []
    for _ in range(LOADS):
        start = time.process_time()
        MiniLM().encode(["ready"])
        times.append((time.process_time() - start) * 1000)
    return statistics.median(times)


def cpu_name() -> str:
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    known = [flag for flag in ("avx2", "avx_vnni", "avx512f", "avx512_vnni") if flag in flags]
    return f"{names[0] if names else platform.machine()} ({', '.join(known)})"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("captions", type=Path, nargs="+", help="caption files; the first one is used for speed")
    parser.add_argument("--count", type=int, default=2000, help="captions for speed")
    parser.add_argument("--compared", type=int, default=300, help="captions per file for likeness")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()

    encoder = MiniLM()
    encoder.encode(["ready"])
    texts = caption_sample(arguments.captions[0], arguments.count)
    words = statistics.mean(len(text.split()) for text in texts)
    ways: dict[str, Encode] = {
        "shipped: one text per run": encoder.encode,
        "batches of 8 of equal length": in_batches(encoder, 8),
        "batches of 32 of equal length": in_batches(encoder, 32),
    }
    speeds = captions_per_s(ways, texts, arguments.rounds)
    shipped = statistics.median(speeds["shipped: one text per run"])

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    lines = [
        "# Sentence encoder in the package",
        "",
        f"Command: `{' '.join(['python -m benchmarks.text_encoder', *sys.argv[1:]])}`",
        "",
        f"{cpu_name()}; onnxruntime {version('onnxruntime')}, tokenizers {version('tokenizers')}, Python "
        f"{platform.python_version()}, commit {commit.stdout.strip() or 'unknown'}. One thread.",
        "",
        f"{len(texts)} distinct captions of {arguments.captions[0].name}, {words:.1f} words on average. Loading and "
        f"the first text: {load_ms():.0f} ms of CPU time.",
        "",
        f"| way | captions per CPU-second, median of {arguments.rounds} | best |",
        "|---|---:|---:|",
        *(f"| {name} | {statistics.median(found):.0f} | {max(found):.0f} |" for name, found in speeds.items()),
        "",
        "| captions of | compared | cosine to float32: mean | min |",
        "|---|---:|---:|---:|",
    ]
    means = []
    for path in arguments.captions:
        sample = caption_sample(path, arguments.compared)
        cosines = np.sum(encoder.encode(sample) * reference_vectors(source_folder(), sample), axis=1)
        means.append(float(cosines.mean()))
        lines.append(f"| {path.name} | {len(sample)} | {cosines.mean():.4f} | {cosines.min():.4f} |")
    held = shipped >= GATE_PER_S and min(means) >= GATE_COSINE
    lines += [
        "",
        f"Gates (≥ {GATE_PER_S} captions per second, mean cosine ≥ {GATE_COSINE}): {'hold' if held else 'FAIL'}.",
    ]
    report = "\n".join(lines) + "\n"
    print(report)
    if arguments.save is not None:
        arguments.save.write_text(report, encoding="utf-8")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
