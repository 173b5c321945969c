"""Model text: what is taken out of it, what is dropped, and what is counted."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdvs.prompts.writer import KnownName
from fdvs.stories.model_text import (
    TITLE_CHARS,
    ReadReply,
    clean,
    clean_title,
    is_sound,
    read_paragraph,
    read_reply,
    refuses,
)
from tests.stories.retelling import reply_of

GIVEN = ["Anna walks along the beach.", "A man repairs a red car."]


def read(sentences: list[tuple[str, list[object]]], count: int = 3, **more: object) -> ReadReply:
    found = read_reply(reply_of(sentences, **more), GIVEN, count)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("A dog runs.", "A dog runs."),
        ("A \x00dog\x1b[31m\u202e runs\n\tfast.", "A dog runs fast."),
        ("**A dog** `runs` *fast*.", "A dog runs fast."),
        ("# A dog runs.", "A dog runs."),
        ("- A dog runs.", "A dog runs."),
        ("1. A dog runs.", "A dog runs."),
        ("A [dog](http://example.org/x) runs.", "A dog runs."),
        ("A dog runs [3].", "A dog runs."),
        ("A dog [1, 2] runs [4-6].", "A dog runs."),
        ("A dog runs (sources: 1, 2).", "A dog runs."),
        ("A dog runs [Lines 1 and 2].", "A dog runs."),
        ("A dog runs (clip-0123456789abcdef).", "A dog runs."),
        ("A dog<|im_end|> runs.</s>", "A dog runs."),
        ("In 1999 (a cold year) 3 dogs * 2 ran at 5:30.", "In 1999 (a cold year) 3 dogs * 2 ran at 5:30."),
        ("It says “snake_case” and 10 < 20 [sic].", "It says “snake_case” and 10 < 20 [sic]."),
        ("\ud800", "\ufffd"),
    ],
)
def test_marks_are_taken_out_and_words_are_left(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ('"The Beach."', "The Beach"),
        ("**Anna** at the beach [1]", "Anna at the beach"),
        ("word " * 40, ("word " * 15).strip() + "…"),
        ("x" * 200, "x" * 79 + "…"),
        ("  ", ""),
    ],
)
def test_titles_are_short_and_plain(text: str, title: str) -> None:
    assert clean_title(text) == title
    assert len(title) <= TITLE_CHARS


def test_sentences_get_their_lines_and_a_full_stop() -> None:
    found = read([("Anna walks", [1]), ("A man works! He waits.", ["2", "[1]"])])
    assert [(one.text, one.lines) for one in found.sentences] == [
        ("Anna walks.", (0,)),
        ("A man works!", (0, 1)),
        ("He waits.", (0, 1)),
    ]
    assert (found.invented_sources, found.dropped_sentences, found.cleaned_sentences) == (0, 0, 0)


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("No source.", []),
        ("An invented one.", [3]),
        ("", [1]),
        ("…", [1]),
        ("anna walks", [1]),  # said before
        ("word " * 150, [1]),
        ("and then he goes and then he goes and then he goes and then he goes", [1]),
    ],
)
def test_a_sentence_that_cannot_stand_is_dropped_and_counted(text: str, sources: list[object]) -> None:
    found = read([("Anna walks.", [1]), (text, sources)])
    assert [one.text for one in found.sentences] == ["Anna walks."]
    assert found.dropped_sentences == 1


def test_what_is_not_as_the_rules_want_it_is_dropped_and_counted() -> None:
    odd = {"sentences": ["Bare.", 3, None, {"text": 5, "sources": [1]}, {"text": "No list.", "sources": 1}], "title": 7}
    found = read_reply(json.dumps(odd), GIVEN, 3)
    assert found == ReadReply("", (), (), dropped_sentences=5)
    assert read_reply('{"sentences": "Anna walks."}', GIVEN, 3) is None
    assert read_reply('{"title": "Anna"}', GIVEN, 3) is None


def test_far_more_sentences_than_asked_for_are_dropped_and_counted() -> None:
    found = read([(f"Sentence {i} stands here.", [1]) for i in range(10)], count=2)
    assert (len(found.sentences), found.dropped_sentences) == (4, 6)


def test_without_a_title_the_first_sentence_is_one() -> None:
    assert read([("Anna walks along.", [1])], title=" ").title == "Anna walks along"


def test_names_stand_in_what_the_model_was_given() -> None:
    names = [("Anna", "a woman"), ("the red car", "**broken**"), ("Eve", "nobody"), ("the of", "stop words"), ("", "x")]
    found = read([("Anna walks.", [1])], names=names)
    assert found.names == (KnownName("Anna", "a woman"), KnownName("the red car", "broken"))
    assert found.dropped_names == 3
    known = read_reply(reply_of([("She walks.", [1])], names=[("Eve", "known")]), GIVEN, 3, [KnownName("Eve", "x")])
    assert known is not None
    assert known.names == (KnownName("Eve", "known"),)


def test_cleaned_sentences_are_counted() -> None:
    assert read([("**Anna** walks [1].", [1]), ("A man works.", [2])]).cleaned_sentences == 1


def test_a_paragraph_ends_with_its_last_whole_sentence() -> None:
    cut = read_paragraph("Anna walks. She waves. Then", 5, is_cut_off=True)
    assert [one.text for one in cut.sentences] == ["Anna walks.", "She waves."]
    assert cut.dropped_sentences == 1
    whole = read_paragraph("Anna walks. Anna walks. Then", 5, is_cut_off=False)
    assert [one.text for one in whole.sentences] == ["Anna walks.", "Then."]
    assert whole.dropped_sentences == 1
    assert not read_paragraph("  ", 5, is_cut_off=True).sentences


@pytest.mark.parametrize(
    ("text", "is_refusal"),
    [
        ("I'm sorry, but I can't describe this.", True),
        ("**As an AI** language model, I only see text.", True),
        ("I cannot help with that request.", True),
        ("A sorry-looking dog runs.", False),
        ("A man says \"I'm sorry, I can't.\"", False),
        ("", False),
    ],
)
def test_a_refusal_in_words_is_told_from_words_about_one(text: str, is_refusal: bool) -> None:
    assert refuses(text) == is_refusal


def test_a_long_sentence_of_different_words_is_sound() -> None:
    assert is_sound("Anna, who has come a long way, walks along the beach until she sees the man with the red car.")


@given(st.text(max_size=200), st.lists(st.one_of(st.integers(), st.text(max_size=3), st.none()), max_size=4))
def test_no_reply_breaks_the_reader(text: str, sources: list[object]) -> None:
    found = read([(text, sources)], title=text, names=[(text, text)])
    assert len(found.title) <= TITLE_CHARS
    for one in found.sentences:
        assert one.text == one.text.strip()
        assert not {unicodedata.category(char) for char in one.text} & {"Cc", "Cs", "Zl", "Zp"}
        assert one.lines
        assert set(one.lines) <= {0, 1}
    assert len(found.sentences) + found.dropped_sentences >= 1
