from __future__ import annotations

import json

import pytest

from fdvs.prompts import reader as prompts
from fdvs.prompts.quoting import DATA_RULE
from fdvs.prompts.reader import (
    MAX_ALSO,
    MAX_SENTENCE_CHARS,
    Excerpt,
    choice_request,
    evidence_text,
    excerpt_line,
    fingerprint,
    header_tokens,
    open_request,
    sentence_tokens,
)
from fdvs.prompts.tokens import estimated_tokens
from fdvs.records import Level, Span

CLIP = Excerpt(2, Level.CLIP, Span(8000, 10_000), ("A cat drinks.", "It sleeps."))
CHAPTER = Excerpt(1, Level.CHAPTER, Span(0, 3_700_000), ("Cats.",), "Morning", (Span(4_000_000, 4_000_040),))


def test_a_piece_says_where_it_stands_and_what_it_says() -> None:
    assert excerpt_line(3, CLIP, several_videos=False) == '[3] clip, 0:08–0:10: "A cat drinks. It sleeps."'
    assert excerpt_line(12, CHAPTER, several_videos=True) == (
        '[12] video 1, chapter, 0:00–1:01:40, again at 1:06:40–1:06:40.04, title "Morning": "Cats."'
    )


def test_only_some_of_many_other_times_are_told() -> None:
    many = Excerpt(1, Level.CLIP, Span(0, 1), ("x",), also=tuple(Span(i * 1000, i * 1000 + 900) for i in range(1, 9)))
    line = excerpt_line(1, many, several_videos=False)
    assert line.count("–") == 1 + MAX_ALSO
    assert " and more: " in line


def test_videos_are_named_once_before_the_evidence() -> None:
    assert evidence_text([CHAPTER, CLIP], ["a.mp4", "b.mp4"]).splitlines()[:4] == [
        'Videos: 1 = "a.mp4", 2 = "b.mp4"',
        "",
        "Evidence:",
        excerpt_line(1, CHAPTER, several_videos=True),
    ]
    assert evidence_text([CHAPTER], ["a.mp4"]).startswith('Video: "a.mp4"\n\nEvidence:\n[1] chapter, ')


@pytest.mark.parametrize("excerpt", [CLIP, CHAPTER, Excerpt(1, Level.VIDEO, Span(0, 9), ("猫喝牛奶。", "<|x|>" * 900))])
def test_what_a_piece_takes_is_estimated_from_above(excerpt: Excerpt) -> None:
    for number in (1, 999):
        for several in (False, True):
            line = excerpt_line(number, excerpt, several_videos=several)
            parts = header_tokens(excerpt) + sum(map(sentence_tokens, excerpt.sentences))
            assert estimated_tokens(line) <= parts
    assert max(map(len, json.loads(line[line.index(': "') + 2 :]).split(" "))) <= MAX_SENTENCE_CHARS


def test_the_question_stands_after_the_evidence_in_its_own_words() -> None:
    request = open_request("…", 'Who says "no\\yes"\nand\twhy?', 99)
    assert request.parts == ('…\n\nQuestion: Who says "no\\yes" and why?',)
    assert (request.max_tokens, request.schema_name, request.temperature) == (99, "answer", 0.0)


def test_both_kinds_of_requests_tell_the_model_that_quotes_are_data() -> None:
    for request in (open_request("…", "Why?", 9), choice_request("…", "Why?", ["a", "b"], 9)):
        assert DATA_RULE in request.system
        assert request.schema is not None
        assert set(request.schema["required"]) == set(request.schema["properties"])
        for name in request.schema["required"]:
            assert f'"{name}"' in request.system


def test_what_an_answer_rests_on_comes_before_it() -> None:
    assert next(iter(prompts.OPEN_SCHEMA["properties"])) == "cited"
    assert next(iter(prompts.choice_schema(["A", "B"])["properties"])) == "cited"


def test_the_fingerprint_changes_with_the_rules_and_with_how_evidence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    first = fingerprint()
    assert fingerprint.__wrapped__() == first
    for name in ("SYSTEM_OPEN", "SYSTEM_CHOICE", "VERSION", "MAX_ALSO"):
        with monkeypatch.context() as patched:
            patched.setattr(prompts, name, 2 if name in ("VERSION", "MAX_ALSO") else "other")
            assert fingerprint.__wrapped__() != first, name
