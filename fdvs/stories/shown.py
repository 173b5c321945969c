"""Text on the screen as sentences: slides and how they build up, words over the picture, text that scrolls.

A page is told once, where it first stands; when it comes back, that is told with the time of its first showing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fdvs.captioners.wording import number
from fdvs.records import CaptionKind, PageKind, ShownPage, ShownStep, Span, clock
from fdvs.stories.excerpts import BRIEF_CHARS, QUOTE_CHARS, most_telling, quoted, some_of
from fdvs.stories.lines import OVERLAID, SHOWN, Line, quote, running_text, stopped
from fdvs.stories.standing import Shown
from fdvs.stories.words import one_line, same_text_key

_STEPS_CHARS = 360  # the quotes of all steps of a page together; one of many steps still gets `_STEP_CHARS`
_STEP_CHARS = 120
_STEPS_NAMED = 8  # steps of a page that builds up, told one by one
_RETURNS_TOLD = 2  # returns that are told where they happen; more are counted where the page first stands
_BRIEFLY_MS = 2000  # text that stands shorter is told without its end
_CROWDED = 20  # text without a heading is no slide but a crowded page from so many lines on: only some are named
_LARGE = 50  # of text in a moving picture only letters so high, in thousandths of it, can be its title
_WHOLE = 0.95  # share of the film from which words over the picture stand "for the whole film"
CREDITS = "Credits"  # the title of scrolling text late in a film
_LATE = 0.75  # scrolling text that begins later than this share of the film is its credits


class PageTeller:
    """Tells the pages of one video, stretch by stretch in time order.

    Args:
        pages: all of them, by start.
        duration_ms: of the video.
    """

    def __init__(self, pages: Sequence[Shown], duration_ms: int) -> None:
        self._pages = pages
        self._duration_ms = duration_ms
        self._first_of = {step.caption_id: shown for shown in pages for step in shown.page.steps[:1]}
        self._returns: dict[str, list[Shown]] = {}
        for shown in pages:
            if shown.page.repeats in self._first_of:
                self._returns.setdefault(str(shown.page.repeats), []).append(shown)

    def lines(self, clips: range, span: Span) -> list[Line]:
        """What is told of pages over some clips: pages that begin there with what they show by the end of `span`,
        returns that are told where they happen, and what is added to a page that began before."""
        lines: list[Line] = []
        for shown in self._pages:
            end_ms = span.end_ms if shown.stop > clips.stop else self._duration_ms
            if shown.clip in clips:
                lines += self._begun(shown, end_ms)
            elif shown.is_subject and shown.clip < clips.start < shown.stop and shown.page.kind is PageKind.PAGE:
                lines += _added(shown, span.start_ms, end_ms)
        return lines

    def _begun(self, shown: Shown, end_ms: int) -> Iterator[Line]:
        page = shown.page
        origin = self._first_of.get(page.repeats or "")
        if origin is not None:
            if len(self._returns[str(page.repeats)]) <= _RETURNS_TOLD:
                yield _line(shown, _return_text(shown, origin), page.steps)
            return
        back = self._returns.get(page.steps[0].caption_id, [])
        steps = [step for i, step in enumerate(page.steps) if i == 0 or step.start_ms < end_ms]
        line = _line(shown, _page_text(shown, steps, self._duration_ms), steps)
        if page.kind is PageKind.SCROLL and page.span.start_ms >= _LATE * self._duration_ms:
            line = replace(line, heading=CREDITS)
        yield replace(
            line,
            returns=tuple((b.page.span.start_ms, b.page.steps[0].caption_id) for b in back[_RETURNS_TOLD:] and back),
            brief=_brief_text(shown, self._duration_ms),
        )


def _added(shown: Shown, start_ms: int, end_ms: int) -> Iterator[Line]:
    """What a page that began before start_ms is built up to until end_ms."""
    steps = [step for step in shown.page.steps[1:] if start_ms <= step.start_ms < end_ms]
    if steps:
        verb = "changes" if _is_crowded(shown.page) else "builds up"
        text = stopped(f"{_name(shown)} {verb} further: {_steps_text(shown.page, steps)}")
        yield replace(_continued(shown, _line(shown, text, steps)), start_ms=steps[0].start_ms)


def still_standing(shown: Shown, at_ms: int, sources: tuple[str, ...]) -> Line:
    """What there is to say where nothing but a page told before is shown; `sources` are captions of that time."""
    verb = "goes on" if shown.page.kind is PageKind.SCROLL else "is back" if shown.page.repeats else "is still shown"
    text = f"{_name(shown)} {verb} at {clock(at_ms)}."
    return replace(_continued(shown, _line(shown, text, ())), plain=text, sources=sources, start_ms=at_ms)


def _continued(shown: Shown, line: Line) -> Line:
    """A line on a page that began before: above the scenes the page's first line says it all."""
    title = one_line(shown.page.title)
    first = shown.page.repeats or shown.page.steps[0].caption_id
    return replace(line, heading=f"{title}, continued" if title else "", weight=0.0, part_of=first)


