"""`fdvs story`: read the story of one video."""

from __future__ import annotations

from typing import Annotated

import typer

from fdvs.cli.common import DEFAULT_LIBRARY, LibraryOption, open_library
from fdvs.errors import UsageError

FORMATS = ("tree", "md", "json")


def story(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="File name, path or the start of the id.")],
    library: LibraryOption = DEFAULT_LIBRARY,
    form: Annotated[str, typer.Option("--format", help="tree, md or json.")] = "tree",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> int:
    """Print the story of one video."""
    chosen = "json" if as_json else form
    if chosen not in FORMATS:
        raise UsageError(f"unknown format {chosen!r}; known: {', '.join(FORMATS)}")
    with open_library(library) as opened:
        typer.echo(opened.story(video).render(chosen), nl=False)
    return 0
