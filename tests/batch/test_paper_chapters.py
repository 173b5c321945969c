"""A build in the profile `paper` with a writer: chapters are compared, stored, exported and found."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fdvs import Library
from fdvs.records import Level
from fdvs.stories.file import load_story
from tests.batch.commands import render_film
from tests.chat.fake_server import FakeServer, Seen

_AT = re.compile(r"^at ([\d.]+) s ", re.MULTILINE)
_NUMBERED = re.compile(r"^\[(\d+)\]", re.MULTILINE)
SAME, NEW = "A woman walks along a beach with a dog.", "Engineers weld the steel frame of bridge {}."


def model(request: Seen) -> Any:
    """Chapters of clips that begin in the first half say the same, the others something of their own."""
    if "response_format" in request.body:
        return {"title": "A day", "sentences": [{"text": "It is a long day.", "sources": [1]}], "names": []}
    found = _AT.search(request.text)
    assert found, request.text
    return SAME if float(found[1]) < 6 else NEW.format(found[1])


def test_chapters_that_repeat_are_groups_of_nodes_and_stay_findable(tmp_path: Path) -> None:
    film = tmp_path / "cards.mp4"
    render_film(film, 0, seconds=12, size=(160, 96))
    with FakeServer(model) as server:
        more = ["clips.min_clip_s=2", "story.writer=openai", f"story.writer_url={server.url}", "run.request_retries=0"]
        with Library(tmp_path / "library", assignments=more, profile="paper") as library:
            assert library.build([film]).exit_code == 0
            record = library.story(film.name).record
            report = library.redundancy(film.name)
            exported = library.story(film.name).render("json")
            hits = library.search("a woman on a beach with her dog", k=20)
    chapters = {node.id: node for node in record.nodes if node.level is Level.CHAPTER}
    gone = {item.id for item in report.removed if item.kind == "textual"}
    assert gone
    assert gone < set(chapters)
    assert {item.kept_id for item in report.removed if item.kind == "textual"} <= set(chapters) - gone
    assert {chapters[one].text for one in gone} <= {SAME} | {
        NEW.format(f"{c.span.start_s:.2f}") for c in chapters.values()
    }
    assert 0 < report.captions_kept < report.captions_total
    last = next(one for one in reversed(server.requests) if "response_format" in one.body)
    assert len(_NUMBERED.findall(last.text)) == len(chapters) - len(gone)
    assert {hit.node_id for hit in hits} & gone or any(hit.also for hit in hits)

    again = load_story(exported)
    assert again.nodes[0].text == "It is a long day."
    groups = [group for group in json.loads(exported)["duplicates"] if group["kind"] == "textual"]
    assert {member["id"] for group in groups for member in group["members"]} == gone
    assert not {source for sentence in again.nodes[0].sentences for source in sentence.sources} & gone
