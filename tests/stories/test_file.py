"""The story file: what goes out comes back, equal records give equal bytes, a broken file names its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.errors import InputError
from fdvs.records import DuplicateGroup, DuplicateMember, Span, StoryRecord
from fdvs.stories.file import dump_story, load_story, story_from_json, story_to_json
from tests.stories.films import PAPER, VIDEO_ID, film, record_of

TEXTS = ["A man walks. He sits.", "", "A dog runs", "A dog runs"]


def sample() -> StoryRecord:
    record = record_of(film(TEXTS, said=lambda i: "Grüß dich!" if i == 2 else ""))
    first, again = record.captions[2], record.captions[4]
    member = DuplicateMember(again.id, VIDEO_ID, again.span, 0.987654321, "exact")
    group = DuplicateGroup("textual", first.id, VIDEO_ID, first.span, (member,))
    return replace(record, duplicates=(group,))


def test_keys_and_their_order_are_the_contract() -> None:
    data = story_to_json(sample())
    assert list(data) == ["schema", "video", "settings", "captions", "nodes", "duplicates"]
    assert data["schema"] == "fdvs-story/1"
    assert data["video"] == {"name": "film.mp4", "id": VIDEO_ID, "duration_s": 40.0}
    assert list(data["captions"][0]) == ["id", "clip_id", "kind", "start_s", "end_s", "outcome", "reason", "text"]
    assert list(data["nodes"][0]) == [
        "id", "level", "parent", "children", "start_s", "end_s", "title", "text", "sentences",
    ]  # fmt: skip
    assert data["nodes"][0]["parent"] is None
    for node in data["nodes"]:
        assert node["text"] == " ".join(sentence["text"] for sentence in node["sentences"])


def test_a_failed_caption_is_exported_with_its_reason() -> None:
    captions = story_to_json(sample())["captions"]
    failed = [item for item in captions if item["outcome"] == "failed"]
    assert [(item["text"], item["reason"]) for item in failed] == [("", "no caption")]


def test_equal_records_give_equal_bytes_whatever_the_order_of_settings() -> None:
    record = sample()
    shuffled = dict(reversed([(stage, dict(reversed(table.items()))) for stage, table in record.settings.items()]))
    assert dump_story(record) == dump_story(replace(record, settings=shuffled))
    assert dump_story(record).endswith("}\n")
    assert "Grüß dich!" in dump_story(record)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([*TEXTS, 'with "quotes" & <b>', "日本。語"]), min_size=1, max_size=40), st.booleans())
def test_a_story_survives_export_and_import(texts: list[str], paper: bool) -> None:
    record = record_of(film(texts, clip_ms=1234), PAPER) if paper else record_of(film(texts, clip_ms=1234))
    text = dump_story(record)
    loaded = load_story(text)
    assert dump_story(loaded) == text
    assert (loaded.video, loaded.nodes) == (record.video, record.nodes)
    plain = [replace(caption, backend="", settings_hash="") for caption in record.captions]
    assert [replace(caption, backend="", settings_hash="") for caption in loaded.captions] == plain


def test_duplicates_survive_with_rounded_similarity() -> None:
    record = sample()
    (group,) = load_story(dump_story(record)).duplicates
    assert group.members[0].similarity == 0.987654
    assert replace(group, members=()) == replace(record.duplicates[0], members=())


def test_a_file_name_that_is_no_text_does_not_break_the_story() -> None:
    record = record_of(film(["A man walks."]), name="file name \udcff not in UTF-8.mp4")
    assert load_story(dump_story(record)).video.name == "file name ? not in UTF-8.mp4"


def broken(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(dump_story(sample()))
    change(data)
    return data


def put(*path: str | int, value: object) -> Callable[[dict[str, Any]], object]:
    def change(data: Any) -> None:
        for step in path[:-1]:
            data = data[step]
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("schema", value="fdvs-story/2"), r"schema: must be .*story/1"),
        (put("extra", value=1), r"the document: has the unknown key .*extra"),
        (lambda data: data.pop("nodes"), r"the document: lacks 'nodes'"),
        (put("nodes", value=[]), r"nodes: needs at least 1"),
        (put("video", "id", value="abc"), r"video\.id: must match"),
        (put("video", "duration_s", value=0), r"video\.duration_s: must be above 0"),
        (put("captions", 1, "kind", value="smell"), r"captions\[1\]\.kind: must be one of visual"),
        (put("captions", 1, "start_s", value=-1), r"captions\[1\]\.start_s: must be at least 0"),
        (put("captions", 0, "end_s", value=0.0001), r"captions\[0\]\.end_s: must lie after"),
        (put("captions", 0, "text", value=None), r"captions\[0\]\.text: must be string, got null"),
        (put("captions", 1, "text", value="told"), r"captions\[1\]\.text: a failed caption"),
        (put("captions", 0, "clip_id", value="clip-0123456789abcdef"), r"captions\[0\]\.clip_id: there is no clip"),
        (put("nodes", 3, "level", value="shot"), r"nodes\[3\]\.level"),
        (put("nodes", 3, "start_s", value=True), r"nodes\[3\]\.start_s: must be number, got true"),
        (put("nodes", 3, "text", value="other"), r"nodes\[3\]\.text: is not its sentences"),
        (put("nodes", 3, "sentences", 0, "sources", value=[]), r"nodes\[3\]\.sentences\[0\]\.sources: needs at least"),
        (put("nodes", 3, "sentences", 0, "sources", 0, value="cap-0000000000000000"), r"does not exist"),
        (put("nodes", 0, "end_s", value=39.0), r"union"),
        (put("nodes", 2, "children", value=["clip-0123456789abcdef"] * 2), r"nodes\[2\]\.children: has the same"),
        (put("duplicates", 0, "members", 0, "similarity", value=1.5), r"members\[0\]\.similarity: must be at most"),
        (put("settings", "clips", "x", value=[1]), r"settings\.clips\.x: must be string or number"),
    ],
)
def test_a_broken_story_names_the_place(change: Callable[[dict[str, Any]], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        story_from_json(broken(change))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"schema": NaN}', "[" * 100_000])
def test_what_is_no_story_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        load_story(text)


def test_a_repeated_caption_id_is_refused() -> None:
    data = broken(lambda d: d["captions"].append(d["captions"][0]))
    with pytest.raises(InputError, match="is there twice"):
        story_from_json(data)


def test_similarity_that_is_no_number_is_never_written() -> None:
    record = sample()
    member = replace(record.duplicates[0].members[0], similarity=float("nan"), span=Span(0, 1))
    with pytest.raises(ValueError, match="JSON compliant"):
        dump_story(replace(record, duplicates=(replace(record.duplicates[0], members=(member,)),)))
