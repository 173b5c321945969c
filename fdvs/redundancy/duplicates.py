"""What recurs inside one film: pictures that were shown before, in the clip before or an hour ago.

A clip that shows nothing but pictures of one earlier clip repeats that clip. Where only a stretch of a clip does, the
stretch is recorded: an empty room is the same room when the clip ends with somebody coming in. Everything is compared
with the first showing, so that groups do not drift from like to like.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import ShapeError
from fdvs.records import Clip, DuplicateGroup, DuplicateMember, Span
from fdvs.redundancy.layout import Layouts
from fdvs.redundancy.near import Near
from fdvs.redundancy.pictures import BLOCK_FRAMES, Pictures, Shown
from fdvs.redundancy.report import CLIP_RULE, STRETCH_RULE, frame_id

AWAY_MS = 2000  # what is gone for less has not come back: it moved for a moment
MIN_FRAMES = 2  # of a stretch inside a clip: one frame alone may be chance


@dataclass(frozen=True, slots=True, eq=False)
class ClipLayouts:
    """A clip and the layouts of its samples: `[T, 288]`, one for each of `clip.sampled_ms`."""

    clip: Clip
    layouts: Layouts

    def __post_init__(self) -> None:
        if len(self.layouts) != len(self.clip.sampled_ms):
            raise ShapeError(f"layouts: wanted [{len(self.clip.sampled_ms)}, D], got {list(self.layouts.shape)}")


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Samples [start, stop) of clip `clip`; their pictures were first shown in clip `home`, here or earlier."""

    clip: int
    home: int
    start: int
    stop: int
    pictures: frozenset[int]
    similarity: float


def find_repeats(
    clips: Iterable[ClipLayouts], threshold: float, *, search: Near | None = None
) -> tuple[DuplicateGroup, ...]:
    """Groups of clips, and of stretches of clips, that show the same; in the order of their representatives.

    Args:
        clips: of one video, in time order; of their layouts only first showings are kept. A clip without pictures
            takes no part, nor does a black or flat picture.
        threshold: frames at least this similar show the same picture.
        search: as in `Pictures`.

    Returns:
        A member or representative that is a whole clip has the clip's id and span, a stretch the id of its first frame
        and a span up to the sample after its last. A member's similarity is that of its least similar frame to the
        picture's first showing; its rule is `same_picture`, for a stretch `same_picture_in_part`. What merely lasts
        past the end of its clip, and fills no other clip, is no group.
    """
    film, shown = _shown(clips, Pictures(threshold, search=search))
    edges = np.cumsum([0, *(len(clip.sampled_ms) for clip in film)])
    numbers, first_rows = np.unique(shown.picture, return_index=True)
    homes = np.searchsorted(edges, first_rows[numbers >= 0], side="right") - 1  # of each picture
    repeats: dict[int, list[_Stretch]] = {}
    for index, clip in enumerate(film):
        rows = slice(int(edges[index]), int(edges[index + 1]))
        for stretch in _stretches(index, shown.picture[rows], shown.similarity[rows], homes):
            enough = stretch.stop - stretch.start >= MIN_FRAMES or _is_whole(stretch, clip)
            if stretch.home != index and enough:
                repeats.setdefault(stretch.home, []).append(stretch)
    groups = []
    for home, members in sorted(repeats.items()):
        pictures = shown.picture[edges[home] : edges[home + 1]]
        for shared, parts in _joined(members):
            places = np.flatnonzero(np.isin(pictures, list(shared))).tolist()
            first = _Stretch(home, home, places[0], places[-1] + 1, shared, 1.0)
            group = _group(film, first, parts)
            if any(member.rule == CLIP_RULE for member in group.members) or _returns(group):
                groups.append(group)
    return tuple(groups)


def _shown(clips: Iterable[ClipLayouts], pictures: Pictures) -> tuple[list[Clip], Shown]:
    """The clips, and what the samples of all of them show, one after the other. Layouts are let go some at a time."""
    film: list[Clip] = []
    found: list[Shown] = []
    waiting: list[Layouts] = []

    def look() -> None:
        if waiting:
            found.append(pictures.show(np.concatenate(waiting)))
            waiting.clear()

    for item in clips:
        film.append(item.clip)
        if len(item.layouts):
            waiting.append(item.layouts)
        if sum(map(len, waiting)) >= BLOCK_FRAMES:
            look()
    look()
    picture = [np.empty(0, np.int64), *(one.picture for one in found)]
    similarity = [np.empty(0), *(one.similarity for one in found)]
    return film, Shown(np.concatenate(picture), np.concatenate(similarity))


def _returns(group: DuplicateGroup) -> bool:
    """Whether what is shown goes away and comes back; else it only lasts past the end of its clip."""
    spans = [group.representative_span, *(member.span for member in group.members)]
    return any(later.start_ms - earlier.end_ms >= AWAY_MS for earlier, later in pairwise(spans))


def _stretches(
    index: int,
    pictures: NDArray[np.int64],
    similarities: NDArray[np.float64],
    homes: NDArray[np.int64],
) -> Iterator[_Stretch]:
    """The longest runs of samples of one clip whose pictures have one home."""
    where = [int(homes[picture]) if picture >= 0 else None for picture in pictures.tolist()]
    start = 0
    while start < len(where):
        stop = start + 1
        while stop < len(where) and where[stop] == where[start]:
            stop += 1
        home = where[start]
        if home is not None:
            run = frozenset(pictures[start:stop].tolist())
            yield _Stretch(index, home, start, stop, run, float(similarities[start:stop].min()))
        start = stop


def _joined(stretches: Sequence[_Stretch]) -> list[tuple[frozenset[int], list[_Stretch]]]:
    """Stretches that share a picture, together with all their pictures; by first picture."""
    joined: list[tuple[frozenset[int], list[_Stretch]]] = []
    for stretch in stretches:
        touching = [part for part in joined if part[0] & stretch.pictures]
        joined = [part for part in joined if part not in touching]
        pictures = stretch.pictures.union(*(part[0] for part in touching))
        joined.append((pictures, [*(one for part in touching for one in part[1]), stretch]))
    return sorted(joined, key=lambda part: min(part[0]))


def _group(film: Sequence[Clip], first: _Stretch, repeats: Sequence[_Stretch]) -> DuplicateGroup:
    home = film[first.clip]
    representative_id, representative_span = _named(home, first)
    members = []
    for stretch in sorted(repeats, key=lambda one: (one.clip, one.start)):
        clip = film[stretch.clip]
        member_id, span = _named(clip, stretch)
        rule = CLIP_RULE if _is_whole(stretch, clip) else STRETCH_RULE
        members.append(DuplicateMember(member_id, clip.video_id, span, stretch.similarity, rule))
    return DuplicateGroup("visual", representative_id, home.video_id, representative_span, tuple(members))


def _is_whole(stretch: _Stretch, clip: Clip) -> bool:
    return stretch.start == 0 and stretch.stop == len(clip.sampled_ms)


def _named(clip: Clip, stretch: _Stretch) -> tuple[str, Span]:
    """Id and span of a stretch: the clip's own where it is the whole clip."""
    if _is_whole(stretch, clip):
        return clip.id, clip.span
    times = [*clip.sampled_ms, clip.span.end_ms]
    start_ms, end_ms = times[stretch.start], times[stretch.stop]
    return frame_id(clip.id, start_ms), Span(start_ms, max(end_ms, start_ms + 1))
