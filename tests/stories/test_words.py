"""Sentences, words and safe text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdvs.records import clock
from fdvs.stories.words import Rarity, content_words, safe_text, same_text_key, sparse_dot, split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        ("No stop", ["No stop"]),
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Smith met J. R. Jones. They spoke.", ["Dr. Smith met J. R. Jones.", "They spoke."]),
        ("It costs 3.50 in total. Cheap.", ["It costs 3.50 in total.", "Cheap."]),
        ('He said "Go." She went.', ['He said "Go."', "She went."]),
        ("Wait... what?", ["Wait...", "what?"]),
        ("  Two\nlines.\n\nNext ", ["Two lines.", "Next"]),
        ("他来了。她走了。", ["他来了。", "她走了。"]),
        ("No. Nothing at all.", ["No.", "Nothing at all."]),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(st.text(alphabet=" .!?\"')ab。A\n", max_size=60))
def test_splitting_loses_nothing_but_white_space(text: str) -> None:
    assert "".join(split_sentences(text)).replace(" ", "") == "".join(text.split())


def test_content_words_are_those_that_tell() -> None:
    assert content_words("The cat's on the Mat, and it is 42!") == ["cat's", "mat", "42"]
    assert content_words("猫在桌上") == ["猫", "在", "桌", "上"]


def test_texts_are_the_same_whatever_their_case_and_punctuation() -> None:
    assert same_text_key("A Man, walking.") == same_text_key("a man walking")
    assert same_text_key("A man walking") != same_text_key("A man running")
    assert same_text_key("…") != same_text_key("!")


def test_rare_words_weigh_more_than_common_ones() -> None:
    rarity = Rarity([["room", "robot"], ["room"], ["room"]])
    assert rarity("robot") > rarity("room") > 0
    vector = rarity.vector("A robot in the room")
    assert sparse_dot(vector, vector) == pytest.approx(1.0)
    assert sparse_dot(vector, rarity.vector("nothing shared")) == 0.0
    assert rarity.vector("the of and") == {}


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;http://evil\x07link\x1b]8;;\x07", "link"),
        ("bell\x07 and\tnew\nline\r\x9b2J", "bell and new line 2J"),
        ("abc\u202edcb\u2066x\u200f", "abcdcbx"),
        ("a\u2028b", "a b"),
        ("tag\U000e0041s, soft\u00adhyphen", "tags, softhyphen"),
        ("half \ud800 pair", "half \ufffd pair"),
        ("family 👩\u200d👧 stays", "family 👩\u200d👧 stays"),
    ],
)
def test_untrusted_text_cannot_steer_a_terminal(text: str, safe: str) -> None:
    assert safe_text(text) == safe


@given(st.text(max_size=40))
def test_safe_text_is_one_printable_line(text: str) -> None:
    safe = safe_text(text)
    kinds = {unicodedata.category(character) for character in safe if character not in "\u200c\u200d"}
    assert not kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert safe == safe_text(safe)


@pytest.mark.parametrize(
    ("time_ms", "hours", "shown"),
    [(0, False, "0:00"), (61_999, False, "1:01"), (3_599_999, False, "59:59"), (3_600_000, False, "1:00:00"),
     (61_000, True, "0:01:01"), (100 * 3_600_000, False, "100:00:00")],
)  # fmt: skip
def test_clock_times_round_down_to_the_second(time_ms: int, hours: bool, shown: str) -> None:
    assert clock(time_ms, hours=hours) == shown
