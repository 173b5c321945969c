from __future__ import annotations

import pytest

from fdvs.prompts.letters import MAX_OPTIONS, letters, parse_letter


@pytest.mark.parametrize(
    "reply",
    [
        "B",
        " B \n",
        "b",
        "(b)",
        "B.",
        "B)",
        "(B)",
        "[B]",
        "**B**",
        "**B.**",
        "`B`",
        "B. the milk",
        "B) the milk",
        "B: the milk",
        "(B) the milk",
        "(B): the milk",
        "**B.** the milk",
        "**(B)** the milk",
        "B\nThe cat drinks milk in [6].",
        "B. the milk\n\nA cat is seen drinking it.",
        "Answer: B",
        "answer: (B)",
        "**Answer:** B",
        "**Answer: B**",
        "Answer: **B. the milk**",
        "The answer is B.",
        "The correct answer is: (B) the milk",
        "My final answer: B",
        "Option B",
        "I looked at every piece.\nA cat drinks.\n\nFinal answer: B",
        "A. wine is not there.\nB. milk is there.\nAnswer: B",
        '{"option": "B"}',
        '{"option": "b"}',
        '{"cited": [3], "option": "(B)"}',
        '```json\n{"option": "B", "cited": []}\n```',
        'Here it is: {"option": "B"}',
        "<think>A or C? It says A.\nAnswer: A</think>\nB",
        '<think>{"option": "A"}</think>{"option": "B"}',
        '<think>{"option": "A"}</think>B',
    ],
)
def test_a_clear_choice_is_read(reply: str) -> None:
    assert parse_letter(reply, 4) == 1


@pytest.mark.parametrize(
    "reply",
    [
        "",
        " \n",
        "none",
        "None.",
        "N/A",
        "none of the above",
        "Answer: none",
        "A woman pours milk.",
        "I think it is B",
        "It could be B.",
        "The answer is B because the cat drinks milk.",
        "The answer is A woman",
        "Because B.",
        "BB",
        "ABCD",
        "A or B",
        "A. or B.",
        "B/C",
        "B, C",
        "B and C",
        "(B) or (C)",
        "A\nB",
        "A. wine\nB. milk\nC. tea",
        "Answer: A\nAnswer: B",
        "E",
        "Z.",
        "Answer: Q",
        "5",
        "Б",  # Cyrillic
        '{"option": "none"}',
        '{"option": "B and C"}',
        '{"option": "the milk"}',
        '{"option": 1}',
        '{"option": null}',
        '{"option": ["B"]}',
        '{"option": ""}',
        '{"option": "B"} {"option": "C"}',
        '{"option": "B", "option": "C"}',
        '{"answer": "B"}',
        "<think>B",
        '<think>{"option": "B"}</think>none',
    ],
)
def test_what_is_not_clearly_a_choice_is_none(reply: str) -> None:
    assert parse_letter(reply, 4) is None


def test_a_letter_counts_only_where_an_option_has_it() -> None:
    assert [parse_letter("C", count) for count in (2, 3, 26)] == [None, 2, 2]
    assert parse_letter("Answer: Z", 26) == 25
    assert [parse_letter(f"({letter})", 26) for letter in letters(26)] == list(range(26))


def test_there_are_letters_for_26_options() -> None:
    assert letters(3) == ("A", "B", "C")
    assert len(set(letters(MAX_OPTIONS))) == 26


def test_a_very_long_reply_is_read_at_once() -> None:
    assert parse_letter("((((" * 20_000 + "B", 4) is None
    assert parse_letter("B. " + "* " * 50_000, 4) == 1
    assert parse_letter("answer " * 30_000, 4) is None
