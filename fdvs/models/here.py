"""Models whose files are on this machine, found without a network and without importing anything heavy."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fdvs.chat.local import find_model
from fdvs.models.lock import Locked, read_lock
from fdvs.models.table import by_name

CONFIG = "config.json"
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_WHOLE = re.compile(r"model\.safetensors|model-\d+-of-\d+\.safetensors")


@dataclass(frozen=True, slots=True)
class Here:
    """A model's files: the name for ids and exports, and the absolute folder."""

    label: str
    folder: Path


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The folder in which the Hugging Face libraries keep models."""
    if explicit := environ.get("HF_HUB_CACHE"):
        return Path(explicit).expanduser()
    home = Path(environ.get("HOME") or Path.home())
    caches = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    return Path(environ.get("HF_HOME") or caches / "huggingface").expanduser() / "hub"


def repository_folder(name: str, environ: Mapping[str, str]) -> Path:
    """Where the cache keeps the repository `OWNER/NAME`."""
    return cache_folder(environ) / f"models--{name.replace('/', '--')}"


def is_hub_name(text: str) -> bool:
    return _HUB_NAME.fullmatch(text) is not None


def weight_files(names: list[str]) -> list[str]:
    """The safetensors files that are the model, of all paths in a repository.

    Some repositories hold the same weights twice (in another layout, in other precisions): where files have the names
    that transformers loads, only those count.
    """
    safetensors = [name for name in names if name.endswith(".safetensors") and "/" not in name]
    return [name for name in safetensors if _WHOLE.fullmatch(name)] or safetensors


def is_model(folder: Path) -> bool:
    """Whether a folder holds a configuration and all of its safetensors weights."""
    if not (folder / CONFIG).is_file():
        return False
    index = folder / "model.safetensors.index.json"
    if not (folder / "model.safetensors").is_file() and index.is_file():
        try:
            parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError):
            return False
        return bool(parts) and all((folder / part).is_file() for part in parts)
    return any(folder.glob("*.safetensors"))


def find_recommended(name: str, environ: Mapping[str, str], lock: Mapping[str, Locked] | None = None) -> Here | None:
    """A hub model that `fdvs models get` brought, or that lies in the cache at the table's revision. Reads no weights.

    Raises:
        LockError: the lock file cannot be read.
    """
    locked = (read_lock(environ) if lock is None else lock).get(name)
    if locked is not None and locked.is_whole():
        return Here(locked.label, Path(locked.folder))
    model = by_name(name)
    if model is None or not model.revision:
        return None
    folder = repository_folder(name, environ) / "snapshots" / model.revision
    return Here(f"{name}@{model.revision[:8]}", folder) if is_model(folder) else None


def find(model: str, environ: Mapping[str, str]) -> Here | None:
    """What the user named: a folder, a model of the lock file or the table, or a name whose files are in the cache.

    None: it is not here.

    Raises:
        BackendUnavailableError: it is here and cannot be used; the message says why.
    """
    if Path(model).expanduser().is_dir():
        label, folder = find_model(model)
        return Here(label, folder)
    if not is_hub_name(model):
        return None
    return find_recommended(model, environ) or _in_cache(model, environ)


def _in_cache(name: str, environ: Mapping[str, str]) -> Here | None:
    """A model that another tool brought, at the revision that the cache knows as `main`."""
    if not repository_folder(name, environ).is_dir():
        return None
    _, folder = find_model(name)
    return Here(f"{name}@{folder.name[:8]}", folder.absolute())
