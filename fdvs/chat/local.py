"""Models that lie on this machine: found by folder or by name, named the same everywhere, and never run as code.

Nothing is downloaded. Weights are safetensors, which carry no code; a model that brings its own Python is refused
unless the installed libraries know its kind by themselves.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fdvs.errors import BackendUnavailableError

FILE = "file:"
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LOOKS = 8
_LOOK_BYTES = 1 << 20


def find_model(model: str) -> tuple[str, Path]:
    """The label and the folder of a model that is here.

    Args:
        model: a folder with config.json and safetensors weights (label `NAME@DIGEST8`), or a hub name `OWNER/NAME`
            whose files are in the local Hugging Face cache (label: the name).

    Raises:
        BackendUnavailableError: it is not here, or not whole, or has no safetensors; the message says how to get it.
    """
    folder = Path(model.removeprefix(FILE)).expanduser()
    if folder.is_dir():
        folder = folder.resolve()
        _check(model, folder)
        return f"{folder.name}@{digest8(folder)}", folder
    if not _HUB_NAME.fullmatch(model):
        raise BackendUnavailableError(f"{model} is neither a folder nor the name of a model on the hub (OWNER/NAME)")
    cached = _snapshot(model)
    if cached is None:
        raise BackendUnavailableError(
            f"{model} is not on this machine, and fdvs downloads nothing by itself. To get it once: fdvs models get "
            f"{model}, or hf download {model}"
        )
    _check(model, cached)
    return model, cached


def named_model(model: str, where: str) -> tuple[str, Path]:
    """Label and folder of what a back end was given: `where` is `file:FOLDER`, or empty for a model named by itself.

    With both, the label is `model` as it is: whoever set it has looked.
    """
    if not where:
        return find_model(model)
    if not where.startswith(FILE):
        raise BackendUnavailableError(f"a model in this process is a folder, not {where}; for a server name openai")
    label, folder = find_model(where)
    return (model or label), folder


def digest8(folder: Path) -> str:
    """8 hex digits that differ for every fine-tuning and are cheap for any size.

    Taken over config.json and, of every safetensors file in the order of their names, its size and 1 MiB at eight
    evenly spaced places, the first and the last bytes among them. Training moves all weights, so these show it.
    """
    total = hashlib.sha256((folder / "config.json").read_bytes())
    for path in weight_files(folder):
        size = path.stat().st_size
        total.update(f"{path.name} {size} ".encode())
        with path.open("rb") as handle:
            for start in _places(size):
                handle.seek(start)
                total.update(handle.read(_LOOK_BYTES))
    return total.hexdigest()[:8]


def _places(size: int) -> Iterator[int]:
    """Where to look in a file of `size` bytes; every byte of one that is small."""
    if size <= _LOOKS * _LOOK_BYTES:
        yield from range(0, size, _LOOK_BYTES)
        return
    last = size - _LOOK_BYTES
    yield from (last * i // (_LOOKS - 1) for i in range(_LOOKS))


def weight_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON object in a model's folder; BackendUnavailableError where it is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackendUnavailableError(f"{path.name} of {path.parent.name} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise BackendUnavailableError(f"{path.name} of {path.parent.name} is no JSON object")
    return data


def _check(model: str, folder: Path) -> None:
    """A folder that a library could load: settings, and all weights as safetensors."""
    if not (folder / "config.json").is_file():
        raise BackendUnavailableError(f"{model} has no config.json: it is no model of transformers")
    index = folder / "model.safetensors.index.json"
    files = read_json(index).get("weight_map") if index.is_file() else None
    wanted = sorted(set(files.values())) if isinstance(files, dict) else []
    missing = [name for name in wanted if not (folder / str(name)).is_file()]
    if missing:
        raise BackendUnavailableError(f"{model} is not whole: {len(missing)} of its files are missing ({missing[0]})")
    if not weight_files(folder):
        raise BackendUnavailableError(
            f"{model} has no safetensors weights; others may carry code and are not loaded. Convert it, or get a "
            "version with safetensors"
        )


def refuse_own_code(model: str, folder: Path, known_types: Mapping[str, Any]) -> None:
    """BackendUnavailableError for a checkpoint that only its own Python could load."""
    config = read_json(folder / "config.json")
    kind = config.get("model_type")
    if kind in known_types:
        return
    if config.get("auto_map"):
        raise BackendUnavailableError(
            f"{model} can only be loaded by Python code that comes with it (auto_map), and fdvs runs no code of models;"
            f" the installed transformers does not know its type {kind!r}"
        )
    raise BackendUnavailableError(
        f"{model} is of the type {kind!r}, which the installed transformers does not know; a newer one may"
    )


def _snapshot(name: str) -> Path | None:
    """The folder of a hub model in the cache: its main revision, or the only one that is there."""
    repository = _cache() / f"models--{name.replace('/', '--')}"
    main = repository / "refs" / "main"
    if main.is_file():
        revision = main.read_text(encoding="utf-8").strip()
        folder = repository / "snapshots" / revision
        return folder if _COMMIT.fullmatch(revision) and folder.is_dir() else None
    there = sorted((repository / "snapshots").glob("*"))
    if len(there) > 1:
        raise BackendUnavailableError(
            f"{name} is in the cache in {len(there)} revisions and none is called main; name the folder of one"
        )
    return there[0] if there else None


def _cache() -> Path:
    """Where the Hugging Face libraries keep models; read anew each time, so that a changed environment counts."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
