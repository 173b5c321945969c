"""Videos of which only captions are known: their clips, their captions and their gaps."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from fdvs.errors import InputError
from fdvs.records import Caption, CaptionKind, Clip, Outcome, Span, Video, content_id
from fdvs.settings import Settings
from fdvs.stories.evidence import IMPORTED, ClipEvidence

BACKEND = IMPORTED
NO_CAPTION = "no caption"


class ImportedCaption(NamedTuple):
    """Text about one span, as another tool wrote it."""

    span: Span
    kind: CaptionKind
    text: str


@dataclass(frozen=True, slots=True)
class ImportedVideo:
    """All captions of one video, by time; the picture is not there."""

    name: str
    duration_ms: int
    captions: tuple[ImportedCaption, ...]

    @property
    def id(self) -> str:
        """sha256 over name, duration and captions: the same captions again are the same video."""
        rows = [[c.span.start_ms, c.span.end_ms, str(c.kind), c.text] for c in self.captions]
        canonical = json.dumps([self.name, self.duration_ms, rows], separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def video(self) -> Video:
        return Video(id=self.id, name=self.name, duration_ms=self.duration_ms)


def cut_at_end(caption: ImportedCaption, duration_ms: int, where: str) -> ImportedCaption:
    """The caption, ended where the video ends at the latest.

    Raises:
        InputError: it starts after the end; the message begins with `where`.
    """
    start_ms, end_ms = caption.span.start_ms, caption.span.end_ms
    if start_ms >= duration_ms:
        raise InputError(
            f"{where}: starts at {start_ms / 1000} s, after the end of the video at {duration_ms / 1000} s"
        )
    return caption._replace(span=Span(start_ms, min(end_ms, duration_ms)))


def import_settings(settings: Settings) -> Settings:
    """The settings of a story made from captions alone: they name `import` as captioner, for no back end of ours wrote
    a word of it (which is also why such a story does not begin with `no vision model`)."""
    return replace(settings, captions=replace(settings.captions, captioner=BACKEND))


def clips_from_captions(imported: ImportedVideo) -> tuple[list[Clip], list[Caption]]:
    """Clips cut at every caption start and around every gap, and the captions that hang from them.

    A gap is a clip with one caption without text: outcome `failed`, reason `no caption`.
    """
    covered = _union([caption.span for caption in imported.captions])
    borders = {0, *(c.span.start_ms for c in imported.captions)}
    borders |= {edge for span in covered for edge in (span.start_ms, span.end_ms)}
    edges = [*sorted(edge for edge in borders if edge < imported.duration_ms), imported.duration_ms]
    clips = [_clip(imported.id, Span(a, b)) for a, b in pairwise(edges)]
    captions = attach_captions(clips, imported.captions)
    described = {caption.clip_id for caption in captions}
    gaps = [_gap(clip) for clip in clips if clip.id not in described]
    return clips, sorted(captions + gaps, key=lambda c: (c.span, c.kind, c.id))


def attach_captions(
    clips: Sequence[Clip], imported: Iterable[ImportedCaption], *, end_ms: int | None = None
) -> list[Caption]:
    """Imported captions as captions of these clips: each belongs to the clip in which it starts and keeps its own span,
    cut at the end of the video (`end_ms`; default: the end of the last clip).

    Raises:
        InputError: a caption starts after the last clip ends.
    """
    starts = [clip.span.start_ms for clip in clips]
    end_ms = clips[-1].span.end_ms if end_ms is None else end_ms
    seen: Counter[ImportedCaption] = Counter()
    captions: list[Caption] = []
    for item in imported:
        cut = cut_at_end(item, end_ms, f"caption {item.text[:40]!r}")
        clip = clips[bisect_right(starts, cut.span.start_ms) - 1]
        captions.append(_caption(clip, cut, seen[cut]))
        seen[cut] += 1
    return captions


def evidence_of(clips: Sequence[Clip], captions: Iterable[Caption]) -> list[ClipEvidence]:
    """What the tree needs when there are captions but no pictures."""
    of_clip: dict[str, list[Caption]] = {clip.id: [] for clip in clips}
    for caption in captions:
        of_clip[caption.clip_id].append(caption)
    return [ClipEvidence(clip, tuple(of_clip[clip.id]), None, None) for clip in clips]


def _union(spans: Iterable[Span]) -> list[Span]:
    """The spans with those that touch or overlap joined."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.start_ms <= joined[-1].end_ms:
            joined[-1] = Span(joined[-1].start_ms, max(joined[-1].end_ms, span.end_ms))
        else:
            joined.append(span)
    return joined


def _clip(video_id: str, span: Span) -> Clip:
    clip_id = content_id("clip", video_id, span.start_ms, span.end_ms, BACKEND)
    return Clip(clip_id, video_id, span, span.start_ms, ())


def _caption(clip: Clip, item: ImportedCaption, ordinal: int) -> Caption:
    """`ordinal` tells captions apart that are equal in every respect: none of them vanishes."""
    span, kind, text = item
    caption_id = content_id("cap", clip.id, BACKEND, kind, span.start_ms, span.end_ms, text, ordinal)
    return Caption(caption_id, clip.id, span, kind, text, Outcome.OK, "", BACKEND, "")


def _gap(clip: Clip) -> Caption:
    caption_id = content_id("cap", clip.id, BACKEND, NO_CAPTION)
    return Caption(caption_id, clip.id, clip.span, CaptionKind.VISUAL, "", Outcome.FAILED, NO_CAPTION, BACKEND, "")
