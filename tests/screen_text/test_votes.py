"""What a line says and whether it is believed: votes over time against single, blurred and cut-off readings."""

from __future__ import annotations

import pytest

from fdvs.screen_text.readings import ReadLine
from fdvs.screen_text.texts import essence, grows_into, same_words, similarity
from tests.screen_text.made import line, look, pages, same, texts


def test_sharp_reading_beats_blurred_ones() -> None:
    blurred = [look(n, n + 1, line("Deep Leaming", 400, score=0.88)) for n in range(2)]
    (page,) = pages(*blurred, look(2, 3, line("Deep Learning", 400)), same(3, 9))
    assert texts(page) == ["Deep Learning"]


def test_readings_that_disagree_drop_out_and_leave_the_rest_of_the_page() -> None:
    wild = ("trodurbion to", "introduction to", "ntrodvctiom lo", "inhoduchon te")
    looks = [look(n, n + 1, line("Welcome", 300), line(text, 500, score=0.92)) for n, text in enumerate(wild)]
    (page,) = pages(*looks)
    assert texts(page) == ["Welcome"]


def test_line_that_comes_and_goes_in_a_standing_page_drops_out() -> None:
    looks = [
        look(n, n + 1, line("Welcome", 300), *([line("reflection", 600, score=0.97)] if n in (0, 9) else []))
        for n in range(10)
    ]
    (page,) = pages(*looks)
    assert texts(page) == ["Welcome"]


@pytest.mark.parametrize(
    "scrap",
    [
        line("A", 400, score=1.0),
        line("千", 400, score=0.99),
        line("1599", 400, score=0.8),
        line("BUNKSY", 400, score=0.75),
        line("rners", 400, score=0.9),
        line("MESSAGE", 0, score=0.98),
        line("··|", 400, score=0.99),
    ],
)
def test_scrap_in_a_moving_shot_is_no_text(scrap: ReadLine) -> None:
    assert pages(look(0, 1), look(1, 2, scrap), look(2, 3)) == []


def test_typed_line_is_one_line_that_ends_as_it_ended() -> None:
    (page,) = pages(
        look(0, 4, line("How to", 300)),
        look(4, 5, line("How to communica", 300)),
        look(5, 9, line("How to communicate your ideas", 300)),
    )
    assert [(texts(page)), page.steps[0].start_ms, len(page.steps)] == [["How to communicate your ideas"], 0, 1]


def test_scribble_that_is_read_anew_each_time_does_not_stick_to_its_line() -> None:
    print_ = "Structuring your project"
    noise = ("on/d", "ton/deu /t", "tan/de ltest", "ton/dey lest")
    (page,) = pages(
        look(0, 5, line(print_, 300)),
        *(look(5 + n, 6 + n, line(f"{print_} {text}", 300, score=0.95)) for n, text in enumerate(noise)),
    )
    assert texts(page) == [print_]


def test_number_that_was_split_off_comes_back_to_its_line() -> None:
    second = (line("2.", 300, wide=20), line("Improving it", 302, left=140))
    (page,) = pages(look(0, 9, *second, line("•", 400), line("Then more", 400, left=125)))
    assert texts(page) == ["2. Improving it", "• Then more"]


def test_lost_spaces_are_found_in_another_reading() -> None:
    (page,) = pages(look(0, 2, line("CHARACTERDESIGN", 300)), look(2, 4, line("CHARACTER DESIGN", 300)))
    assert texts(page) == ["CHARACTER DESIGN"]


def test_slides_that_differ_in_one_word_are_two_texts() -> None:
    one, two = pages(look(0, 5, line("Lesson part one", 400)), look(5, 9, line("Lesson part two", 400)))
    assert (texts(one), texts(two), two.repeats) == (["Lesson part one"], ["Lesson part two"], None)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("kitten", "sitting", 0.571),
        ("Deep Learning", "deep learning!", 1.0),
        ("", "x", 0.0),
        ("·", "·", 1.0),
        ("ab", "", 0.0),
    ],
)
def test_similarity_is_one_minus_the_share_of_letters_to_change(a: str, b: str, expected: float) -> None:
    assert similarity(a, b) == similarity(b, a) == expected


def test_growing_by_words_is_told_from_growing_inside_a_word() -> None:
    assert grows_into("a learning project", "A learning project, ten")
    assert not grows_into("a learning project", "a learning projects")
    assert not grows_into("same", "same")


def test_same_words_keeps_numbers_and_words_apart() -> None:
    assert same_words("Introduction to", "ntroduction to")
    assert not same_words("Chapter 11", "Chapter 12")
    assert essence("Ｆull Ｗidth!") == "fullwidth"
