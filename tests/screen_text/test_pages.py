"""What is read becomes pages: build-up, votes, pages that return, and captions that trace back."""

from __future__ import annotations

from fdvs.records import CaptionKind, Outcome, Span
from tests.screen_text.made import captions, film, line, look, pages, same, skipped, texts


def test_slide_that_builds_up_is_one_page_with_the_time_of_each_line() -> None:
    head, first, second = line("What we measured", 50, high=90), line("Cost of a frame", 300), line("Peak memory", 420)
    (page,) = pages(look(0, 4, head), look(4, 9, head, first), same(9, 12), look(12, 20, head, first, second))
    assert page.span == Span(0, 20_000)
    assert page.title == "What we measured"
    assert [(step.start_ms, [one.text for one in step.lines]) for step in page.steps] == [
        (0, ["What we measured"]),
        (4_000, ["Cost of a frame"]),
        (12_000, ["Peak memory"]),
    ]


def test_new_page_begins_when_most_of_what_stood_is_gone() -> None:
    head = line("Results", 50)
    one, two = pages(
        look(0, 5, head, line("The first method needs an hour", 300)),
        look(5, 10, head, line("Nobody waits for the second one", 300)),
    )
    assert (one.span, two.span) == (Span(0, 5_000), Span(5_000, 10_000))
    assert texts(two) == ["Results", "Nobody waits for the second one"]


def test_each_step_is_a_caption_of_the_clip_in_which_it_comes() -> None:
    head, body = line("Agenda for today", 50), line("Where the time goes", 300)
    first, second = captions(look(0, 5, head), look(5, 12, head, body))
    assert (first.clip_id, first.span, first.text) == ("clip-0", Span(0, 12_000), "Agenda for today")
    assert (second.clip_id, second.span, second.text) == ("clip-1", Span(5_000, 12_000), "Where the time goes")
    assert {(one.kind, one.outcome, one.backend) for one in (first, second)} == {
        (CaptionKind.SCREEN_TEXT, Outcome.OK, "rapidocr")
    }


def test_page_that_returns_points_to_its_first_showing_and_is_findable_again() -> None:
    slide = (line("Three ways to fail", 50, high=90), line("Too slow", 300))
    other = line("A picture of the sea", 400)
    readings = (look(0, 5, slide[0]), look(5, 10, *slide), look(10, 20, other), look(20, 30, *slide))
    first, _, again = pages(*readings)
    assert again.repeats == first.steps[0].caption_id
    assert first.repeats is None
    assert [texts(again), len(again.steps)] == [["Three ways to fail", "Too slow"], 1]
    assert captions(*readings)[-1].text == "Three ways to fail\nToo slow"
    assert captions(*readings)[-1].span == Span(20_000, 30_000)


def test_page_interrupted_for_a_moment_is_one_page() -> None:
    slide = line("Thank you for listening", 400)
    (page,) = pages(look(0, 5, slide), look(5, 6), look(6, 12, slide))
    assert page.span == Span(0, 12_000)


def test_what_was_not_looked_at_is_not_claimed() -> None:
    (page,) = pages(look(0, 5, line("Only seen at the start", 400)), skipped(5, 12), look(12, 20))
    assert page.span == Span(0, 5_000)


def test_what_stands_before_and_after_a_gap_stands_through_it() -> None:
    (page,) = pages(look(0, 5, line("Beside a moving head", 400)), skipped(5, 8), same(8, 10), look(10, 20))
    assert page.span == Span(0, 10_000)


def test_film_without_text_has_no_pages() -> None:
    assert pages(look(0, 5), same(5, 10), skipped(10, 20)) == []
    assert film([look(0, 12)])[-1][0].span == Span(10_000, 12_000)
