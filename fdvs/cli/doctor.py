"""`fdvs doctor`: what is installed, what is missing and how to get it."""

from __future__ import annotations

import typer

from fdvs.cli.common import DEFAULT_LIBRARY, JsonOption, LibraryOption, print_json


def doctor(library: LibraryOption = DEFAULT_LIBRARY, as_json: JsonOption = False) -> int:
    """Check this installation and the library."""
    from fdvs.doctor import diagnose

    report = diagnose(library if library.exists() else None)
    if as_json:
        print_json(report.to_json())
    else:
        for line in report.lines():
            typer.echo(line)
    return 0
