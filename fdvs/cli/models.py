"""`fdvs models`: which models are recommended and here, and getting them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from fdvs.cli.common import JsonOption, agreed, note, print_json
from fdvs.errors import UsageError


def list_models(as_json: JsonOption = False) -> int:
    """Show the recommended models and those on this machine.

    Looks at this machine only; nothing is asked of a network.
    """
    rows = _rows(os.environ)
    if as_json:
        print_json({"models": rows})
        return 0
    for row in rows:
        where = "here" if row["folder"] else "not here"
        size = f"{row['weights_bytes'] / 1e9:.1f} GB" if row["weights_bytes"] else "?"
        typer.echo(
            f"{row['name']}  ({', '.join(row['sets']) or 'own choice'}: {', '.join(row['roles']) or 'any role'})"
        )
        pin = row["revision"][:12] or "no revision known"
        memory = f"; needs {row['gpu_gb']:.1f} GB on a GPU, {row['cpu_gb']:.1f} GB on a CPU" if row["gpu_gb"] else ""
        typer.echo(f"    {where}; {size} to download at {pin}{memory}; {row['licence'] or 'licence not known'}")
    typer.echo("Get them: fdvs models get small, base or paper")
    return 0


def _rows(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    from fdvs.models.here import find_recommended
    from fdvs.models.lock import read_lock
    from fdvs.models.table import RECOMMENDED, by_name

    lock = read_lock(environ)
    rows = []
    for model in RECOMMENDED:
        found = find_recommended(model.name, environ, lock)
        locked = lock.get(model.name)
        rows.append(
            {
                "name": model.name,
                "sets": list(model.sets),
                "roles": list(model.roles),
                "revision": locked.revision if locked is not None and found is not None else model.revision,
                "weights_bytes": model.weights_bytes,
                "gpu_gb": round(model.memory_gb(2), 1),
                "cpu_gb": round(model.memory_gb(4), 1),
                "licence": model.licence,
                "purpose": model.purpose,
                "folder": str(found.folder) if found is not None else None,
            }
        )
    for name, locked in lock.items():
        if by_name(name) is None:
            weights = sum(size for path, size in locked.files.items() if path.endswith(".safetensors"))
            rows.append(
                {
                    "name": name,
                    "sets": [],
                    "roles": list(locked.roles),
                    "revision": locked.revision,
                    "weights_bytes": weights,
                    "gpu_gb": None,
                    "cpu_gb": None,
                    "licence": None,
                    "purpose": None,
                    "folder": locked.folder if locked.is_whole() else None,
                }
            )
    return rows


def get_models(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="small, base, paper, or OWNER/NAME of a model on the hub.")
    ],
    role: Annotated[
        str | None,
        typer.Option(help="Only this role of a set: captioner, writer, reader, clip, objects, action, frame_captions."),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FOLDER", help="Take the model from a folder that was copied here.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to the download ahead, for scripts.")] = False,
) -> int:
    """Get models: shows what would come, asks, and downloads.

    Weights come as safetensors, at the revision shown. Afterwards --captioner auto and --writer auto use them.
    """
    from fdvs.models import get
    from fdvs.models.table import wanted

    environ = os.environ
    chosen = wanted(names, role)
    if source is not None:
        if len(chosen) != 1:
            raise UsageError("--from takes the folder of one model: name that one")
        model = get.adopt(chosen[0], source, environ, role)
        typer.echo(f"{model.label}: {model.folder}")
        return 0
    plans = get.plan_all(chosen, environ, role)
    for name in sorted(set(chosen) - {one.name for one in plans}):
        note(f"{name}: already here")
    if not plans:
        return 0
    free = get.check_room(plans, environ)
    for one in plans:
        note(f"{one.name} at {one.revision}: {one.size_bytes / 1e9:.2f} GB, {one.licence}, into {one.folder}")
    needed = sum(one.missing_bytes for one in plans)
    note(f"To download: {needed / 1e9:.2f} GB; free there: {free / 1e9:.1f} GB")
    if not yes and not agreed("Download?"):
        note("Nothing was downloaded.")
        return 0
    for one in plans:
        model = get.fetch(one, environ)
        typer.echo(f"{model.label}: {model.folder}")
    return 0
