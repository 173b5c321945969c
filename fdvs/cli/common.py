"""What the commands share: the library option, JSON output, times and safe text for terminals."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdvs.errors import UsageError

if TYPE_CHECKING:
    from fdvs.api import Library

LibraryOption = Annotated[
    Path, typer.Option("-L", "--library", envvar="FDVS_LIBRARY", help="Folder of the library.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="STAGE.KEY=VALUE", help="Change any setting; may be repeated.")
]
TextEmbedderOption = Annotated[
    str | None, typer.Option(help="Sentence encoder: minilm, or sentence-transformers:NAME (also multilingual ones).")
]
WriterOption = Annotated[
    str | None, typer.Option(help="Who writes the story: builtin, auto, openai (a server), vllm or transformers.")
]
WriterModelOption = Annotated[
    str | None, typer.Option(help="Model of the writer: a name on its server or on the hub, or a folder.")
]
WriterUrlOption = Annotated[str | None, typer.Option(help="Server of the writer, such as http://127.0.0.1:8000/v1.")]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Agree ahead that frames or text go to a server that is not this machine.")
]
DEFAULT_LIBRARY = Path("fdvs-library")


class Terminated(BaseException):
    """SIGTERM arrived: unwinds like Ctrl-C does, so that workers are stopped on the way out."""


def open_library(path: Path, assignments: list[str] | None = None) -> Library:
    """The existing library at `path`; a NotFoundError says how to make one."""
    from fdvs.api import Library

    return Library(path, create=False, assignments=assignments or [])


def print_json(data: Any) -> None:
    """One JSON object on stdout; text that is not valid Unicode (odd file names) is escaped."""
    text = json.dumps(data, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(data, ensure_ascii=True)
    typer.echo(text)


def note(message: str) -> None:
    """Lines for people, on stderr. File names in them are harmless to a terminal."""
    from fdvs.stories.words import safe_text

    for line in message.split("\n"):
        indent = line[: len(line) - len(line.lstrip(" "))]
        typer.echo(indent + safe_text(line), err=True)


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Whatever prints inside the block, a library's native code included, prints to stderr: stdout is for results."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def is_terminal() -> bool:
    """Whether somebody is there who sees a question and can type an answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agreed(question: str) -> bool:
    """Ask on the terminal, with no as the answer to Enter.

    Raises:
        UsageError: nobody is there to be asked.
    """
    if not is_terminal():
        raise UsageError("there is no terminal to ask on; say --yes to agree ahead")
    return typer.confirm(question, default=False, err=True)


def ask_consent() -> Callable[[str], bool] | None:
    """How to ask for leave to send something away, for `fdvs.models.consent`; None: there is no terminal to ask on."""
    if not is_terminal():
        return None

    def ask(text: str) -> bool:
        note(text)
        return typer.confirm("Send it?", default=False, err=True)

    return ask
