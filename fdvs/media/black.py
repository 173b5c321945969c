"""Short black at a cut belongs to the clip that follows (contract: below one second, profile `default` only).

Samples never show the end of a clip, and decoding it for every clip would cost what the reader saves. So a cheap test
on what is known already (two samples and the sizes of coded pictures) says where black is possible at all, and only
there the stretch in front of the cut is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fdvs.media.clips import ClipFrames, ClipPlan
from fdvs.media.frame import brightest
from fdvs.media.index import PacketIndex
from fdvs.media.schedule import plain_feed
from fdvs.media.session import Session

T = TypeVar("T")

# Full-range luma that all but 2 % of a picture's points stay at or below when it counts as black (letters may glow).
BLACK_LUMA = 24
# Mean luma difference below which two samples show the same picture: then nothing was cut.
_SAME_PICTURE = 8.0
# A black picture costs next to nothing to code; the way into black (a fade, a cut) does cost. Shares of the size of the
# key picture at the cut.
_BLACK_SIZE = 1 / 50
_CHANGE_SIZE = 1 / 25
_MOST_BLACK_BYTES = 600


def is_black(small: NDArray[np.uint8]) -> bool:
    """True for a `[64, 64, 3]` full-range YUV picture of which at least 98 % of the points are nearly black."""
    return brightest(small) <= BLACK_LUMA


def black_is_possible(
    index: PacketIndex,
    plan: ClipPlan,
    last_small: NDArray[np.uint8],
    next_small: NDArray[np.uint8],
    max_s: float = 1.0,
) -> bool:
    """Whether black shorter than `max_s` may touch the cut at the end of `plan`, judged without decoding.

    `last_small` is the clip's last sample, `next_small` the first one of the next clip, at the cut.
    """
    at = int(np.searchsorted(index.key_pts, plan.end_pts))
    if not index.exact or at >= len(index.key_pts) or index.key_pts[at] != plan.end_pts:
        return False  # no key picture: the clip was only split for its length
    last_black, next_black = is_black(last_small), is_black(next_small)
    if last_black:
        return plan.end_pts - plan.sample_pts[-1] < index.ticks(max_s)
    changed = np.abs(last_small[..., 0].astype(np.int16) - next_small[..., 0]).mean() > _SAME_PICTURE
    return bool(changed) and _ends_in_tiny_pictures(index, plan.end_pts, max_s, after_change=not next_black)


def _ends_in_tiny_pictures(index: PacketIndex, cut: int, max_s: float, *, after_change: bool) -> bool:
    """Whether the pictures shown just before `cut` are coded in next to nothing, after a costly change if asked."""
    shown = np.flatnonzero((index.pts < cut) & (index.pts >= cut - index.ticks(max_s)))
    sizes = index.size[shown[np.argsort(index.pts[shown])]]
    if not len(sizes):
        return False
    key_size = int(index.size[np.flatnonzero(index.pts == cut)[0]])
    if not after_change:  # the next picture is black itself, so its own size says nothing
        return int(sizes[-1]) <= _MOST_BLACK_BYTES
    tiny = min(_MOST_BLACK_BYTES, key_size * _BLACK_SIZE)
    return bool(sizes[-1] <= tiny and sizes.max() >= key_size * _CHANGE_SIZE)


def black_start_before(path: Path, index: PacketIndex, boundary_pts: int, max_s: float) -> int | None:
    """Start of the black run that touches or contains the cut at `boundary_pts`, when it begins before the cut.

    Opens the file anew and decodes from a key picture at least `max_s` before the cut, until the run has ended.

    Returns:
        The display time (pts) of the run's first picture; None when the picture before the cut is not black, or the run
        lasts `max_s` or longer.
    """
    longest = index.ticks(max_s)
    # One picture further back than `longest`: if that one is black too, the run is too long.
    window = int(index.display_pts[max(0, int(np.searchsorted(index.display_pts, boundary_pts - longest)) - 1)])
    entries = np.flatnonzero(index.is_alone & (index.pts <= window))
    row = int(entries[-1]) if len(entries) else 0
    start: int | None = None
    with Session(path, index) as session:
        for picture in session.pictures(plain_feed(index, row)):
            pts = picture.pts
            if pts is None or pts < window:
                continue
            if not is_black(session.frame(picture, pts).small()):
                if pts >= boundary_pts:
                    return start if start is not None and pts - start < longest else None
                start = None
            elif pts >= boundary_pts:
                if start is None or pts - start >= longest:
                    return None
            elif start is None:
                start = pts
    # The film ends in black: the run lasts until its end.
    return start if start is not None and start < boundary_pts and index.end_pts - start < longest else None


def join_black(
    path: Path,
    index: PacketIndex,
    clips: Iterator[ClipFrames[T]],
    small: Callable[[T], NDArray[np.uint8]],
    max_s: float,
    *,
    first_start_ms: int | None = None,
) -> Iterator[ClipFrames[T]]:
    """Move cuts back over short black: the earlier clip ends and the later one starts where the black begins.

    A clip is held until the next one is known, so a clip that was passed on is final. To resume behind it, read from
    the next plan on and give the stored clip's end as `first_start_ms`. `max_s` 0 passes everything on as it is.

    Args:
        small: gets the `[64, 64, 3]` picture (see `Frame.small`) out of what `measure` returned.
    """
    held: ClipFrames[T] | None = None
    for clip in clips:
        current = clip
        if held is None:
            if first_start_ms is not None:
                current = _starting(clip, index.pts_at(first_start_ms))
        else:
            start = None
            if max_s > 0 and _worth_looking(index, held, clip, small, max_s):
                start = _usable(index, held, black_start_before(path, index, held.plan.end_pts, max_s))
            if start is not None:
                held, current = _ending(held, start), _starting(clip, start)
            yield held
        held = current
    if held is not None:
        yield held


def _worth_looking(
    index: PacketIndex,
    before: ClipFrames[T],
    after: ClipFrames[T],
    small: Callable[[T], NDArray[np.uint8]],
    max_s: float,
) -> bool:
    if not before.frames or not after.frames:
        return False
    return black_is_possible(index, before.plan, small(before.frames[-1][2]), small(after.frames[0][2]), max_s)


def _usable(index: PacketIndex, before: ClipFrames[T], start: int | None) -> int | None:
    """`start` if the earlier clip keeps its first sample and at least a millisecond, else None."""
    if start is None or start <= before.frames[0][1] or index.ms(start) <= index.ms(before.plan.start_pts):
        return None
    return start


def _ending(clip: ClipFrames[T], end: int) -> ClipFrames[T]:
    samples = tuple(pts for pts in clip.plan.sample_pts if pts < end)
    plan = replace(clip.plan, end_pts=end, sample_pts=samples)
    return replace(clip, plan=plan, frames=[frame for frame in clip.frames if frame[1] < end])


def _starting(clip: ClipFrames[T], start: int) -> ClipFrames[T]:
    return replace(clip, plan=replace(clip.plan, start_pts=start))
