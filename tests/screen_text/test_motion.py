"""Text that moves or stays for ever: credits, tickers, watermarks, templates, clocks."""

from __future__ import annotations

from fdvs.records import PageKind, Span
from fdvs.screen_text.readings import Reading
from fdvs.screen_text.ticker import num_shared
from tests.screen_text.made import line, look, pages, same, texts

NAMES = (
    "Directed by",
    "Ada Marsh",
    "Camera",
    "Bo Winter",
    "Sound",
    "Cleo Hart",
    "Colour grading",
    "Ada Marsh",
    "Costumes",
    "Dov Sanders",
    "Catering",
    "Eve Pillar",
)


def rolled(num_looks: int, *, watermark: bool = False, blur: bool = False) -> list[Reading]:
    """Twelve lines, 90 thousandths apart, that move up by 60 in each second."""
    looks = []
    for second in range(num_looks):
        lines = [line("STUDIO NINE", 930, left=800, wide=150)] if watermark else []
        for index, name in enumerate(NAMES):
            top = 1000 + 90 * index - 60 * second
            if 0 < top < 940:
                read = name.replace("a", "o", 1) if blur and (second + index) % 4 == 0 else name
                lines.append(line(read, top, left=400, score=0.9 if blur else 0.98, high=40))
        looks.append(look(second, second + 1, *lines))
    return looks


def test_scrolling_credits_are_one_page_with_every_line_once_in_order() -> None:
    (page,) = pages(*rolled(36))
    assert page.kind == PageKind.SCROLL
    assert tuple(texts(page)) == NAMES
    starts = [step.start_ms for step in page.steps]
    assert starts == sorted(set(starts))
    assert len(starts) > 2
    assert page.span.start_ms <= 3_000
    assert page.span.end_ms >= 30_000


def test_misread_credits_are_mended_by_vote() -> None:
    (page,) = pages(*rolled(36, blur=True))
    assert tuple(texts(page)) == NAMES


def test_credits_out_of_sight_for_a_while_are_still_one_page() -> None:
    looks = rolled(36)
    blind = [*looks[:15], *(look(second, second + 1) for second in range(15, 19)), *looks[19:]]
    (page,) = pages(*blind)
    assert tuple(texts(page)) == NAMES


def test_logo_over_credits_is_no_credit() -> None:
    over, scroll = sorted(pages(*rolled(36, watermark=True)), key=lambda page: page.kind)
    assert (over.kind, texts(over)) == (PageKind.OVERLAY, ["STUDIO NINE"])
    assert tuple(texts(scroll)) == NAMES


def test_page_that_is_scrolled_by_hand_is_no_credit_roll() -> None:
    body = [
        f"{name} wrote this sentence" for name in ("Ann", "Bert", "Carla", "Dora", "Emil", "Fritz", "Gerda", "Hugo")
    ]
    looks = [
        look(
            2 * n, 2 * n + 2, *(line(text, 250 + 90 * i - moved) for i, text in enumerate(body) if i * 90 > moved - 200)
        )
        for n, moved in enumerate((0, 0, 100, 400, 400, 300, 500, 500))
    ]
    shown = pages(*looks)
    assert {page.kind for page in shown} == {PageKind.PAGE}


def test_slides_that_follow_each_other_do_not_scroll() -> None:
    shown = pages(
        *(
            look(5 * n, 5 * n + 5, line(f"Heading {word}", 60, high=90), line(f"Body of the {word} slide", 300))
            for n, word in enumerate(("alpha", "beta", "gamma", "delta"))
        )
    )
    assert [page.kind for page in shown] == [PageKind.PAGE] * 4


def test_watermark_over_pictures_is_told_once() -> None:
    mark = line("www.example.org", 900, left=700, high=40)
    looks = [look(2 * n, 2 * n + 2, *([mark] if n % 4 else [])) for n in range(12)]
    (page,) = pages(*looks)
    assert (page.kind, page.span, texts(page)) == (PageKind.OVERLAY, Span(2_000, 24_000), ["www.example.org"])


def test_template_line_is_taken_out_of_the_slides_it_stands_on() -> None:
    foot = line("Ruth Example, 2026", 950, left=750, high=30)
    looks = [
        look(10 * n, 10 * n + 10, line(head, 60, high=90), line(body, 300), foot)
        for n, (head, body) in enumerate(
            (("Why we came", "The bridge is closed"), ("What we saw", "Nobody works on it"), ("What to do", "Swim"))
        )
    ]
    over, *slides = sorted(pages(*looks), key=lambda page: page.kind)
    assert (over.kind, texts(over), over.span) == (PageKind.OVERLAY, ["Ruth Example, 2026"], Span(0, 30_000))
    assert [page.title for page in slides] == ["Why we came", "What we saw", "What to do"]
    assert not any("Ruth Example, 2026" in texts(page) for page in slides)


def test_heading_that_stands_over_two_slides_stays_on_both() -> None:
    head = line("Results", 60, high=90)
    one, two = pages(
        look(0, 10, head, line("The first method needs an hour", 300)),
        look(10, 20, head, line("Nobody waits for the second one", 300)),
    )
    assert (one.title, two.title) == ("Results", "Results")


def test_ticker_is_one_line_over_the_pages() -> None:
    text = "Storm expected in the north this evening; ferries stay in port until Monday; schools open as usual"
    looks = [
        look(n, n + 1, line("Evening news", 300, high=90), line(text[14 * n : 14 * n + 44], 920, left=10, wide=980))
        for n in range(5)
    ]
    ticker, news = sorted(pages(*looks), key=lambda page: page.kind)
    assert (ticker.kind, texts(ticker)) == (PageKind.OVERLAY, [text])
    assert (news.kind, news.title, news.span) == (PageKind.PAGE, "Evening news", Span(0, 5_000))


def test_windows_of_a_text_share_its_middle() -> None:
    assert num_shared("ferries stay in port until", "in port until Monday") == len("inportuntil")
    assert num_shared("ferries stay in port", "schools open as usual") == 0


def test_subtitles_that_take_up_a_word_are_no_ticker() -> None:
    said = (
        "I talked to the doctor",
        "the doctor went to the station",
        "the station was closed",
        "closed for the winter",
    )
    shown = pages(*(look(3 * n, 3 * n + 3, line(text, 880, left=300)) for n, text in enumerate(said)))
    assert [(page.kind, texts(page)) for page in shown] == [(PageKind.PAGE, [text]) for text in said]


def test_running_clock_is_not_told_again() -> None:
    looks = [look(n, n + 1, line("Control room", 60, high=90), line(f"12:00:{n:02d}", 300)) for n in range(10)]
    (page,) = pages(*looks)
    assert texts(page) == ["Control room", "12:00:00"]


def test_still_slide_read_once_is_believed() -> None:
    (page,) = pages(look(0, 1, line("Cost", 400, score=0.9)), same(1, 20))
    assert page.span == Span(0, 20_000)
