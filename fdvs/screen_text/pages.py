"""All readings of one video become pages: what was written, when it came, what returns, what lies over everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from fdvs.records import Clip, PageKind
from fdvs.screen_text.captions import CaptionsOfClips, PagesOfClips, told
from fdvs.screen_text.drafts import drafts_of
from fdvs.screen_text.looks import Look, looks_of
from fdvs.screen_text.overlays import common_lines, without_overlays
from fdvs.screen_text.readings import Reading
from fdvs.screen_text.scroll import scrolls_of
from fdvs.screen_text.sheets import Sheet, sheet_of, with_repeats, worth_telling
from fdvs.screen_text.ticker import without_tickers
from fdvs.screen_text.unroll import unrolled
from fdvs.screen_text.votes import Line, merged


def pages_of(
    readings: Sequence[tuple[Clip, tuple[Reading, ...]]], settings_hash: str
) -> tuple[PagesOfClips, CaptionsOfClips]:
    """What is written in a video.

    What moves is taken out first (tickers, scrolling text), then what outlives pages, and the rest is cut into pages.

    Args:
        readings: of every clip, in time order.
        settings_hash: of what the readings were made with.

    Returns:
        Pages and captions by the id of the clip in which they begin; a page's steps may have captions in later clips.
        Clips without any are left out.
    """
    looks = looks_of(reading for _, several in readings for reading in several)
    tickers, looks = without_tickers(looks)
    scrolls, looks = _without_scrolls(looks)
    bands, looks = without_overlays(looks)
    drafts = drafts_of(looks)
    common = common_lines(drafts)
    everywhere = {line for lines in common for line in lines}
    over = [*bands, *(merged(lines) for lines in common)]
    sheets = [
        *(sheet_of([line for line in page if line not in everywhere]) for page in drafts if set(page) - everywhere),
        *(sheet_of(lines, PageKind.OVERLAY) for lines in [*tickers, *_by_start(over)]),
        *scrolls,
    ]
    worth = [sheet for sheet in sheets if worth_telling(sheet.lines)]
    return told(with_repeats(worth), [clip for clip, _ in readings], settings_hash)


def _without_scrolls(looks: Sequence[Look]) -> tuple[list[Sheet], list[Look]]:
    """Scrolling texts, and the looks with only what stands still in them."""
    sheets, rest = [], list(looks)
    for scroll in scrolls_of(looks):
        steps, standing = unrolled(scroll, looks)
        if steps:
            sheets.append(Sheet(PageKind.SCROLL, "", tuple(map(tuple, steps))))
        for index, lines in standing.items():
            rest[index] = replace(rest[index], lines=lines)
    return sheets, rest


def _by_start(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines that came together, together."""
    ordered = sorted(lines, key=lambda line: (line.span.start_ms, line.box))
    return [list(several) for _, several in groupby(ordered, key=lambda line: line.span.start_ms)]
