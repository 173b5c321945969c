"""What is installed, what is missing and how to get it. Reads metadata and files; imports no heavy package."""

from __future__ import annotations

import hashlib
import http.client
import importlib.metadata
import json
import os
import platform
import re
import shutil
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from fdvs import __version__
from fdvs.chat.hosts import is_loopback, server_of
from fdvs.errors import UsageError
from fdvs.models.here import find_recommended
from fdvs.models.lock import LockError, lock_path, read_lock
from fdvs.models.table import RECOMMENDED, by_name
from fdvs.settings import load_settings
from fdvs.store.kept_pictures import size_bytes as kept_size

# Distributions of the core, and what each optional one brings: (distribution, extra, what it is for).
CORE = ("av", "numpy", "pillow", "onnxruntime", "rapidocr", "tokenizers", "pysubs2", "typer", "click", "rich")
OPTIONAL = (
    ("torch", "models", "models run by PyTorch"),
    ("transformers", "models", "models in this process, CLIP and SigLIP"),
    ("sentence-transformers", "models", "other sentence encoders"),
    ("open_clip_torch", "openclip", "OpenCLIP picture encoders"),
    ("safetensors", "models", "the weights of models"),
    ("huggingface_hub", "models", "getting models"),
    ("vllm", "serve", "models served fast, on a GPU"),
    ("decord", "decord", "the decoder decord"),
)
# Distributions that write the same files: with both, the last one installed wins, and removing one breaks the other.
CLASHES = (
    ("faiss-cpu", "faiss-gpu"),
    ("opencv-python", "opencv-python-headless"),
    ("decord", "decord2"),
)
DECODERS = {"H.264": ("h264",), "HEVC": ("hevc",), "VP9": ("vp9",), "AV1": ("libdav1d", "libaom-av1")}
SERVER_TIMEOUT_S = 2.0
MINIMUM_FREE_BYTES = 2 * 1024**3
ENCODER_FOLDER = Path(__file__).parent / "encoders" / "minilm"
GPU_FOLDER = Path("/proc/driver/nvidia/gpus")


class Status(StrEnum):
    """How one check ended. Only `ERROR` keeps fdvs from working; `ABSENT` is a choice."""

    OK = "ok"
    ABSENT = "absent"
    WARNING = "warning"
    ERROR = "error"


