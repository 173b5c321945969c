"""Pages in order: lines in the steps in which they came, pages that return, titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from fdvs.records import PageKind, Span
from fdvs.screen_text.boxes import Box
from fdvs.screen_text.order import reading_order
from fdvs.screen_text.texts import essence, num_letters, similarity
from fdvs.screen_text.titles import title_of
from fdvs.screen_text.votes import Line, merged

# Lines this similar say the same; two pages of which this share of the letters says the same are one page.
SAME_LINE, SAME_PAGE = 0.85, 0.8
# A page has a line of at least this many letters: numbers alone tell nobody anything.
LEAST_LETTERS = 2


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page before its captions have ids. `repeats` is the index of the earlier sheet that shows the same text."""

    kind: PageKind
    title: str
    steps: tuple[tuple[Line, ...], ...]
    repeats: int | None = None

    @property
    def lines(self) -> list[Line]:
        return [line for step in self.steps for line in step]

    @property
    def span(self) -> Span:
        return Span.union([line.span for line in self.lines])


def sheet_of(lines: Sequence[Line], kind: PageKind = PageKind.PAGE) -> Sheet:
    """A page whose lines came when they were first seen."""
    lines = _once(lines)
    by_start = groupby(sorted(lines, key=lambda line: line.span.start_ms), key=lambda line: line.span.start_ms)
    steps = tuple(tuple(reading_order(list(step))) for _, step in by_start)
    return Sheet(kind, title_of(lines) if kind == PageKind.PAGE else "", steps)


def _once(lines: Sequence[Line]) -> list[Line]:
    """Lines of one text in one box as one: where equal words lie over each other, looks may mistake one for another."""
    kept: dict[tuple[str, Box], list[Line]] = {}
    for line in lines:
        kept.setdefault((line.text, line.box), []).append(line)
    return [merged(sorted(same, key=lambda line: line.first_index)) for same in kept.values()]


def worth_telling(lines: Sequence[Line]) -> bool:
    return any(num_letters(line.text) >= LEAST_LETTERS for line in lines)


def with_repeats(sheets: Sequence[Sheet]) -> list[Sheet]:
    """Sheets by start; one whose text an earlier one showed points to it and has its text in one step."""
    ordered = sorted(sheets, key=lambda sheet: (sheet.span, sheet.kind, [line.text for line in sheet.lines]))
    told: list[Sheet] = []
    with_line: dict[str, list[int]] = {}
    for index, sheet in enumerate(ordered):
        keys = dict.fromkeys(essence(line.text) for line in sheet.lines)
        earlier = sorted({i for key in keys for i in with_line.get(key, ()) if ordered[i].kind == sheet.kind})
        first = next((i for i in earlier if same_text(ordered[i].lines, sheet.lines)), None)
        if first is not None:
            told.append(replace(sheet, steps=(tuple(reading_order(sheet.lines)),), repeats=first))
            continue
        told.append(sheet)
        for key in keys:
            with_line.setdefault(key, []).append(index)
    return told


def same_text(a: Sequence[Line], b: Sequence[Line]) -> bool:
    """Whether most of the letters of either page stand on the other too."""
    return _share_on(a, b) >= SAME_PAGE and _share_on(b, a) >= SAME_PAGE


def _share_on(lines: Sequence[Line], page: Sequence[Line]) -> float:
    there = {essence(line.text) for line in page}
    found = sum(
        len(essence(line.text))
        for line in lines
        if essence(line.text) in there or any(similarity(line.text, other.text) >= SAME_LINE for other in page)
    )
    return round(found / max(1, sum(len(essence(line.text)) for line in lines)), 3)
