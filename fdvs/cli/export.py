"""`fdvs export`: stories as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdvs.cli.common import DEFAULT_LIBRARY, LibraryOption, note, open_library
from fdvs.errors import UsageError

FORMATS = ("json", "md")


def export(
    video: Annotated[str | None, typer.Argument(metavar="VIDEO", help="File name, path or id prefix.")] = None,
    library: LibraryOption = DEFAULT_LIBRARY,
    every: Annotated[bool, typer.Option("--all", help="Every story, one file each; -o names the folder.")] = False,
    form: Annotated[str, typer.Option("--format", help="json or md.")] = "json",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File, or folder with --all. Default: standard output.")
    ] = None,
) -> int:
    """Write stories as JSON (schema fdvs-story/1) or Markdown."""
    if form not in FORMATS:
        raise UsageError(f"unknown format {form!r}; known: {', '.join(FORMATS)}")
    if (video is None) == (not every):
        raise UsageError("name one VIDEO, or --all")
    if every and output is None:
        raise UsageError("--all needs -o FOLDER")
    with open_library(library) as opened:
        if video is not None:
            if output is None:
                typer.echo(opened.story(video).render(form), nl=False)
                return 0
            opened.export(video, form=form, output=output)
            note(f"wrote {output}")
            return 0
        assert output is not None
        written = opened.export_all(form=form, folder=output)
    if not written:
        note(f"fdvs: {library} holds no stories yet; `fdvs build` makes them")
        return 1
    note(f"wrote {len(written)} {'story' if len(written) == 1 else 'stories'} to {output}")
    return 0
