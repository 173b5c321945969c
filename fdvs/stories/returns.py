"""Pictures that come back: what an earlier part of the video showed, was gone for a while, and is shown again."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fdvs.records import DuplicateGroup, Span
from fdvs.stories.evidence import ClipEvidence

_OFTEN = 3  # showings from which a picture counts as what the video keeps coming back to
_LASTS_MS = 2000  # a picture that stands shorter is none that comes back, somebody only stood alike
_AWAY_MS = 5000  # what is gone for less has not left


@dataclass(frozen=True, slots=True)
class Returns:
    """What comes back in one video.

    Attributes:
        showings: of each picture that comes back, the times it is shown, at least two.
        by_clip: by index of a clip that shows such a picture for its larger part: (picture, showing).
        departures: indices of the clips with which the video leaves a picture it often comes back to.
    """

    showings: tuple[tuple[Span, ...], ...] = ()
    by_clip: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    departures: frozenset[int] = frozenset()

    def picture(self, clip: int) -> int | None:
        """Index of the picture that comes back which this clip shows."""
        return self.by_clip[clip][0] if clip in self.by_clip else None

    def showings_of(self, clip: int) -> tuple[Span, ...]:
        """All times of the picture that the clip shows; none where it never comes back."""
        return self.showings[self.by_clip[clip][0]] if clip in self.by_clip else ()

    def is_back(self, clip: int) -> bool:
        """Whether the clip shows again what was seen, and left, before."""
        return clip in self.by_clip and self.by_clip[clip][1] > 0


def returns_of(clips: Sequence[ClipEvidence], duplicates: Sequence[DuplicateGroup]) -> Returns:
    """What comes back among `clips`, from the times in the visual groups of their video; other groups tell nothing."""
    video_id = clips[0].clip.video_id
    edges = [evidence.clip.span.start_ms for evidence in clips]
    found: list[tuple[Span, ...]] = []
    by_clip: dict[int, tuple[int, int]] = {}
    departures: set[int] = set()
    for group in duplicates:
        showings = _showings(group, video_id)
        if len(showings) < 2:
            continue
        for at, span in enumerate(showings):
            by_clip.update((clip, (len(found), at)) for clip in _clips_in(span, clips, edges) if clip not in by_clip)
        if len(showings) >= _OFTEN:
            departures.update(_nearest(span.end_ms, clips, edges) for span in showings)
        found.append(showings)
    return Returns(tuple(found), by_clip, frozenset(departures - {0, len(clips)}))


def _showings(group: DuplicateGroup, video_id: str) -> tuple[Span, ...]:
    """The times of a group, those that follow each other joined, short ones left out."""
    if group.kind != "visual" or group.representative_video_id != video_id:
        return ()
    shown = [group.representative_span, *(member.span for member in group.members if member.video_id == video_id)]
    joined: list[Span] = []
    lasts: list[int] = []
    for span in sorted(shown):
        if joined and span.start_ms - joined[-1].end_ms < _AWAY_MS:
            joined[-1] = Span.union([joined[-1], span])
            lasts[-1] += span.duration_ms
        else:
            joined.append(span)
            lasts.append(span.duration_ms)
    return tuple(span for span, ms in zip(joined, lasts, strict=True) if ms >= _LASTS_MS)


def _clips_in(span: Span, clips: Sequence[ClipEvidence], edges: Sequence[int]) -> range:
    """The clips of which at least half lies in a span."""
    start = max(0, bisect_left(edges, span.start_ms) - 1)
    inside = []
    for i in range(start, len(clips)):
        clip = clips[i].clip.span
        if clip.start_ms >= span.end_ms:
            break
        if 2 * (min(clip.end_ms, span.end_ms) - max(clip.start_ms, span.start_ms)) >= clip.duration_ms:
            inside.append(i)
    return range(inside[0], inside[-1] + 1) if inside else range(0)


def _nearest(time_ms: int, clips: Sequence[ClipEvidence], edges: Sequence[int]) -> int:
    """Index of the clip whose start is nearest to a time; `len(clips)` where the end of the video is."""
    borders = [*edges, clips[-1].clip.span.end_ms]
    at = bisect_left(borders, time_ms)
    near = [i for i in (at - 1, at) if 0 <= i < len(borders)]
    return min(near, key=lambda i: (abs(borders[i] - time_ms), i))
