"""`fdvs ask`: a question, an answer and where it comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from fdvs.cli.common import (
    DEFAULT_LIBRARY,
    JsonOption,
    LibraryOption,
    ask_consent,
    note,
    open_library,
    print_json,
    stdout_to_stderr,
)


def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="A question in plain words.")],
    library: LibraryOption = DEFAULT_LIBRARY,
    video: Annotated[str | None, typer.Option("--video", help="Only about this video.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="TEXT", help="A possible answer; repeat for each.")
    ] = None,
    reader: Annotated[
        str | None, typer.Option(help="Who answers: builtin, openai (a server), vllm, transformers, or auto.")
    ] = None,
    reader_model: Annotated[
        str | None, typer.Option(help="Model of the reader: a name on its server or on the hub, or a folder.")
    ] = None,
    reader_url: Annotated[
        str | None, typer.Option(help="Server of the reader, such as http://127.0.0.1:8000/v1.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="At most this many citations.")] = 5,
    yes: Annotated[
        bool, typer.Option("--yes", help="Agree ahead that captions go to a reader that is not on this machine.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Answer a question from the stories, with the times behind it.

    Says so when nothing supports an answer. With several --option it chooses among them.
    """
    from fdvs.cli.tables import answer_lines

    with stdout_to_stderr(), open_library(library) as opened:  # models in process print as they like
        who = opened.reader(reader, model=reader_model, url=reader_url)
        for line in (*(choice for choice in opened.choices if choice.startswith("reader ")), who.why):
            if line:
                note(line)
        answer = opened.ask(
            question,
            video=video,
            options=option or [],
            k=k,
            reader=who.name,
            reader_model=who.model,
            reader_url=who.url,
            allow_hosted=yes,
            on_consent=ask_consent(),
        )
    if answer.note:
        note(f"note: {answer.note}")
    if as_json:
        print_json(answer.to_json())
        return 0
    for line in answer_lines(answer, option or []):
        typer.echo(line)
    return 0
