"""Reading order: rows, columns, tables, stacks; and the heading of a page."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import pytest

from fdvs.screen_text.boxes import Box
from fdvs.screen_text.order import reading_order
from fdvs.screen_text.readings import ReadLine
from tests.screen_text.made import line, look, pages


@dataclass(frozen=True)
class Placed:
    text: str
    box: Box


def read(*placed: tuple[str, int, int, int]) -> str:
    """Letters in reading order; each is given with left, top and width, and is 40 high."""
    return "".join(one.text for one in reading_order([Placed(text, (x, y, x + w, y + 40)) for text, x, y, w in placed]))


def test_lines_are_read_from_top_to_bottom_in_whatever_order_they_come() -> None:
    lines = (("a", 100, 100, 300), ("b", 120, 200, 300), ("c", 110, 300, 300))
    assert {read(*some) for some in permutations(lines)} == {"abc"}


def test_columns_are_read_one_after_the_other() -> None:
    left = [("a", 50, 200, 300), ("b", 50, 250, 300), ("c", 50, 300, 300)]
    right = [("x", 600, 215, 300), ("y", 600, 265, 300)]
    assert read(("t", 50, 50, 800), *left, *right) == "tabcxy"


def test_names_and_roles_are_read_by_rows() -> None:
    names = [(letter, 100, 300 + 50 * n, 200) for n, letter in enumerate("abc")]
    roles = [(letter, 500, 300 + 50 * n, 200) for n, letter in enumerate("xyz")]
    assert read(*names, *roles) == "axbycz"


def test_captions_under_pictures_are_read_one_by_one() -> None:
    assert read(("a", 100, 300, 200), ("b", 100, 340, 150), ("x", 303, 310, 200), ("y", 303, 350, 150)) == "abxy"


def test_line_in_two_pieces_stays_in_its_row() -> None:
    assert read(("a", 100, 300, 200), ("b", 301, 302, 200), ("c", 100, 400, 150), ("d", 255, 398, 200)) == "abcd"


HEAD = line("Cost of a frame", 60, high=90)
TWO_LINES = [line("A title in", 100, high=90), line("two lines", 195, high=90)]


@pytest.mark.parametrize(
    ("lines", "title"),
    [
        ([HEAD, line("half a second", 300), line("one thread", 400)], "Cost of a frame"),
        ([line("one", 300), line("two words", 355), line("three words here", 410), line("and four", 465)], ""),
        ([*TWO_LINES, line("by someone", 500)], "A title in two lines"),
        (TWO_LINES, "A title in two lines"),
        ([line("first point", 300), line("second point", 420), line("a large word", 700, high=120)], ""),
        ([line("Plain heading", 60), line("a point", 300), line("its second line", 360)], "Plain heading"),
        ([line("Thank you", 400)], "Thank you"),
    ],
)
def test_title_is_the_line_that_stands_out(lines: list[ReadLine], title: str) -> None:
    (page,) = pages(look(0, 10, *lines))
    assert page.title == title
