"""The lock file: which models `fdvs models get` brought to this machine, at which revision, with which files.

It lies outside every library, in the user's data folder, and is written whole or not at all. What it says is checked
against the files before it is believed.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from fdvs.errors import FdvsError

FORMAT = 1


class LockError(FdvsError):
    """The lock file cannot be read."""


@dataclass(frozen=True, slots=True)
class Locked:
    """One model on this machine.

    Attributes:
        name: on the hub.
        label: the name that goes into ids and exports: `NAME@REVISION8`, or `NAME@DIGEST8` for a copied folder.
        revision: 40 hex digits; empty for a folder that was copied here, whose revision nobody can know.
        folder: absolute, with the model's files.
        files: {path in the folder: size in bytes}.
    """

    name: str
    label: str
    revision: str
    folder: str
    roles: tuple[str, ...]
    files: Mapping[str, int]

    def is_whole(self) -> bool:
        """Whether every file is still there, with its size."""
        return all(_size(Path(self.folder) / path) == size for path, size in self.files.items())


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def lock_path(environ: Mapping[str, str]) -> Path:
    """`$XDG_DATA_HOME/fdvs/models.json`, by default under `~/.local/share`."""
    data = environ.get("XDG_DATA_HOME") or ""
    root = Path(data) if Path(data).is_absolute() else Path(environ.get("HOME") or Path.home()) / ".local" / "share"
    return root / "fdvs" / "models.json"


def read_lock(environ: Mapping[str, str]) -> dict[str, Locked]:
    """{name: model}, empty where nothing was fetched.

    Raises:
        LockError: the file is damaged or of a newer fdvs; the message says what to do.
    """
    path = lock_path(environ)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise LockError(f"{path} was written by another version of fdvs; move it away and fetch the models again")
        return {name: _locked(name, entry) for name, entry in data["models"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LockError(f"{path} cannot be read ({error}); move it away and fetch the models again") from error


def _locked(name: str, entry: Mapping[str, object]) -> Locked:
    files, roles = entry["files"], entry["roles"]
    if not isinstance(files, dict) or not isinstance(roles, list):
        raise TypeError(f"the entry of {name}")
    return Locked(
        name,
        str(entry["label"]),
        str(entry["revision"]),
        str(entry["folder"]),
        tuple(str(role) for role in roles),
        {str(path): int(size) for path, size in files.items()},
    )


def write_lock(environ: Mapping[str, str], models: Mapping[str, Locked]) -> None:
    """Replace the lock file; a reader sees the old one or the new one."""
    path = lock_path(environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = {
        name: {key: value for key, value in asdict(one).items() if key != "name"} for name, one in models.items()
    }
    text = json.dumps({"format": FORMAT, "models": entries}, indent=1, sort_keys=True, default=dict)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def record(environ: Mapping[str, str], model: Locked) -> None:
    """Add a model to the lock file, in place of an entry with its name."""
    write_lock(environ, {**read_lock(environ), model.name: model})
