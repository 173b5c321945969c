"""`fdvs redundancy`: what was removed, by which rule, in favour of what."""

from __future__ import annotations

from typing import Annotated

import typer

from fdvs.cli.common import DEFAULT_LIBRARY, JsonOption, LibraryOption, open_library, print_json
from fdvs.errors import UsageError


def redundancy(
    video: Annotated[str | None, typer.Argument(metavar="VIDEO", help="File name, path or id prefix.")] = None,
    library: LibraryOption = DEFAULT_LIBRARY,
    every: Annotated[bool, typer.Option("--all", help="All videos together.")] = False,
    as_json: JsonOption = False,
) -> int:
    """What returns, what was set aside as a repeat, what videos share.

    Frames, clips, captions and chapters, each with the rule that applied, the one it repeats and how similar they are.
    """
    from fdvs.cli.repeats import redundancy_lines

    if (video is None) == (not every):
        raise UsageError("name one VIDEO, or --all")
    with open_library(library) as opened:
        report = opened.redundancy(video)
        names = {one.id: one.name for one in opened.videos()}
    if as_json:
        print_json(report.to_json())
        return 0
    for line in redundancy_lines(report, names):
        typer.echo(line)
    return 0
