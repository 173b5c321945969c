"""What holds for pages of any readings at all."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.records import PageKind, Span
from fdvs.screen_text.pages import pages_of
from fdvs.screen_text.readings import Reading, ReadLine
from fdvs.screen_text.texts import tidy
from tests.screen_text.made import film

WORDS = ("Results", "What we measured", "3.", "•", "12:30", "Ada", "Peak memory of it", "千字文", "x", "Cost", "COST")


@st.composite
def lines(draw: st.DrawFn) -> ReadLine:
    left, top = draw(st.integers(0, 900)), draw(st.integers(0, 940))
    box = (left, top, left + draw(st.integers(20, 100)), top + draw(st.integers(20, 60)))
    return ReadLine(draw(st.sampled_from(WORDS)), draw(st.sampled_from((0.6, 0.9, 0.96, 1.0))), box)


@st.composite
def films(draw: st.DrawFn) -> list[Reading]:
    """Stretches that touch; slides are drawn from a small stock, so that they return."""
    stock = draw(st.lists(st.lists(lines(), max_size=5), min_size=1, max_size=3))
    readings, start = [], 0
    for _ in range(draw(st.integers(1, 10))):
        span = Span(start, start + draw(st.integers(200, 7000)))
        outcome = draw(st.sampled_from(("read", "read", "read", "same", "no_text", "skipped")))
        shown = tuple(draw(st.sampled_from(stock))) if outcome == "read" else ()
        readings.append(Reading(span, span.end_ms - 1 if outcome in ("read", "no_text") else -1, shown, outcome))
        start = span.end_ms
    return readings


@settings(max_examples=100, deadline=None)
@given(films())
def test_pages_keep_time_words_and_place(readings: list[Reading]) -> None:
    whole = film(readings)
    pages, captions = pages_of(whole, "hash")
    end_ms = readings[-1].span.end_ms
    clips = {clip.id: clip for clip, _ in whole}
    read = {tidy(line.text) for reading in readings for line in reading.lines}
    by_id = {caption.id: caption for several in captions.values() for caption in several}
    assert len(by_id) == sum(map(len, captions.values()))
    for clip_id, several in captions.items():
        for caption in several:
            assert caption.clip_id == clip_id
            assert clips[clip_id].span.contains(caption.span.start_ms)
            assert caption.span.end_ms <= end_ms
    told = set()
    for clip_id, shown in pages.items():
        for page in shown:
            assert clips[clip_id].span.contains(page.span.start_ms)
            starts = [step.start_ms for step in page.steps]
            assert starts == sorted(set(starts))
            assert starts[0] == page.span.start_ms
            assert page.repeats is None or (page.repeats in by_id and len(page.steps) == 1)
            places = Counter((line.text, line.box) for step in page.steps for line in step.lines)
            assert max(places.values()) == 1
            for step in page.steps:
                told.add(step.caption_id)
                assert by_id[step.caption_id].text == "\n".join(line.text for line in step.lines)
                assert by_id[step.caption_id].span == Span(step.start_ms, page.span.end_ms)
                for line in step.lines:
                    assert page.span.start_ms <= line.span.start_ms < line.span.end_ms <= page.span.end_ms
                    if page.kind == PageKind.PAGE:
                        assert any(line.text == one or line.text.endswith(f" {one}") for one in read)
    assert told == set(by_id)
    assert pages_of(whole, "hash") == (pages, captions)
