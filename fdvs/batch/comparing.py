"""What new videos share with all others of a library: first which pairs might share anything, then what each does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from fdvs.redundancy.alignment import LINK_SIMILARITY, Track, align, track_of
from fdvs.redundancy.layout import SKETCH, Layouts, is_telling, sketch_radius, sketches
from fdvs.redundancy.links import Alignment
from fdvs.redundancy.near import GrowingNear
from fdvs.redundancy.pictures import compare
from fdvs.store.library import Store

BATCH_FRAMES = 100_000  # of new videos, compared at once with all others: 50 MB
ASKED_PER_CLIP = 2  # samples of a clip by which a video that might share something is found
TRACKS_KEPT = 64


def shared_by(store: Store, told: Mapping[str, str], new: Sequence[str]) -> list[Alignment]:
    """All stretches that a new video shares with any other.

    Args:
        told: {video id: hash of the clip settings} of all videos.
        new: ids of those that were not compared yet.
    """

    @lru_cache(maxsize=TRACKS_KEPT)
    def track(video_id: str) -> Track:
        clips = list(store.each_clip_layouts(video_id, told[video_id]))
        times = np.array([time for clip, _ in clips for time in clip.sampled_ms], np.int64)
        layouts = np.concatenate([layouts for _, layouts in clips])
        return track_of(video_id, store.video(video_id).duration_ms, times, layouts)

    found = []
    for one, other in sorted(_candidates(store, told, new)):
        found += align(track(one), track(other))
    return found


def _candidates(store: Store, told: Mapping[str, str], new: Sequence[str]) -> set[tuple[str, str]]:
    """(smaller id, greater id) of pairs with a new video in which some picture of one is like a sample of the other."""
    pairs: set[tuple[str, str]] = set()
    batch: list[tuple[str, Layouts]] = []
    for video_id in new:
        batch.append((video_id, _telling(store, video_id, told[video_id])))
        if sum(len(layouts) for _, layouts in batch) >= BATCH_FRAMES:
            pairs |= _like_any(store, told, batch)
            batch = []
    return pairs | _like_any(store, told, batch)


def _telling(store: Store, video_id: str, clips_hash: str, per_clip: int | None = None) -> Layouts:
    """The telling layouts of a video; with `per_clip` only of so many samples of each clip, evenly spread."""
    parts = []
    for layouts in store.layouts_of_clips(video_id, clips_hash):
        step = 1 if per_clip is None else max(1, len(layouts) // per_clip)
        parts.append(layouts[::step])
    every: Layouts = np.concatenate(parts)
    return every[is_telling(every)]


def _like_any(store: Store, told: Mapping[str, str], batch: Sequence[tuple[str, Layouts]]) -> set[tuple[str, str]]:
    frames = sum(len(layouts) for _, layouts in batch)
    if not frames:
        return set()
    layouts = np.concatenate([layouts for _, layouts in batch])
    owners = np.repeat(np.arange(len(batch)), [len(layouts) for _, layouts in batch])
    search = GrowingNear(SKETCH, sketch_radius(LINK_SIMILARITY))
    search.add(sketches(layouts))
    pairs = set()
    for other, clips_hash in sorted(told.items()):
        asked = _telling(store, other, clips_hash, ASKED_PER_CLIP)
        rows, positions = search.pairs(sketches(asked))
        strange = np.array([batch[owner][0] != other for owner in owners[positions]], np.bool_)
        rows, positions = rows[strange], positions[strange]
        alike = compare(asked, layouts, rows, positions) >= LINK_SIMILARITY
        for owner in np.unique(owners[positions[alike]]).tolist():
            one = batch[owner][0]
            pairs.add((min(one, other), max(one, other)))
    return pairs
