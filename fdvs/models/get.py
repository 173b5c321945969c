"""Getting models: what would come, how large it is and where it goes; then, agreed to, the files and a note of them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from fdvs.chat.local import digest8
from fdvs.errors import FdvsError, InputError
from fdvs.models import hub
from fdvs.models.here import cache_folder, find_recommended, is_model, repository_folder, weight_files
from fdvs.models.lock import Locked, record
from fdvs.models.table import by_name

# Beside the weights: settings, tokenizers, templates, licences. Never pickles (.bin, .pt, .ckpt), never code.
SMALL_FILES = ("*.json", "*.txt", "*.jinja", "*.model", "LICENSE*")
MAX_SMALL_FILE_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """One model that would be fetched: its files with their sizes, and how many bytes of them are not here yet."""

    name: str
    revision: str
    licence: str
    roles: tuple[str, ...]
    files: Mapping[str, int]
    missing_bytes: int
    folder: Path

    @property
    def size_bytes(self) -> int:
        return sum(self.files.values())


def plan_all(names: Sequence[str], environ: Mapping[str, str], role: str | None = None) -> list[Plan]:
    """What fetching these models means, asked of the hub; those that are here already are left out.

    Raises:
        UnreachableError: no hub; the message has the manual way for each of the models.
        InputError: a repository has no safetensors weights.
    """
    missing = [name for name in names if find_recommended(name, environ) is None]
    try:
        return [_plan(name, environ, role) for name in missing]
    except hub.UnreachableError as error:
        raise hub.UnreachableError("\n".join([str(error), *_manual_way(missing)])) from error


def _plan(name: str, environ: Mapping[str, str], role: str | None) -> Plan:
    known = by_name(name)
    listed = hub.listing(name, known.revision if known else "")
    files = wanted_files(listed.files)
    if not weight_files(list(files)):
        raise InputError(f"{name} has no safetensors weights, and fdvs loads no others: they could carry code")
    folder = repository_folder(name, environ) / "snapshots" / listed.revision
    missing = sum(size for path, size in files.items() if not (folder / path).is_file())
    licence = known.licence if known else listed.licence or "licence not stated"
    return Plan(name, listed.revision, licence, _roles(name, role), files, missing, folder)


def _roles(name: str, role: str | None) -> tuple[str, ...]:
    known = by_name(name)
    if known is not None:
        return known.roles
    return (role,) if role else ()


def wanted_files(files: Mapping[str, int]) -> dict[str, int]:
    """Of a repository's files: the safetensors weights, and the small files that loading them needs."""
    weights = set(weight_files(list(files)))
    return {
        path: size
        for path, size in files.items()
        if path in weights
        or (
            "/" not in path
            and size <= MAX_SMALL_FILE_BYTES
            and any(fnmatch(path, pattern) for pattern in SMALL_FILES)
            and not path.endswith(".safetensors")
        )
    }


def check_room(plans: Sequence[Plan], environ: Mapping[str, str]) -> int:
    """Free bytes where the models would go; an InputError where they do not fit."""
    folder = cache_folder(environ)
    free = shutil.disk_usage(_existing(folder)).free
    needed = sum(one.missing_bytes for one in plans)
    if needed > free:
        raise InputError(
            f"{needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free at {folder}; set HF_HOME to a folder "
            "with more room"
        )
    return free


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if one.is_dir())


def fetch(one: Plan, environ: Mapping[str, str]) -> Locked:
    """Bring a model here and note it. Cancelled or cut off, the next call goes on from there.

    Raises:
        FdvsError: a file did not come whole.
    """
    folder = hub.fetch(one.name, one.revision, list(one.files), cache_folder(environ))
    model = Locked(
        one.name, f"{one.name}@{one.revision[:8]}", one.revision, str(folder.absolute()), one.roles, dict(one.files)
    )
    if not model.is_whole():
        raise FdvsError(f"{one.name} did not come whole into {folder}; run the same command again")
    _name_as_main(one.name, one.revision, environ)
    record(environ, model)
    return model


def _name_as_main(name: str, revision: str, environ: Mapping[str, str]) -> None:
    """Let every tool that reads the cache find the model by its name, where the cache knows no other `main` of it."""
    reference = repository_folder(name, environ) / "refs" / "main"
    if not reference.exists():
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(revision, encoding="utf-8")


def adopt(name: str, folder: Path, environ: Mapping[str, str], role: str | None = None) -> Locked:
    """Note a folder that was copied here as the model `name`. Parts of its weights make the name it goes by.

    Raises:
        InputError: the folder holds no model with safetensors weights, or weights of another size than the table says.
    """
    if not is_model(folder):
        raise InputError(f"{folder} holds no model: config.json and all of its safetensors weights must be in it")
    paths = [one for one in sorted(folder.iterdir()) if one.is_file()]
    files = wanted_files({one.name: one.stat().st_size for one in paths})
    known = by_name(name)
    weights = sum(files[path] for path in weight_files(list(files)))
    if known and abs(weights - known.weights_bytes) > known.weights_bytes // 100:
        raise InputError(f"{folder} holds {weights} bytes of weights; those of {name} are {known.weights_bytes}")
    model = Locked(name, f"{name}@{digest8(folder)}", "", str(folder.resolve()), _roles(name, role), files)
    record(environ, model)
    return model


def _manual_way(names: Sequence[str]) -> list[str]:
    """What to do by hand where no hub can be reached, in lines."""
    patterns = " ".join(f"--include '{pattern}'" for pattern in ("*.safetensors", *SMALL_FILES))
    lines = ["By hand: on a machine with a network run"]
    for name in names:
        known = by_name(name)
        revision = f" --revision {known.revision}" if known and known.revision else ""
        lines.append(f"  hf download {name}{revision} {patterns} --local-dir {_short(name)}")
    lines.append("copy what it made to this machine, and then")
    lines += [f"  fdvs models get {name} --from {_short(name)}" for name in names]
    return lines


def _short(name: str) -> str:
    return name.rpartition("/")[2]
