"""`fdvs ask`: a question, an answer and where it comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from fdvs.cli.common import DEFAULT_LIBRARY, JsonOption, LibraryOption, note, open_library, print_json


def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="A question in plain words.")],
    library: LibraryOption = DEFAULT_LIBRARY,
    video: Annotated[str | None, typer.Option("--video", help="Only about this video.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="TEXT", help="A possible answer; repeat for each.")
    ] = None,
    reader: Annotated[
        str | None, typer.Option(help="Who answers: builtin, openai, vllm, transformers, or auto.")
    ] = None,
    reader_model: Annotated[str | None, typer.Option(help="Model of the reader.")] = None,
    reader_url: Annotated[
        str | None, typer.Option(help="Where the model is: the address of its server, or file: and a folder.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="At most this many citations.")] = 5,
    as_json: JsonOption = False,
) -> int:
    """Answer a question from the stories, with the times behind it.

    Says so when nothing supports an answer. With several --option it chooses among them.
    """
    from fdvs.cli.tables import answer_lines

    with open_library(library) as opened:
        answer = opened.ask(
            question,
            video=video,
            options=option or [],
            k=k,
            reader=reader,
            reader_model=reader_model,
            reader_url=reader_url,
        )
    if answer.note:
        note(f"note: {answer.note}")
    if as_json:
        print_json(answer.to_json())
        return 0
    for line in answer_lines(answer, option or []):
        typer.echo(line)
    return 0
