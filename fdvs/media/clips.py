"""Clips: spans between key pictures, made practical by a least and a greatest length, and the times sampled in each.

The paper cuts at every key picture (papers: FDVS section 2). Real files have one key picture in an hour, or nothing but
key pictures, so the default joins what is too short and splits what is too long, always at times where a picture is.
Where shot cuts were looked for (`shots`), they take the place of the key pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from fdvs.media.index import PacketIndex
from fdvs.media.shot_cuts import ShotCut, borders
from fdvs.settings import ClipSettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """One clip before decoding: [start_pts, end_pts) on the stream's own time line.

    `key_pts` is the key picture that decoding starts from: at `start_pts`, or before it where a long clip was split.
    `sample_pts` are displayed times in rising order, at least one.
    """

    start_pts: int
    end_pts: int
    key_pts: int
    sample_pts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClipFrames(Generic[T]):
    """What was read of one clip: `frames` holds (published ms, pts, measured value) in time order, possibly none."""

    plan_index: int
    plan: ClipPlan
    frames: list[tuple[int, int, T]]
    warnings: tuple[str, ...] = ()


def plan_at(index: PacketIndex, times_ms: Sequence[int]) -> ClipPlan:
    """A plan for pictures of a clip that was decoded before: those at these published times, at least one."""
    samples = tuple(dict.fromkeys(index.pts_at(time_ms) for time_ms in times_ms))
    return ClipPlan(samples[0], index.end_pts, _key_for(index, samples[0]), samples)


def plan_clips(index: PacketIndex, settings: ClipSettings, cuts: Sequence[ShotCut] | None = None) -> list[ClipPlan]:
    """Cut [first displayed time, end) into clips that touch, and choose what is sampled in each.

    Boundaries are the shot cuts where `cuts` are given, also when there are none, and else the key pictures.
    A bound of 0 means no bound. A boundary is kept when the one kept before is at least `min_clip_s` away; a last clip
    that is too short joins the one before. A clip longer than `max_clip_s` is split into equal parts at pictures (with
    `frames="keyframes"`: at key pictures, and not at all where none lies inside).
    """
    if cuts is None:
        starts = [index.start_pts, *(int(p) for p in index.key_pts if p > index.start_pts)]
    else:
        starts = borders(index, cuts, settings.black_join_s)
    starts = _join_short(starts, index.end_pts, index.ticks(settings.min_clip_s))
    only_keys = settings.frames == "keyframes"
    if settings.max_clip_s > 0:
        starts = _split_long(
            starts, index.end_pts, index.ticks(settings.max_clip_s), index.key_pts if only_keys else index.display_pts
        )
    starts = _apart_in_ms(starts, index)
    sampled = _key_samples if only_keys else _even_samples
    return [
        ClipPlan(start, end, _key_for(index, start), sampled(index, start, end, settings.samples_per_clip))
        for start, end in zip(starts, [*starts[1:], index.end_pts], strict=True)
    ]


def _join_short(cuts: Sequence[int], end: int, least: int) -> list[int]:
    kept = [cuts[0]]
    for cut in cuts[1:]:
        if cut - kept[-1] >= least:
            kept.append(cut)
    if len(kept) > 1 and end - kept[-1] < least:
        kept.pop()
    return kept


def _split_long(cuts: Sequence[int], end: int, most: int, candidates: NDArray[np.int64]) -> list[int]:
    """Split at the first candidate time at or after each equal part's end."""
    result: list[int] = []
    for start, stop in zip(cuts, [*cuts[1:], end], strict=True):
        result.append(start)
        parts = -(-(stop - start) // most)
        for part in range(1, parts):
            at = int(np.searchsorted(candidates, start + (stop - start) * part // parts))
            if at < len(candidates) and result[-1] < candidates[at] < stop:
                result.append(int(candidates[at]))
    return result


def _apart_in_ms(cuts: Sequence[int], index: PacketIndex) -> list[int]:
    """Leave out cuts that round to the millisecond of the one before (or to the end): a span is never empty."""
    kept = [cuts[0]]
    for cut in cuts[1:]:
        if index.ms(kept[-1]) < index.ms(cut) < index.duration_ms:
            kept.append(cut)
    return kept


def _key_for(index: PacketIndex, start: int) -> int:
    at = int(np.searchsorted(index.key_pts, start, side="right")) - 1
    return int(index.key_pts[at]) if at >= 0 else index.start_pts


def _even_samples(index: PacketIndex, start: int, end: int, count: int) -> tuple[int, ...]:
    """`count` even positions among the clip's pictures, end excluded, each once (papers: FDVS section 2, rule 4)."""
    first, stop = (int(n) for n in np.searchsorted(index.display_pts, [start, end]))
    return tuple(dict.fromkeys(int(index.display_pts[first + (stop - first) * q // count]) for q in range(count)))


def _key_samples(index: PacketIndex, start: int, end: int, count: int) -> tuple[int, ...]:
    """Up to `count` of the clip's key pictures, evenly chosen, the first included; without any, its first picture."""
    first, stop = (int(n) for n in np.searchsorted(index.key_pts, [start, end]))
    if first == stop:
        return _even_samples(index, start, end, 1)
    return tuple(dict.fromkeys(int(index.key_pts[first + (stop - first) * q // count]) for q in range(count)))
