"""Groups across videos, made of the stretches that pairs of videos share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fdvs.records import DuplicateGroup, DuplicateMember, Span, content_id

COVERED = 0.8  # share of a stretch that is told of already, for the stretch to be no news


@dataclass(frozen=True, slots=True, order=True)
class Alignment:
    """A stretch that two videos share. `similarity` is the mean over the samples that agree."""

    video_id: str
    span: Span
    other_id: str
    other_span: Span
    similarity: float
    rule: str


def links_of(alignments: Iterable[Alignment]) -> tuple[DuplicateGroup, ...]:
    """Duplicate groups of kind `visual`, by representative: of each shared stretch that of the smallest video id.

    Where three videos share a stretch, two of them are members of one group; that they are like each other too is not
    told again. The same alignments in any order give the same groups.
    """
    members: dict[tuple[str, Span], list[DuplicateMember]] = {}
    places: dict[str, list[_Place]] = {}
    for one in sorted(alignments):
        if _is_told(one, places):
            continue
        member = DuplicateMember(
            stretch_id(one.other_id, one.other_span), one.other_id, one.other_span, one.similarity, one.rule
        )
        members.setdefault((one.video_id, one.span), []).append(member)
        offset_ms = one.span.start_ms - one.other_span.start_ms
        places.setdefault(one.other_id, []).append(_Place(one.other_span, one.video_id, offset_ms))
    return tuple(
        DuplicateGroup("visual", stretch_id(video_id, span), video_id, span, tuple(found))
        for (video_id, span), found in sorted(members.items())
    )


def stretch_id(video_id: str, span: Span) -> str:
    """Id of a stretch of a video that is no clip."""
    return content_id("stretch", video_id, span.start_ms, span.end_ms)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a stretch of a member lies in the video that represents it: `offset_ms` later."""

    span: Span
    video_id: str
    offset_ms: int


def _is_told(one: Alignment, places: Mapping[str, Sequence[_Place]]) -> bool:
    """Whether both sides repeat the same time of a third video already."""
    sides = ((one.video_id, one.span), (one.other_id, one.other_span))
    here, there = (_in_others(span, places.get(video_id, ())) for video_id, span in sides)
    return any(
        video_id == other_id and _common_ms(span, other_span) >= COVERED * span.duration_ms
        for video_id, span in here
        for other_id, other_span in there
    )


def _in_others(span: Span, places: Iterable[_Place]) -> list[tuple[str, Span]]:
    """(video, its stretch) that a stretch of a member repeats, by each group that tells of nearly all of it."""
    return [
        (place.video_id, Span(max(0, span.start_ms + place.offset_ms), span.end_ms + place.offset_ms))
        for place in places
        if _common_ms(span, place.span) >= COVERED * span.duration_ms
    ]


def _common_ms(one: Span, other: Span) -> int:
    return max(0, min(one.end_ms, other.end_ms) - max(one.start_ms, other.start_ms))
