"""`fdvs demo`: render a small film and run everything on it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from fdvs.cli.common import note


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the film and its library go.")] = Path(
        "demo-output"
    ),
) -> int:
    """Render a small film and try everything on it.

    Builds its story, prints it, searches it and asks it one question.
    """
    from fdvs.api import Library
    from fdvs.cli.progress import Progress
    from fdvs.cli.tables import answer_lines, hit_lines
    from fdvs.demo.film import render_demo

    film = render_demo(output)
    note(f"rendered {film.path}")
    with Library(output / "library") as library:
        with Progress() as progress:
            report = library.build([film.path], on_event=progress.on_event)
        if report.exit_code:
            note(f"the build failed: {report.rows[0].message}")
            return report.exit_code
        where = ["-L", str(library.path)]
        typer.echo(library.story(film.path.name).render("tree"))
        typer.echo(f"$ {shlex.join(['fdvs', 'search', film.query, '-k', '2', *where])}")
        for number, hit in enumerate(library.search(film.query, k=2), 1):
            for line in hit_lines(number, hit):
                typer.echo(line)
        typer.echo(f"\n$ {shlex.join(['fdvs', 'ask', film.question, '-k', '1', *where])}")
        for line in answer_lines(library.ask(film.question, k=1), ()):
            typer.echo(line)
        library.export(film.path.name, form="json", output=output / "story.json")
        library.export(film.path.name, form="md", output=output / "story.md")
    typer.echo(f"\nFilm:       {film.path}")
    typer.echo(f"Subtitles:  {film.subtitles}")
    typer.echo(f"Library:    {library.path}")
    typer.echo(f"Story:      {output / 'story.md'} and {output / 'story.json'}")
    typer.echo("Next:       fdvs build YOUR_FOLDER, then fdvs story NAME, fdvs search …, fdvs ask …")
    return 0
