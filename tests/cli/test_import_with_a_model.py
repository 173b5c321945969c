"""Imported captions whose story a model writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.chat.fake_server import FakeServer, Seen
from tests.cli.commands import done, fdvs
from tests.cli.test_import import write_lines

TALK = [
    {"video": "walk", "start_s": 0.0, "end_s": 5.0, "text": "A woman opens a wooden door."},
    {"video": "walk", "start_s": 5.0, "end_s": 9.0, "text": "A dog runs into a garden."},
]
LATER = {"video": "walk", "start_s": 9.0, "end_s": 12.0, "text": "The dog digs a hole."}


def writer(request: Seen) -> Any:
    first = int(re.findall(r"^\[(\d+)\]", request.text, re.MULTILINE)[0])
    text = f"Somebody walks in the garden, told {request.number}."
    return {"title": "In the garden", "sentences": [{"text": text, "sources": [first]}], "names": []}


def story(library: Path) -> Any:
    return json.loads(done("story", "walk", "-L", library, "--format", "json").out)


def test_a_model_writes_the_story_of_captions_alone(tmp_path: Path) -> None:
    file, library = write_lines(tmp_path / "walk.jsonl", *TALK), tmp_path / "library"
    with FakeServer(writer) as server:
        options = ("-L", library, "--writer", "openai", "--writer-url", server.url)
        done("import", file, *options)
        told = story(library)
        assert told["settings"]["story"]["writer"] == "openai"
        video = told["nodes"][0]
        assert video["title"] == "In the garden"
        assert video["sentences"][0]["text"].startswith("Somebody walks in the garden")
        clips = [node["text"] for node in told["nodes"] if node["level"] == "clip"]
        assert clips == ["A woman opens a wooden door.", "A dog runs into a garden."]
        asked = len(server.requests)
        assert asked > 0
        done("import", file, *options)  # the same again is done already
        assert len(server.requests) == asked


def test_a_writer_elsewhere_is_asked_for_first(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "walk.jsonl", *TALK)
    ended = fdvs(
        *("import", file, "-L", tmp_path / "library"),
        *("--writer", "openai", "--writer-url", "https://models.invalid/v1", "--writer-model", "pen"),
    )
    assert ended.code == 2
    assert "https://models.invalid" in ended.err
    assert "nothing was sent" in ended.err
