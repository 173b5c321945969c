"""`fdvs ask`: a question, an answer and where it comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from fdvs.cli.common import DEFAULT_LIBRARY, JsonOption, LibraryOption, open_library, print_json


def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION")],
    library: LibraryOption = DEFAULT_LIBRARY,
    video: Annotated[str | None, typer.Option("--video", help="Only about this video.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="TEXT", help="A possible answer; repeat for each.")
    ] = None,
    reader: Annotated[str, typer.Option(help="Who answers: builtin.")] = "builtin",
    k: Annotated[int, typer.Option("-k", min=1, help="At most this many citations.")] = 5,
    as_json: JsonOption = False,
) -> int:
    """Answer from the stories, with the time behind it; says so when nothing supports an answer."""
    from fdvs.cli.tables import hit_lines

    with open_library(library) as opened:
        answer = opened.ask(question, video=video, options=option or [], reader=reader, k=k)
    if as_json:
        print_json(answer.to_json())
        return 0
    if answer.abstained:
        typer.echo("No answer: nothing in the stories supports one.")
    else:
        typer.echo(answer.text)
        if answer.option_scores is not None:
            pairs = zip(option or [], answer.option_scores, strict=True)
            scores = ", ".join(f"{text}: {score:.2f}" for text, score in pairs)
            typer.echo(f"  ({scores})")
    if answer.citations:
        typer.echo("From:" if not answer.abstained else "Nearest:")
    for number, hit in enumerate(answer.citations, 1):
        for line in hit_lines(number, hit):
            typer.echo(line)
    return 0
