"""`fdvs status`: one row per known path."""

from __future__ import annotations

from typing import Annotated

import typer

from fdvs.cli.common import DEFAULT_LIBRARY, JsonOption, LibraryOption, open_library, print_json

WATCH_EVERY_S = 2.0


def status(
    library: LibraryOption = DEFAULT_LIBRARY,
    watch: Annotated[bool, typer.Option("--watch", help="Show again every two seconds until all is done.")] = False,
    costs: Annotated[
        bool, typer.Option("--costs", help="What models took of each video: requests, tokens, pictures, time.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Show what the library holds and how far it is.

    One row for every path: state, clips done, warnings, error.
    """
    import time

    from fdvs.cli.tables import cost_table, status_table

    with open_library(library) as opened:
        if costs:
            found = opened.costs()
            if as_json:
                print_json({"videos": [one.to_json() for one in found]})
            else:
                for line in cost_table(found, opened.settings.run) or ["No model was asked for anything here."]:
                    typer.echo(line)
            return 0
        while True:
            rows = opened.status()
            if as_json:
                print_json({"videos": [row.to_json() for row in rows]})
            else:
                for line in status_table(rows) or ["The library is empty."]:
                    typer.echo(line)
            if not watch or all(row.state in ("done", "failed") for row in rows):
                return 0
            time.sleep(WATCH_EVERY_S)
