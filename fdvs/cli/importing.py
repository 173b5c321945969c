"""`fdvs import`: captions made elsewhere, and story bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdvs.cli.common import (
    DEFAULT_LIBRARY,
    JsonOption,
    LibraryOption,
    SetOption,
    TextEmbedderOption,
    WriterModelOption,
    WriterOption,
    WriterUrlOption,
    YesOption,
    ask_consent,
    print_json,
    stdout_to_stderr,
)

if TYPE_CHECKING:
    from fdvs.settings import Scalar


def import_captions(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="JSON Lines, SRT, VTT or an exported story.")],
    library: LibraryOption = DEFAULT_LIBRARY,
    video: Annotated[str | None, typer.Option("--video", help="Add the captions to this built video.")] = None,
    profile: Annotated[str | None, typer.Option(help="default, or paper (FDVS as published).")] = None,
    text_embedder: TextEmbedderOption = None,
    writer: WriterOption = None,
    writer_model: WriterModelOption = None,
    writer_url: WriterUrlOption = None,
    yes: YesOption = False,
    assignments: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """Bring in captions made elsewhere, or exported stories.

    Without --video they become stories of their own; with it they are added to that video, whose story is told anew.
    """
    from fdvs.api import Library
    from fdvs.cli.tables import status_table

    story = {
        "text_embedder": text_embedder,
        "writer": writer,
        "writer_model": writer_model,
        "writer_url": writer_url,
    }
    flags: dict[str, dict[str, Scalar]] = {"story": {**story}, "run": {"allow_hosted": yes or None}}
    opened = Library(library, profile=profile, assignments=assignments or [], flags=flags)
    with stdout_to_stderr(), opened:  # models in process print as they like
        report = opened.import_captions(files, video=video, on_consent=ask_consent())
    if as_json:
        print_json(report.to_json())
    else:
        for line in status_table(report.rows):
            typer.echo(line)
        typer.echo(f"{report.done} done, {report.failed} failed. Library: {opened.path}")
    return report.exit_code
