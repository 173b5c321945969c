"""Pages as records: each step of a page is a caption of the clip in which it comes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from fdvs.records import Caption, CaptionKind, Clip, Outcome, ShownLine, ShownPage, ShownStep, Span, content_id
from fdvs.screen_text.sheets import Sheet
from fdvs.screen_text.votes import Line

BACKEND = "rapidocr"

PagesOfClips = dict[str, tuple[ShownPage, ...]]
CaptionsOfClips = dict[str, tuple[Caption, ...]]


def told(sheets: Sequence[Sheet], clips: Sequence[Clip], settings_hash: str) -> tuple[PagesOfClips, CaptionsOfClips]:
    """Sheets as pages and captions, by the id of the clip in which they start. The same words from the same time to the
    same time are one caption; a page with nothing but such words is left out.

    Args:
        sheets: in time order; `repeats` points to earlier ones.
        clips: in time order, touching; every step starts in one of them.
    """
    starts = [clip.span.start_ms for clip in clips]
    pages: dict[str, list[ShownPage]] = {}
    captions: dict[str, list[Caption]] = {}
    known: set[str] = set()
    first_ids: list[str] = []
    for sheet in sheets:
        steps, new = [], []
        for lines in sheet.steps:
            clip = clips[bisect_right(starts, _start(lines)) - 1]
            caption = _caption(clip, lines, sheet.span.end_ms, settings_hash)
            if caption.id not in known:
                new.append(caption)
                known.add(caption.id)
            steps.append(ShownStep(_start(lines), caption.id, tuple(_shown(line) for line in lines)))
        first_ids.append(steps[0].caption_id)
        if not new:
            continue
        for caption in new:
            captions.setdefault(caption.clip_id, []).append(caption)
        repeats = None if sheet.repeats is None else first_ids[sheet.repeats]
        page = ShownPage(sheet.kind, sheet.span, sheet.title, tuple(steps), repeats)
        pages.setdefault(clips[bisect_right(starts, sheet.span.start_ms) - 1].id, []).append(page)
    return (
        {clip_id: tuple(several) for clip_id, several in pages.items()},
        {
            clip_id: tuple(sorted(several, key=lambda caption: (caption.span, caption.id)))
            for clip_id, several in captions.items()
        },
    )


def _start(lines: Sequence[Line]) -> int:
    return min(line.span.start_ms for line in lines)


def _shown(line: Line) -> ShownLine:
    return ShownLine(line.text, line.span, line.box)


def _caption(clip: Clip, lines: Sequence[Line], end_ms: int, settings_hash: str) -> Caption:
    text = "\n".join(line.text for line in lines)
    span = Span(_start(lines), end_ms)
    kind = CaptionKind.SCREEN_TEXT
    return Caption(
        id=content_id("cap", clip.id, kind, BACKEND, settings_hash, span.start_ms, span.end_ms, text),
        clip_id=clip.id,
        span=span,
        kind=kind,
        text=text,
        outcome=Outcome.OK,
        reason="",
        backend=BACKEND,
        settings_hash=settings_hash,
    )
