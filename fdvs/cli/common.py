"""What the commands share: the library option, JSON output, times and safe text for terminals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
