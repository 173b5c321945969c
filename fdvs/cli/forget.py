"""`fdvs forget` and `fdvs relink`: keep the library in step with the files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdvs.cli.common import DEFAULT_LIBRARY, LibraryOption, note, open_library


def register(app: typer.Typer) -> None:
    app.command("forget")(forget)
    app.command("relink")(relink)


def forget(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="File name, path or the start of the id.")],
    library: LibraryOption = DEFAULT_LIBRARY,
) -> int:
    """Remove a video everywhere: story, captions, vectors, thumbnails. The video file itself is not touched."""
    with open_library(library) as opened:
        name = opened.forget(video)
    note(f"forgot {name}")
    return 0


def relink(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the videos are now.")],
    library: LibraryOption = DEFAULT_LIBRARY,
) -> int:
    """Find moved videos again by their content and mend their paths."""
    with open_library(library) as opened:
        found, missing = opened.relink(folder)
    for old, new in found:
        typer.echo(f"{old} -> {new}")
    for path in missing:
        typer.echo(f"still missing: {path}")
    note(f"{len(found)} paths mended, {len(missing)} still missing")
    return 0 if found or not missing else 1
