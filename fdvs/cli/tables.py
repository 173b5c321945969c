"""Aligned plain text for terminals: status tables, hits, redundancy. Untrusted text is made safe first."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fdvs.records import Hit, Level, State, clock
from fdvs.stories.render import safe_text

if TYPE_CHECKING:
    from fdvs.batch.report import StatusRow
    from fdvs.redundancy.report import RedundancyReport

NAME_WIDTH = 44
TEXT_WIDTH = 96


def _precise(time_ms: int) -> str:
    return f"{clock(time_ms)}.{time_ms % 1000 // 100}"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def status_table(rows: Sequence[StatusRow]) -> list[str]:
    """One line per path, aligned; errors and warnings on lines of their own below it."""
    if not rows:
        return []
    width = min(NAME_WIDTH, max(len(safe_text(row.video)) for row in rows))
    lines = []
    for row in rows:
        total = "?" if row.clips_total is None else str(row.clips_total)
        clips = f"{row.clips_done}/{total} clips" if row.state is not State.FAILED else row.code
        lines.append(f"{_short(safe_text(row.video), width):<{width}}  {row.state:<7}  {clips}")
        if row.state is State.FAILED:
            lines.append(f"    {safe_text(row.message)}")
        lines.extend(f"    warning: {safe_text(warning)}" for warning in row.warnings)
    return lines


def hit_lines(number: int, hit: Hit) -> list[str]:
    """A hit as a reader wants it: when, where, how near, then the text."""
    times = f"{clock(hit.span.start_ms)}–{clock(hit.span.end_ms)}"
    title = f"  {safe_text(hit.title)}" if hit.title and hit.level is not Level.CLIP else ""
    head = f"{number:>2}. {safe_text(hit.video)}  {times}  [{hit.level}, similarity {hit.similarity:.2f}]{title}"
    body = textwrap.wrap(_short(safe_text(hit.text), 400), TEXT_WIDTH, initial_indent="    ", subsequent_indent="    ")
    also = [f"    also at {', '.join(clock(span.start_ms) for span in hit.also)}"] if hit.also else []
    return [head, *body, *also]


def redundancy_lines(report: RedundancyReport) -> list[str]:
    """Totals first, then every removed frame or caption with its neighbour."""
    lines = [
        f"frames: {report.frames_kept} of {report.frames_sampled} kept; "
        f"captions: {report.captions_kept} of {report.captions_total} kept"
    ]
    lines.extend(
        f"  {_precise(item.span.start_ms)}  {item.kind}  like {_precise(item.kept_span.start_ms)}  "
        f"similarity {item.similarity:.3f}  ({item.rule})"
        for item in report.removed
    )
    return lines
