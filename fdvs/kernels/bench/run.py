"""`fdvs kernels bench`: everything that is measured, in an order that tells most first, within a time."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from fdvs.errors import BackendUnavailableError, InputError
from fdvs.kernels.backends import choose
from fdvs.kernels.bench.end_to_end import measure_end_to_end
from fdvs.kernels.bench.inputs import FRAME_TOKENS
from fdvs.kernels.bench.operator import Bench, Contender, measure_operator
from fdvs.kernels.bench.report import draw, to_markdown
from fdvs.kernels.bench.rows import Ledger, Row
from fdvs.kernels.bench.shapes import SHAPES, ModelShape
from fdvs.kernels.choice import choice_of
from fdvs.kernels.names import METHODS, open_method, open_ops

GPU_LENGTHS = tuple(1024 * n for n in (8, 16, 32, 64, 128, 256))
CPU_LENGTHS = (1024, 2048, 4096)
PARTS = ("operator", "end-to-end")
LARGE = tuple(f"grid:stride={FRAME_TOKENS}" if name == "grid" else name for name in METHODS)
SMALL = (
    "dense",
    "tca:window=128,block=32",
    "hybrid:window=128,block=32",
    "cca:window=128",
    "lca:window=128",
    "dga",
    "blocks:block=32",
    "flexprefill:block=32,min_budget=128",
    "xattention:block=32",
    f"grid:window=128,block=16,stride={FRAME_TOKENS}",
)


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What to measure.

    Attributes:
        shapes: names of `SHAPES`; none: the two large models on a GPU, `tiny` on a CPU.
        lengths: tokens; none: 8K … 256K on a GPU, up to 4K on a CPU.
        methods: as words, `tca` or `tca:window=1024,block=64`; none: all there are. On a CPU those of `SMALL`, whose
            windows and groups are small beside the prompts that a CPU has the time for.
        parts: "operator", "end-to-end" or both.
        backend: of ours; "auto" takes Triton on a GPU and gathering on a CPU.
        minutes: no measurement is begun after this.
    """

    shapes: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    parts: tuple[str, ...] = PARTS
    backend: str = "auto"
    minutes: float = 8.0


@dataclass(frozen=True, slots=True)
class BenchResult:
    """The rows there are now, and what there was no time for."""

    rows: list[Row]
    is_complete: bool
    files: tuple[Path, ...]


def run_bench(
    folder: Path, settings: BenchSettings, command: str, say: Callable[[str], None] = lambda line: None
) -> BenchResult:
    """Measures into `folder`: `kernels.csv` as it goes, `kernels.md` and `kernels.png` at the end.

    A run that was stopped, or had no time left, goes on where it was: what the CSV has is not measured again.

    Raises:
        InputError: an unknown part or shape, or a CSV of another version.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    is_gpu = device.type == "cuda"
    shapes = [_shape(name) for name in settings.shapes or (("qwen2.5-vl-7b", "llama-3.1-8b") if is_gpu else ("tiny",))]
    unknown = set(settings.parts) - set(PARTS)
    if unknown:
        raise InputError(f"unknown part {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    folder.mkdir(parents=True, exist_ok=True)
    dtype = torch.bfloat16 if is_gpu else torch.float32
    backend = settings.backend
    if backend == "auto":
        backend, reason = choose(torch.empty(0, dtype=dtype, device=device))
        say(f"back end: {backend}, because {reason}")
    bench = Bench(
        device=device,
        device_name=torch.cuda.get_device_name(device) if is_gpu else f"{platform.machine()} CPU",
        dtype=dtype,
        versions=", ".join(_versions(is_gpu)),
        ops=open_ops(backend),
        ledger=Ledger(folder / "kernels.csv"),
    )
    methods = [contender(words) for words in settings.methods or (LARGE if is_gpu else SMALL)]
    until = time.monotonic() + settings.minutes * 60

    def is_time_left() -> bool:
        return time.monotonic() < until

    for length in settings.lengths or (GPU_LENGTHS if is_gpu else CPU_LENGTHS):
        for shape in shapes:
            for part, measure in (("operator", measure_operator), ("end-to-end", measure_end_to_end)):
                if part in settings.parts and is_time_left():
                    say(f"{part}, {shape.name}, {length} tokens")
                    measure(bench, shape, length, methods, is_time_left)
    return _write(bench, folder, command, is_complete=is_time_left())


def _write(bench: Bench, folder: Path, command: str, *, is_complete: bool) -> BenchResult:
    rows = bench.ledger.rows
    page, picture = folder / "kernels.md", folder / "kernels.png"
    page.write_text(to_markdown(rows, command), encoding="utf-8")
    files = [bench.ledger.path, page]
    try:
        draw(rows, picture)
        files.append(picture)
    except BackendUnavailableError as error:
        with page.open("a", encoding="utf-8") as file:
            file.write(f"\nNo picture was drawn: {error}\n")
    return BenchResult(rows, is_complete, tuple(path for path in files if path.exists()))


def contender(words: str) -> Contender:
    """A method from `NAME` or `NAME:SETTING=VALUE,…`, under the name that its rows are told by."""
    method, _, settings = words.partition(":")
    choice = choice_of(method, [part for part in settings.split(",") if part])
    return Contender(choice.words(), open_method(choice.method, **dict(choice.settings)))


def _shape(name: str) -> ModelShape:
    if name not in SHAPES:
        raise InputError(f"unknown shape {name!r}; known: {', '.join(SHAPES)}")
    return SHAPES[name]


def _versions(is_gpu: bool) -> list[str]:
    found = [f"fdvs {importlib.metadata.version('fdvs')}", f"torch {torch.__version__}"]
    for package in ("triton", "transformers"):
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return [*found, f"CUDA {torch.version.cuda}"] if is_gpu else found
