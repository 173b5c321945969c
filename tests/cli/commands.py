"""`fdvs` as a user types it: arguments in, exit code and both streams out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
from typer.testing import CliRunner

from fdvs.cli.main import app
from fdvs.stories.schema import story_schema

FILM = "a_day_at_the_lake.mp4"
TWIN = "twin.mp4"  # the name of two different films
TALK = "talk"  # captions alone
# For builds in tests of something else, of films that show no text or whose text is not looked at.
NO_READING = ("--screen-text", "off")

STORY_SCHEMA = jsonschema.Draft202012Validator(story_schema())


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on stdout."""
        return json.loads(self.out)


def fdvs(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Ended:
    """Run a command in this process; an exception that is no exit fails the test."""
    result = CliRunner().invoke(app, [str(one) for one in arguments], env=env, catch_exceptions=False)
    return Ended(result.exit_code, result.stdout, result.stderr)


def done(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Ended:
    """Run a command that has to end with 0."""
    ended = fdvs(*arguments, env=env)
    assert ended.code == 0, ended.err
    return ended


def story_of(library: Path, video: str) -> Any:
    """The exported story of a video; it fits the schema."""
    data = done("story", video, "--format", "json", "-L", library).json
    STORY_SCHEMA.validate(data)
    return data


def stored(library: Path) -> dict[str, bytes]:
    """Every file of a library with its bytes, without the indexes that reading makes."""
    passing = ("-wal", "-shm")  # there only while somebody has the library open, which other tests may have
    files = [path for path in sorted(library.rglob("*")) if path.is_file() and not path.name.endswith(passing)]
    files = [path for path in files if path.parent.name != "index"]
    return {str(path.relative_to(library)): path.read_bytes() for path in files}
