"""Subtitle cues as captions: what is said, verbatim, in the clip in which it starts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fdvs.records import Caption, CaptionKind, Clip, Outcome, Span, content_id

if TYPE_CHECKING:
    from fdvs.media.subtitles import Cue


def speech_captions(
    clips: Sequence[Clip], cues: Sequence[Cue], settings_hash: str, *, end_ms: int | None = None
) -> list[Caption]:
    """One `speech` caption per cue.

    A cue belongs to the clip in which it starts and keeps its own span, cut at the end of the video. Its text is
    kept word for word; runs of white space become one space. Cues without text, and cues that start outside the clips,
    have no clip to belong to and are left out.

    Args:
        clips: in time order, without overlap.
        cues: in any order.
        end_ms: end of the video; default: the end of the last clip.

    Returns:
        Captions by start, then end, track and text; equal cues of one track once. `backend` names the track, such as
        `subtitles:film.en.srt`.
    """
    if not clips:
        return []
    starts = [clip.span.start_ms for clip in clips]
    end_ms = clips[-1].span.end_ms if end_ms is None else end_ms
    found: dict[str, Caption] = {}
    for cue in sorted(cues, key=lambda cue: (cue.span, cue.track, cue.text)):
        text = " ".join(cue.text.split())
        index = bisect_right(starts, cue.span.start_ms) - 1
        if not text or index < 0 or not clips[index].span.contains(cue.span.start_ms):
            continue
        clip = clips[index]
        span = Span(cue.span.start_ms, min(cue.span.end_ms, end_ms))
        kind = CaptionKind.SPEECH
        caption_id = content_id("cap", clip.id, kind, cue.track, settings_hash, span.start_ms, span.end_ms, text)
        found[caption_id] = Caption(
            id=caption_id,
            clip_id=clip.id,
            span=span,
            kind=kind,
            text=text,
            outcome=Outcome.OK,
            reason="",
            backend=f"subtitles:{cue.track}",
            settings_hash=settings_hash,
        )
    return list(found.values())
