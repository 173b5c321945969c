from __future__ import annotations

from dataclasses import replace

import pytest

from fdvs.records import Span
from fdvs.screen_text.boxes import Box
from fdvs.screen_text.looks import cleaned
from fdvs.screen_text.readings import Reading, ReadLine
from fdvs.screen_text.unread import LEAST_MS, unread_text
from tests.screen_text.made import line, look, same, skipped

PLACE: Box = (100, 100, 600, 160)
BELOW: Box = (100, 300, 600, 360)
LONG_S = LEAST_MS / 1000


def seen(start_s: float, end_s: float, *lines: ReadLine, places: tuple[Box, ...] = (PLACE,)) -> Reading:
    return replace(look(start_s, end_s, *lines), places=places)


def in_place(place: Box, score: float) -> ReadLine:
    return ReadLine("something read", score, place)


def test_lines_that_were_seen_and_gave_nothing_are_told_with_time_and_length() -> None:
    found = unread_text([look(0, 3), seen(3, 8), same(8, 12), look(12, 14), seen(14, 20)])
    assert found is not None
    assert (found.first_ms, found.duration_ms) == (3000, 15_000)
    assert "first at 0:03, 15 seconds in all" in found.warning


@pytest.mark.parametrize(("score", "is_read"), [(0.96, True), (0.83, True), (0.78, False), (0.5, False)])
def test_what_the_reader_doubts_is_not_read(score: float, is_read: bool) -> None:
    assert (unread_text([seen(0, LONG_S, in_place(PLACE, score))]) is None) is is_read


def test_a_line_that_was_read_elsewhere_does_not_make_a_place_read() -> None:
    assert unread_text([seen(0, LONG_S, in_place(BELOW, 0.99))]) is not None
    assert unread_text([seen(0, LONG_S, in_place(BELOW, 0.99), places=(PLACE, BELOW))]) is None  # half is read


@pytest.mark.parametrize(
    ("text", "is_text"),
    [
        ("α + β = γ, ΔE", True),
        ("学习 μ-law", True),
        ("Café für 5 €", True),
        ("γργορη αλεπο πηδ", False),
        ("The word αλεπο", False),
        ("мост через", False),
    ],
)
def test_words_in_letters_that_the_reader_does_not_know_are_misread_however_sure_it_is(
    text: str, is_text: bool
) -> None:
    read = ReadLine(text, 0.97, PLACE)
    assert (unread_text([seen(0, LONG_S, read)]) is None) is is_text
    assert [one.text for one in cleaned([read])] == ([text] if is_text else [])


def test_short_stretches_are_told_only_when_they_add_up() -> None:
    assert unread_text([seen(0, LONG_S - 0.001)]) is None
    assert unread_text([seen(0, LONG_S / 2), look(LONG_S / 2, 60), seen(60, 60 + LONG_S / 2)]) is not None


def test_a_film_most_of_which_is_read_has_no_warning() -> None:
    read = seen(0, 3 * LONG_S, in_place(PLACE, 0.99))
    assert unread_text([read, seen(3 * LONG_S, 4 * LONG_S)]) is None
    assert unread_text([read, seen(3 * LONG_S, 6 * LONG_S)]) is not None


def test_time_that_was_not_looked_at_counts_as_little_as_between_two_looks() -> None:
    moving = [one for n in range(4) for one in (seen(3 * n, 3 * n + 0.25), skipped(3 * n + 0.25, 3 * n + 3))]
    found = unread_text(moving)
    assert found is not None
    assert found.duration_ms == 12_000
    assert unread_text([seen(0, 1), skipped(1, 600)]) is None


@pytest.mark.parametrize(
    "place",
    [
        (0, 0, 998, 950),  # the whole picture: no line
        (100, 100, 600, 130),  # too small to be read in any letters
        (800, 50, 900, 130),  # a logo
    ],
)
def test_places_that_are_no_plain_line_of_text_say_nothing(place: Box) -> None:
    assert unread_text([seen(0, 10 * LONG_S, places=(place,))]) is None


def test_no_readings_have_nothing_unread() -> None:
    assert unread_text([]) is None
    assert unread_text([skipped(0, 100), look(100, 200, line("read", 100))]) is None


def test_places_are_stored_with_a_reading() -> None:
    one = Reading(Span(0, 1000), 500, (), "no_text", (PLACE, BELOW))
    assert Reading.from_json(one.to_json()) == one
    old = {key: value for key, value in one.to_json().items() if key != "places"}
    assert Reading.from_json(old).places == ()
