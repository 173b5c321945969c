"""`fdvs search`: find moments."""

from __future__ import annotations

from typing import Annotated

import typer

from fdvs.cli.common import DEFAULT_LIBRARY, JsonOption, LibraryOption, open_library, print_json


def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for, in plain words.")],
    library: LibraryOption = DEFAULT_LIBRARY,
    k: Annotated[int, typer.Option("-k", min=1, help="At most this many hits.")] = 10,
    level: Annotated[str, typer.Option(help="any, clip, scene, chapter, part or video.")] = "any",
    video: Annotated[str | None, typer.Option("--video", help="Only in this video.")] = None,
    min_similarity: Annotated[float | None, typer.Option(help="Leave out hits with a lower cosine.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Find moments in all stories, best first."""
    from fdvs.cli.tables import hit_lines

    with open_library(library) as opened:
        hits = opened.search(query, k=k, level=level, video=video, min_similarity=min_similarity)
        is_empty = not hits and not opened.videos()
    if as_json:
        print_json({"query": query, "hits": [hit.to_json() for hit in hits]})
        return 0
    if not hits:
        typer.echo("The library is empty." if is_empty else "No moment fits.")
    for number, hit in enumerate(hits, 1):
        for line in hit_lines(number, hit):
            typer.echo(line)
    return 0
