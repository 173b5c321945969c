"""JSON in replies: what is tolerated, and what is not."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdvs.prompts.parsing import MAX_CHARS, MAX_DEPTH, parse_object

PLAIN = '{"sentences": [{"text": "A dog, {runs}.", "sources": [1, 2]}], "title": "Dog \\"one\\""}'
READ = {"sentences": [{"text": "A dog, {runs}.", "sources": [1, 2]}], "title": 'Dog "one"'}


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        f"```json\n{PLAIN}\n```",
        f"```\n{PLAIN}```",
        f"Here is the summary: {PLAIN} I hope this helps {{or not}}.",
        f'<think>I could say {{"sentences": []}} but no.</think>\n{PLAIN}',
        f'so I could say {{"sentences": []}}</think>{PLAIN}',
        PLAIN.replace("[1, 2]", "[1, 2 , ]").replace('one\\""}', 'one\\"",\n}'),
        f'{{"note": 1}} {PLAIN}',
    ],
)
def test_what_stands_around_an_object_and_commas_before_its_ends_are_tolerated(text: str) -> None:
    assert parse_object(text, ("sentences", "title")) == READ


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot help with that.",
        PLAIN[:-1],
        PLAIN[:40],
        PLAIN.replace('"sentences"', "'sentences'"),
        PLAIN.replace("{", "{ // a comment\n", 1),
        PLAIN.replace("[1, 2]", "[1, NaN]"),
        PLAIN.replace("[1, 2]", "[1,, 2]"),
        PLAIN.replace('"title"', '"sentences"'),
        PLAIN.replace("runs}.", "runs}.\n"),
        f"[{PLAIN[1:]}",
        '{"title": "no sentences"}',
        '["sentences"]',
    ],
)
def test_everything_else_is_unparsable(text: str) -> None:
    assert parse_object(text, ("sentences",)) is None


def test_two_objects_that_could_both_be_meant_are_none() -> None:
    assert parse_object(f"{PLAIN} {PLAIN}", ("sentences",)) is None
    assert parse_object(f'The caption said {{"sentences": []}}. My reply: {PLAIN}', ("sentences",)) is None


def test_an_object_inside_another_does_not_count() -> None:
    assert parse_object('{"sentences": {"sentences": 1}}', ("sentences",)) == {"sentences": {"sentences": 1}}


def test_commas_and_brackets_in_strings_are_left_alone() -> None:
    assert parse_object('{"a": "</think>"}', ("a",)) == {"a": "</think>"}
    assert parse_object(r'{"a": "x,} \\", "b": ",]"}', ("a",)) == {"a": "x,} \\", "b": ",]"}


def test_deep_long_and_endless_replies_are_unparsable_and_quickly_so() -> None:
    began = time.process_time()
    deep = '{"a": ' * MAX_DEPTH + "1" + "}" * MAX_DEPTH
    assert parse_object(deep, ("a",)) is not None
    assert parse_object(f'{{"a": {deep}}}', ("a",)) is not None, "the inner object is a whole one"
    assert parse_object('{"a": ' + "[" * 5000 + "]" * 5000 + "}", ("a",)) is None
    assert parse_object("{" * 150_000, ("a",)) is None
    assert parse_object('{"a": "' * 20_000, ("a",)) is None
    assert parse_object('{"a": 1' + " " * MAX_CHARS + "}", ("a",)) is None
    assert parse_object('{"a": ' + "9" * 20_000 + "}", ("a",)) is None
    assert time.process_time() - began < 5


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), JSON, min_size=1), st.booleans(), st.text("abc \n`", max_size=10))
def test_what_json_writes_is_read_back(data: dict[str, object], is_ascii: bool, around: str) -> None:
    text = json.dumps(data, ensure_ascii=is_ascii)
    assert parse_object(f"{around}{text}{around}", list(data)) == data