def _line(shown: Shown, text: str, steps: Sequence[ShownStep]) -> Line:
    page = shown.page
    texts = _texts(steps)
    if _is_crowded(page) and texts:  # titles are made of the first line
        texts.insert(0, texts.pop(most_telling(texts)[0]))
    is_title = page.kind is not PageKind.OVERLAY and (shown.is_subject or _letter_height(page) >= _LARGE)
    return Line(
        text=text,
        plain=running_text(texts),
        kind=CaptionKind.SCREEN_TEXT,
        backend=SHOWN if is_title else OVERLAID,
        sources=tuple(step.caption_id for step in steps),
        start_ms=page.span.start_ms,
        end_ms=page.span.end_ms,
        heading=one_line(page.title),
        weight=float(page.span.duration_ms if shown.is_subject else 0),
    )


def _letter_height(page: ShownPage) -> int:
    """Of the largest line, in thousandths of the picture's height."""
    return max(line.box[3] - line.box[1] for step in page.steps for line in step.lines)


def _is_crowded(page: ShownPage) -> bool:
    return not page.title and max(len(step.lines) for step in page.steps) >= _CROWDED


def _name(shown: Shown) -> str:
    page = shown.page
    if page.kind is PageKind.SCROLL:
        return "The scrolling text"
    if page.title:
        return f"The slide {quote(one_line(page.title))}"
    return "The page" if _is_crowded(page) else "The slide"


def _return_text(shown: Shown, origin: Shown) -> str:
    page = origin.page
    what = f"The text {quoted(_texts(page.steps), BRIEF_CHARS)}"
    if origin.is_subject and page.title:
        what = _name(origin)
    return f"{what} returns {_when(shown.page)}, first seen at {clock(page.span.start_ms)}."


def _when(page: ShownPage) -> str:
    """`from 0:51 to 1:10`: nodes begin and end with clips, so only the sentence knows when a page is shown."""
    start, end = clock(page.span.start_ms), clock(page.span.end_ms)
    return f"from {start} to {end}" if page.span.duration_ms >= _BRIEFLY_MS and start != end else f"at {start}"


def _page_text(shown: Shown, steps: Sequence[ShownStep], duration_ms: int, limit: int = QUOTE_CHARS) -> str:
    """A page's first showing, as far as `steps` go."""
    page = shown.page
    when = _when(page)
    if page.kind is PageKind.OVERLAY:
        how_long = "for the whole film" if page.span.duration_ms >= _WHOLE * duration_ms else when
        return f"The words {quoted(_texts(steps), limit)} stay on the screen {how_long}."
    if page.kind is PageKind.SCROLL:
        what = "Credits scroll" if page.span.start_ms >= _LATE * duration_ms else "Text scrolls"
        return stopped(f"{what} {when}, beginning with {quoted(_texts(steps), BRIEF_CHARS)}")
    if not shown.is_subject:
        return stopped(f"On screen {when}: {quoted(_texts(steps), limit)}")
    crowded = _is_crowded(page)
    lead = f"{_name(shown)} is" if page.title else f"A {'crowded page' if crowded else 'slide'} is"
    if len(steps) > 1:
        how = "changes" if crowded else "builds up"
        return stopped(f"{lead} shown {when} and {how}: {_steps_text(page, steps)}")
    body = [text for step in steps for text in _body(page, step)]
    if crowded:
        return stopped(f"{lead} shown {when}: {some_of(body, 'lines')}")
    return stopped(f"{lead} shown {when}" + (f": {quoted(body, limit)}" if body else ""))


def _brief_text(shown: Shown, duration_ms: int) -> str:
    """A page in short, as it is told above the scenes: however it builds up, as one text."""
    page = shown.page
    whole = replace(page.steps[0], lines=tuple(line for step in page.steps for line in step.lines))
    return _page_text(shown, [whole], duration_ms, BRIEF_CHARS)


def _steps_text(page: ShownPage, steps: Sequence[ShownStep]) -> str:
    """`first "a", at 0:16 "b", at 0:24 "c"`; what goes beyond `_STEPS_NAMED` is counted."""
    told = [(step, body) for step in steps if (body := _body(page, step))]
    limit = max(_STEP_CHARS, _STEPS_CHARS // max(1, len(told)))
    named = []
    for step, body in told[:_STEPS_NAMED]:
        is_first = step is page.steps[0]
        when, noun = ("first", "lines") if is_first else (f"at {clock(step.start_ms)}", "new lines")
        named.append(f"{when} {some_of(body, noun) if len(body) >= _CROWDED else quoted(body, limit)}")
    more = len(told) - len(named)
    return ", ".join(named) + (f", and {number(more)} more" if more else "")


def _texts(steps: Sequence[ShownStep]) -> list[str]:
    return [line.text for step in steps for line in step.lines]


def _body(page: ShownPage, step: ShownStep) -> list[str]:
    """The lines of one step that the page's title does not already say."""
    title = f" {same_text_key(page.title)} "
    return [line.text for line in step.lines if f" {same_text_key(line.text)} " not in title]
