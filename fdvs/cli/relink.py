"""`fdvs relink`: find moved videos again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdvs.cli.common import DEFAULT_LIBRARY, LibraryOption, note, open_library


def relink(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the videos are now.")],
    library: LibraryOption = DEFAULT_LIBRARY,
) -> int:
    """Find moved videos again by their content."""
    from fdvs.stories.words import safe_text

    with open_library(library) as opened:
        found, missing = opened.relink(folder)
    for old, new in found:
        typer.echo(f"{safe_text(old)} -> {safe_text(new)}")
    for path in missing:
        typer.echo(f"still missing: {safe_text(path)}")
    note(f"{len(found)} paths mended, {len(missing)} still missing")
    return 0 if found or not missing else 1
