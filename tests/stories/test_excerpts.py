"""Excerpts: what of the text on the screen is quoted, and how the rest is accounted for."""

from __future__ import annotations

import pytest

from fdvs.stories.excerpts import BRIEF_CHARS, quoted, some_of
from fdvs.stories.lines import running_text, stopped

TEN = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def test_a_quote_is_shortened_to_whole_lines_and_says_by_how_many() -> None:
    lines = ["Alpha beta", "Gamma delta", "Epsilon zeta"]
    assert quoted(lines) == '"Alpha beta / Gamma delta / Epsilon zeta"'
    assert quoted(lines, 25) == '"Alpha beta / Gamma delta" and one more line'
    assert quoted(["Alpha beta gamma delta"], 12) == '"Alpha beta" …'


def test_a_quote_that_is_hardly_too_long_is_whole() -> None:
    assert quoted(["Alpha beta", "Gamma delta", "Zeta"], 25) == '"Alpha beta / Gamma delta / Zeta"'


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["Water runs downhill", "and carries sand"], "Water runs downhill and carries sand"),
        (["413M pairs", "filtered by a model", "all samples are over 0.3 in similarity"], None),
        (["See the page", "https://example.org/a"], None),
        (["Rivers carry their sand", "Lakes keep it"], None),
    ],
)
def test_a_line_goes_on_where_the_next_word_had_no_room(lines: list[str], text: str | None) -> None:
    assert running_text(lines) == (text or " / ".join(lines))


def test_a_shortened_quote_is_the_beginning_of_the_whole() -> None:
    lines = ["413M pairs", "filtered by a model", "all samples are over 0.3 in similarity of one to the other"]
    assert quoted(lines, 40).startswith('"413M pairs / filtered by a model" and one more')


def test_bullets_are_no_words_and_begin_a_line() -> None:
    assert running_text(["All that a river does to", "• carry sand", "•sing", "•"]) == (
        "All that a river does to / carry sand / sing / •"
    )


def test_of_many_lines_those_are_named_that_say_what_all_are_about() -> None:
    lines = ["Settings", "Help", "white cat", "black cat", "cat", "cat asleep", *(f"cat {i}" for i in range(30))]
    told = some_of(lines, "lines")
    assert told.startswith("about 40 lines, among them ")
    assert "cat" in told
    assert told.count("cat") == 1, "each line is named for words that no other says"


def test_lines_are_named_verbatim_in_reading_order_and_briefly() -> None:
    lines = [f"Entry {word} of the table" for word in TEN] * 3
    names = some_of(lines, "new lines").split('"')[1].split(" / ")
    assert [lines.index(name) for name in names] == sorted(lines.index(name) for name in names)
    assert len(" / ".join(names)) <= BRIEF_CHARS


def test_where_no_word_returns_the_first_lines_are_named() -> None:
    told = some_of([str(i) for i in range(200)], "lines")
    assert told.startswith('about 200 lines, among them "0 / 1 / 2 / ')
    assert len(told) < 150


def test_a_sentence_is_stopped_once() -> None:
    assert [stopped('"Go"'), stopped('"Go."'), stopped("“Why?”")] == ['"Go".', '"Go."', "“Why?”"]