MARKS = {Status.OK: "ok  ", Status.ABSENT: "-   ", Status.WARNING: "WARN", Status.ERROR: "FAIL"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `mend` is a command line, or empty where nothing needs mending."""

    name: str
    status: Status
    detail: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All checks, in the order in which they are shown."""

    checks: tuple[Check, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": not any(check.status is Status.ERROR for check in self.checks),
            "checks": [
                {"name": check.name, "status": str(check.status), "detail": check.detail, "mend": check.mend or None}
                for check in self.checks
            ],
        }

    def lines(self) -> list[str]:
        width = max(len(check.name) for check in self.checks)
        lines = []
        for check in self.checks:
            lines.append(f"{MARKS[check.status]}  {check.name:<{width}}  {check.detail}")
            if check.mend:
                lines.append(f"{'':6}{'':<{width}}  → {check.mend}")
        counts = {status: sum(check.status is status for check in self.checks) for status in Status}
        lines.append(f"errors: {counts[Status.ERROR]}, warnings: {counts[Status.WARNING]}")
        return lines


def diagnose(library: Path | None) -> Report:
    """Look at this installation and, where it is given, at the library in folder `library`."""
    return Report(
        (
            _python(),
            *_core(),
            _decoders(),
            _full_text_search(),
            _sentence_encoder(),
            _vector_index(),
            *_optional(),
            _server_client(),
            _models(),
            *_servers(library),
            *_clashes(),
            *_torchvision(),
            _gpu(),
            _library(library),
            _disk(library),
        )
    )


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _install(extra: str = "") -> str:
    """The pip line that brings an extra, for a clone or for an installed package."""
    try:
        origin = importlib.metadata.distribution("fdvs").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        origin = None
    suffix = f"[{extra}]" if extra else ""
    if origin is not None and json.loads(origin).get("dir_info", {}).get("editable"):
        return f'pip install -c constraints.txt -e ".{suffix}"'
    return f'pip install "fdvs{suffix}"'


def _python() -> Check:
    detail = f"fdvs {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return Check("fdvs", Status.OK, detail)


def _core() -> Iterator[Check]:
    versions = {name: _version(name) for name in CORE}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        yield Check("core packages", Status.ERROR, f"missing: {', '.join(missing)}", _install())
    else:
        detail = ", ".join(f"{name} {version}" for name, version in versions.items())
        yield Check("core packages", Status.OK, detail)


def _decoders() -> Check:
    try:
        import av
    except ImportError as error:
        return Check("decoding", Status.ERROR, f"PyAV cannot be imported: {error}", _install())
    missing = [name for name, codecs in DECODERS.items() if not av.codecs_available & set(codecs)]
    ffmpeg = ".".join(str(part) for part in av.library_versions["libavcodec"])
    if missing:
        detail = f"libavcodec {ffmpeg} cannot decode {', '.join(missing)}"
        return Check("decoding", Status.WARNING, detail, "pip install --force-reinstall --only-binary av av")
    return Check("decoding", Status.OK, f"PyAV with libavcodec {ffmpeg}: {', '.join(DECODERS)}")


def _full_text_search() -> Check:
    detail = f"SQLite {sqlite3.sqlite_version}"
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE probe USING fts5(text, tokenize = 'porter')")
        except sqlite3.OperationalError as error:
            mend = "use a Python whose sqlite3 has FTS5, as those of python.org, Debian and conda have"
            return Check("full-text search", Status.ERROR, f"{detail}: {error}", mend)
    return Check("full-text search", Status.OK, f"{detail} with FTS5")


def _sentence_encoder() -> Check:
    models = sorted(ENCODER_FOLDER.glob("*.onnx"))
    if not models:
        return Check("sentence encoder", Status.ERROR, "the bundled model is missing", _reinstall())
    digest = hashlib.sha256(models[0].read_bytes()).hexdigest()
    detail = f"minilm, {models[0].stat().st_size / 1e6:.1f} MB, sha256 {digest[:16]}…"
    recorded = _recorded_digest(models[0].name)
    if recorded is not None and recorded != digest:
        return Check("sentence encoder", Status.ERROR, f"{detail} is not the file that was shipped", _reinstall())
    return Check("sentence encoder", Status.OK, detail)


def _reinstall() -> str:
    return _install().replace("pip install", "pip install --force-reinstall --no-deps")


def _recorded_digest(name: str) -> str | None:
    """The digest of a bundled file in `SHA256SUMS` beside it, where there is one."""
    sums = ENCODER_FOLDER / "SHA256SUMS"
    if not sums.is_file():
        return None
    found = re.search(rf"^([0-9a-f]{{64}}) [ *]{re.escape(name)}$", sums.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else None


def _vector_index() -> Check:
    for distribution in ("faiss-gpu", "faiss-cpu"):
        version = _version(distribution)
        if version is not None:
            return Check("vector index", Status.OK, f"{distribution} {version}")
    detail = "no FAISS: exact NumPy search is used, with the same results, slower on large libraries"
    return Check("vector index", Status.ABSENT, detail, _install("cpu"))


def _optional() -> Iterator[Check]:
    for distribution, extra, purpose in OPTIONAL:
        version = _version(distribution)
        if version is None:
            yield Check(distribution, Status.ABSENT, f"not installed; for {purpose}", _install(extra))
        else:
            yield Check(distribution, Status.OK, f"{version}; for {purpose}")


def _server_client() -> Check:
    version = _version("httpx")
    if version is None:
        return Check("httpx", Status.ABSENT, "not installed; for models behind a server", _install())
    return Check("httpx", Status.OK, f"{version}; for models behind a server")


def _models() -> Check:
    """Which recommended models are on this machine."""
    try:
        lock = read_lock(os.environ)
        here = [one.name for one in RECOMMENDED if find_recommended(one.name, os.environ, lock) is not None]
    except LockError as error:
        return Check("models", Status.WARNING, str(error), f"mv {lock_path(os.environ)} {lock_path(os.environ)}.old")
    others = [name for name, one in lock.items() if by_name(name) is None and one.is_whole()]
    if not here and not others:
        return Check(
            "models", Status.ABSENT, "none downloaded; the built-in captioner needs none", "fdvs models get small"
        )
    return Check("models", Status.OK, ", ".join([*here, *others]))


def _servers(library: Path | None) -> Iterator[Check]:
    """The servers that settings and variables name. Those on this machine are asked; nothing is sent elsewhere."""
    try:
        settings = load_settings(library=library)
    except UsageError as error:
        yield Check("settings", Status.ERROR, str(error), "correct it in fdvs.toml or in the variable")
        return
    named = {
        "captioner": settings.captions.captioner_url,
        "writer": settings.story.writer_url,
        "reader": settings.answers.reader_url,
        "OPENAI_BASE_URL": os.environ.get("OPENAI_BASE_URL", ""),
    }
    users: dict[str, list[str]] = {}
    for who, url in named.items():
        if url.startswith(("http://", "https://")):
            users.setdefault(url.rstrip("/"), []).append(who)
    if not users:
        yield Check("model server", Status.ABSENT, "none configured; nothing needs one")
    for url, roles in users.items():
        yield _server(url, ", ".join(roles))


def _server(url: str, who: str) -> Check:
    try:
        host = server_of(url)
    except UsageError as error:
        return Check("model server", Status.WARNING, f"{who}: {error}", "correct the setting or the variable")
    if not is_loopback(url):
        return Check("model server", Status.OK, f"{host} ({who}): elsewhere, not asked; its first use asks for leave")
    try:
        request = urllib.request.Request(f"{url}/models")  # noqa: S310  # http or https, on this machine
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=SERVER_TIMEOUT_S):
            pass
    except urllib.error.HTTPError as error:  # it answers: with a key it would say more
        return Check("model server", Status.OK, f"{host} ({who}): answers, with HTTP status {error.code}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Check("model server", Status.WARNING, f"{host} ({who}): does not answer ({error})", "fdvs serve MODEL")
    return Check("model server", Status.OK, f"{host} ({who}): answers")


def _clashes() -> Iterator[Check]:
    for first, second in CLASHES:
        if _version(first) is not None and _version(second) is not None:
            detail = f"{first} and {second} are both installed and overwrite each other's files"
            mend = f"pip uninstall -y {first} {second}, then install the one you need"
            yield Check(f"{first} / {second}", Status.WARNING, detail, mend)


def _torchvision() -> Iterator[Check]:
    """A torchvision of another release or for other hardware than torch breaks transformers as well."""
    torch, torchvision = _version("torch"), _version("torchvision")
    if torch is None or torchvision is None:
        return
    wanted = next(
        (found[1] for line in importlib.metadata.requires("torchvision") or () if (found := _TORCH_PIN.match(line))),
        None,
    )
    if wanted is not None and wanted != torch.partition("+")[0]:
        detail = f"torchvision {torchvision} wants torch {wanted}, but torch {torch} is installed"
        yield Check(
            "torchvision", Status.WARNING, detail, f"pip install -c constraints.txt torch=={wanted} torchvision"
        )
    elif _built_for_cuda("torchvision") and not _built_for_cuda("torch"):
        detail = (
            f"torchvision {torchvision} is built for CUDA, torch {torch} for CPU: fdvs works around it, other programs "
            "that import transformers may fail"
        )
        yield Check(
            "torchvision",
            Status.WARNING,
            detail,
            "pip uninstall torchvision, unless you use open_clip or models in process",
        )
    else:
        yield Check("torchvision", Status.OK, f"{torchvision}, fits torch {torch}")


_TORCH_PIN = re.compile(r"torch\s*\(?==\s*([0-9.]+)")


def _built_for_cuda(package: str) -> bool:
    """Whether the compiled part of torch or torchvision needs CUDA; read from its files, without importing it."""
    root = Path(str(importlib.metadata.distribution(package).locate_file(package)))
    if package == "torch":
        version = root / "version.py"
        return version.is_file() and re.search(r"^cuda\b.*= '", version.read_text(encoding="utf-8"), re.M) is not None
    return any(b"libcudart" in library.read_bytes() for library in root.glob("_C*.so"))


def _gpu() -> Check:
    names = []
    if GPU_FOLDER.is_dir():
        for gpu in sorted(GPU_FOLDER.iterdir()):
            found = re.search(r"^Model:\s*(.+)$", (gpu / "information").read_text(encoding="utf-8"), re.MULTILINE)
            names.append(found[1].strip() if found else gpu.name)
    if not names:
        return Check("GPU", Status.ABSENT, "no NVIDIA GPU seen; nothing here needs one")
    torch = _version("torch")
    if torch is not None and not _built_for_cuda("torch"):
        detail = f"{', '.join(names)}; torch {torch} is a CPU build and does not use it"
        return Check("GPU", Status.WARNING, detail, "install a CUDA build of torch in an environment of its own")
    return Check("GPU", Status.OK, ", ".join(names))


def _library(library: Path | None) -> Check:
    if library is None:
        return Check("library", Status.ABSENT, "none yet; fdvs build makes one")
    if not library.is_dir():
        return Check("library", Status.ERROR, f"{library} is not a folder")
    if not (library / "library.sqlite").is_file():
        return Check("library", Status.WARNING, f"{library} holds no library.sqlite", f"fdvs build -L {library} VIDEO")
    if not os.access(library, os.W_OK):
        return Check("library", Status.WARNING, f"{library} can be read but not written")
    size = sum(entry.stat().st_size for entry in library.rglob("*") if entry.is_file())
    kept = kept_size(library)
    frames = f" ({kept / 1e6:.1f} MB of it pictures kept for models in frames/, which can be deleted)" if kept else ""
    return Check("library", Status.OK, f"{library}, {size / 1e6:.1f} MB{frames}, writable")


def _disk(library: Path | None) -> Check:
    folder = library if library is not None and library.is_dir() else Path.cwd()
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB free at {folder}"
    if free < MINIMUM_FREE_BYTES:
        return Check("disk", Status.WARNING, detail, "free some space, or put the library elsewhere with -L")
    return Check("disk", Status.OK, detail)
