"""`fdvs redundancy` as text: totals, what is shown again and when, what clips have in common, what two videos share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from fdvs.records import Span, clock
from fdvs.redundancy.report import SHOWN_AGAIN
from fdvs.stories.render import safe_text

if TYPE_CHECKING:
    from fdvs.redundancy.report import RedundancyReport, Removed

JOIN_MS = 1000  # showings this close together are told as one


def redundancy_lines(report: RedundancyReport, names: Mapping[str, str]) -> list[str]:
    """Totals first, then what recurs in each video, then every other removed frame, clip, caption or chapter with
    what it repeats; `names` are those of the videos. Neighbours that repeat the same are one line."""
    lines = [
        f"frames: {report.frames_kept} of {report.frames_sampled} kept; "
        f"captions: {report.captions_kept} of {report.captions_total} kept"
    ]
    shared = [item for item in report.removed if item.kept_video_id != item.video_id]
    for video_id, run in groupby(
        (item for item in report.removed if item.kept_video_id == item.video_id), lambda item: item.video_id
    ):
        if report.video is None:
            lines.append(safe_text(names.get(video_id, video_id[:8])))
        items = list(run)
        lines += _section("shown again", _shown_again([item for item in items if item.rule in SHOWN_AGAIN]))
        lines += _section("set aside", _set_aside([item for item in items if item.rule not in SHOWN_AGAIN]))
    lines += _section("in several videos", (_shared_line(item, names) for item in shared), indent="")
    return lines


def _section(heading: str, lines: Iterator[str], indent: str = "  ") -> list[str]:
    found = list(lines)
    return [f"{indent}{heading}:", *(f"{indent}{line}" for line in found)] if found else []


def _shown_again(items: Sequence[Removed]) -> Iterator[str]:
    """`0:00–0:06  again 0:20–0:22, 0:45–0:50  similarity 0.90–0.98`, by first showing."""
    groups: dict[tuple[Span, str], list[Removed]] = {}
    for item in items:
        groups.setdefault((item.kept_span, item.kept_id), []).append(item)
    for (first, _), members in sorted(groups.items(), key=lambda group: group[0]):
        showings = _joined([first, *(member.span for member in members)])
        again = "".join(f", {_span(span)}" for span in showings[1:])
        told = f"{_span(showings[0])}  again {again[2:]}" if again else f"{_span(showings[0])}  unchanged"
        yield f"  {told}  similarity {_similarity(members)}"


def _joined(spans: Sequence[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.start_ms - joined[-1].end_ms <= JOIN_MS:
            joined[-1] = Span.union([joined[-1], span])
        else:
            joined.append(span)
    return joined


def _set_aside(items: Sequence[Removed]) -> Iterator[str]:
    """`0:00.6–0:05.0   7 frames    like 0:00.0  similarity 0.998–1.000  (greedy)`"""
    for _, run in groupby(items, lambda item: (item.kept_id, item.rule, _noun(item))):
        members = list(run)
        first = members[0]
        span = f"{_precise(first.span.start_ms)}–{_precise(members[-1].span.end_ms)}"
        what = f"{len(members)} {_noun(first)}{'' if len(members) == 1 else 's'}"
        like = _precise(first.kept_span.start_ms)
        yield f"  {span:<17}  {what:<11}  like {like}  similarity {_similarity(members)}  ({first.rule})"


def _shared_line(item: Removed, names: Mapping[str, str]) -> str:
    """`b.mp4 0:00–0:30  is a.mp4 2:00–2:30  similarity 0.950  (excerpt)`"""
    name, kept = (safe_text(names.get(one, one[:8])) for one in (item.video_id, item.kept_video_id))
    return (
        f"  {name} {_span(item.span)}  is {kept} {_span(item.kept_span)}  "
        f"similarity {item.similarity:.3f}  ({item.rule})"
    )


def _noun(item: Removed) -> str:
    return {"frame": "frame", "clip": "clip", "cap": "caption", "chapter": "chapter"}.get(
        item.id.partition("-")[0], f"{item.kind} repeat"
    )


def _similarity(items: Sequence[Removed]) -> str:
    low, high = (f"{pick(item.similarity for item in items):.3f}" for pick in (min, max))
    return low if low == high else f"{low}–{high}"


def _span(span: Span) -> str:
    return f"{clock(span.start_ms)}–{clock(span.end_ms)}"


def _precise(time_ms: int) -> str:
    return f"{clock(time_ms)}.{time_ms % 1000 // 100}"
