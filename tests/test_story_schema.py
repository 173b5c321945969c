"""The shipped JSON Schema of the story file: every export fits it, and the light validator reads it the same way."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.errors import InputError
from fdvs.stories.file import dump_story
from fdvs.stories.imported import ImportedCaption, ImportedVideo, clips_from_captions, evidence_of, import_settings
from fdvs.stories.schema import check_against_schema, story_schema
from tests.stories.films import PAPER, SETTINGS, BagOfWords, film, picture, record_of

VALIDATOR = jsonschema.Draft202012Validator(story_schema())


def exported(texts: list[str], paper: bool = False) -> Any:
    clips = film(texts, said=lambda i: "Hello there." if i % 3 == 1 else "", pictures=lambda i: picture(i // 4))
    return json.loads(dump_story(record_of(clips, PAPER if paper else SETTINGS)))


def test_the_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(story_schema())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["A man walks.", "", "A dog runs"]), min_size=1, max_size=80), st.booleans())
def test_every_export_fits_the_schema(texts: list[str], paper: bool) -> None:
    data = exported(texts, paper)
    VALIDATOR.validate(data)
    check_against_schema(data)


def test_imported_captions_with_gaps_fit_the_schema() -> None:
    from fdvs.records import CaptionKind, Span, StoryRecord
    from fdvs.stories.tree import build_story

    told = ImportedCaption(Span(500, 1500), CaptionKind.VISUAL, "A man walks")
    imported = ImportedVideo("talk", 4000, (told,))
    clips, captions = clips_from_captions(imported)
    chosen = import_settings(SETTINGS)
    built = build_story(imported.video(), evidence_of(clips, captions), chosen, BagOfWords())
    data = json.loads(dump_story(StoryRecord(imported.video(), chosen.content(), tuple(captions), built.nodes)))
    VALIDATOR.validate(data)
    assert [item["outcome"] for item in data["captions"]] == ["failed", "ok", "failed"]


def test_an_hour_long_story_with_parts_fits_the_schema() -> None:
    clips = film(["A still picture."] * 1100, pictures=lambda i: picture(i // 9))
    data = json.loads(dump_story(record_of(clips, replace(SETTINGS))))
    assert any(node["level"] == "part" for node in data["nodes"])
    VALIDATOR.validate(data)


VALUES: list[Any] = [None, True, -1, 0, 2.5, "", "x", "clip-0123456789abcdef", [], {}, ["a", "a"], [{}], 1e300]


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document."""
    steps = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for step, value in steps for place in places(value, (*path, step)))]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_light_validator_agrees_with_jsonschema(data: st.DataObject) -> None:
    document = copy.deepcopy(SMALL)
    *steps, last = data.draw(st.sampled_from([place for place in places(document) if place]))
    target = document
    for step in steps:
        target = target[step]
    if isinstance(target, dict) and data.draw(st.booleans()):
        del target[last]
        target.update(data.draw(st.sampled_from([{}, {"unknown": 1}])))
    else:
        target[last] = data.draw(st.sampled_from(VALUES))
    if VALIDATOR.is_valid(document):
        check_against_schema(document)
    else:
        with pytest.raises(InputError):
            check_against_schema(document)


SMALL = exported(["A man walks. He sits.", ""])
SMALL["duplicates"] = [
    {
        "kind": "textual",
        "representative": {"id": "cap-1", "video_id": "ab" * 32, "start_s": 0.0, "end_s": 1.0},
        "members": [
            {"id": "x", "video_id": "ab" * 32, "start_s": 2.0, "end_s": 3.0, "similarity": 0.9, "rule": "exact"}
        ],
    }
]
