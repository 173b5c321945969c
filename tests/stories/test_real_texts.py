"""Stories from published texts: human event captions, dense captions of whole movies, film descriptions, lectures.

The checks are about form (sound trees, verbatim sentences, schema); what the stories read like was judged by eye.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fdvs.records import CaptionKind, Level, Span, StoryRecord
from fdvs.stories.file import story_to_json
from fdvs.stories.importing import (
    ImportedCaption,
    ImportedVideo,
    clips_from_captions,
    evidence_of,
    import_settings,
    read_captions,
)
from fdvs.stories.lines import is_note
from fdvs.stories.render import render_tree
from fdvs.stories.schema import story_schema
from fdvs.stories.tree import build_story
from fdvs.stories.words import same_text_key
from tests.stories.films import SETTINGS, BagOfWords

TEXTS = Path(__file__).parents[3] / "shared" / "data" / "text"
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not TEXTS.is_dir(), reason="the shared texts (../shared/data/text) are not there"),
]


def told(imported: ImportedVideo) -> StoryRecord:
    settings = import_settings(SETTINGS)
    clips, captions = clips_from_captions(imported)
    built = build_story(imported.video(), evidence_of(clips, captions), settings, BagOfWords())
    return StoryRecord(imported.video(), settings.content(), tuple(captions), built.nodes)


def records(name: str) -> Iterator[Any]:
    with gzip.open(TEXTS / name, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def visual(name: str, duration_s: float, events: list[tuple[float, float, str]]) -> ImportedVideo:
    end_ms = round(duration_s * 1000)
    spans = [(Span(round(a * 1000), min(round(b * 1000), end_ms)), " ".join(text.split())) for a, b, text in events]
    return ImportedVideo(name, end_ms, tuple(sorted(ImportedCaption(s, CaptionKind.VISUAL, t) for s, t in spans)))


def check(record: StoryRecord) -> None:
    jsonschema.Draft202012Validator(story_schema()).validate(story_to_json(record))
    kinds = (CaptionKind.VISUAL, CaptionKind.SPEECH)
    own = [same_text_key(" ".join(item.text for item in record.captions if item.kind is kind)) for kind in kinds]
    for node in record.nodes:
        for sentence in node.sentences:
            assert is_note(sentence.text) or any(same_text_key(sentence.text) in text for text in own), sentence
    chapters = [node for node in record.nodes if node.level is Level.CHAPTER]
    assert len({chapter.title for chapter in chapters}) == len(chapters)
    assert all(chapter.title for chapter in chapters)
    assert render_tree(record)


def test_human_event_captions() -> None:
    for _, row in zip(range(200), records("activitynet_captions_qa.jsonl.gz"), strict=False):
        events = [(*event["t"], event["text"]) for event in row["annotator_a"]]
        record = told(visual(row["video"], row["duration_s"], events))
        check(record)
        texts = {node.text for node in record.nodes if node.level is Level.CLIP}
        assert all(any(same_text_key(text) in same_text_key(node) for node in texts) for _, _, text in events)


def movie(row: Any) -> ImportedVideo:
    events: list[tuple[float, float, str]] = []
    for window in row["clips"]:
        for match in re.finditer(r"(\d+):(\d+)~(\d+):(\d+)\s+(.+)", window["dense_caption"]):
            a, b = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
            if a < b:
                events.append((window["start_s"] + a, window["start_s"] + b, match[5]))
    return visual(row["movie"], max(end for _, end, _ in events), events)


def test_whole_movies_have_parts_and_bounded_chapters() -> None:
    for _, row in zip(range(4), records("moviestory101_dense_captions_gemini.jsonl.gz"), strict=False):
        record = told(movie(row))
        check(record)
        chapters = [node for node in record.nodes if node.level is Level.CHAPTER]
        gaps = [node for node in record.nodes if node.level is Level.CLIP and node.span.duration_ms > 300_000]
        assert all(node.span.duration_ms <= 300_000 for node in chapters) or gaps
        has_parts = any(node.level is Level.PART for node in record.nodes)
        assert has_parts == (len(chapters) > 24)


def test_a_film_with_descriptions_and_dialogue() -> None:
    names = ["elephants_dream.descriptions.en.vtt", "elephants_dream.captions.en.vtt"]
    (imported,) = read_captions([TEXTS / "subtitles" / name for name in names])
    assert imported.name == "elephants_dream"
    record = told(imported)
    check(record)
    text = render_tree(record)
    assert "Two people stand on a small bridge." in text
    assert '"You have to learn to listen."' in text
    assert 4 <= sum(node.level is Level.CHAPTER for node in record.nodes) <= 12


@pytest.mark.parametrize(
    "name", ["lecture_crypto_arithmetic.srt", "lecture_short_3.vtt", "lecture_german_autocaptions.srt"]
)
def test_lectures_are_quoted_in_whole_sentences(name: str) -> None:
    (imported,) = read_captions([TEXTS / "subtitles" / name])
    record = told(imported)
    check(record)
    for node in record.nodes:
        if node.level is Level.CHAPTER:
            assert node.title[0] in '"“'
            assert all(sentence.text[0] in '"“' for sentence in node.sentences)
