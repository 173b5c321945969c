"""`fdvs demo` leaves a film, a library and a story that the next command can use."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.commands import FILM, STORY_SCHEMA, done


def test_the_demo_runs_everything_and_says_where_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    ended = done("demo", "-o", folder)
    for text in (
        "no vision model",
        f"{FILM} · 1:06 · ",
        f"$ fdvs search 'a ball rolling over the grass' -k 2 -L {folder / 'library'}\n 1. {FILM}  0:05–0:12",
        f"$ fdvs ask 'How tall is the lighthouse?' -k 1 -L {folder / 'library'}\n",
        "32 metres",
        f"Story:      {folder / 'story.md'}",
    ):
        assert text in ended.out
    assert f"rendered {folder / FILM}" in ended.err
    STORY_SCHEMA.validate(json.loads((folder / "story.json").read_text()))
    assert (folder / "story.md").read_text().startswith("# a\\_day\\_at\\_the\\_lake.mp4")
    assert done("story", FILM, "-L", folder / "library").out in ended.out
