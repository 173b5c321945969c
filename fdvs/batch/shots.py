"""The shot cuts of a stored video: what was looked through before is taken from the store, the rest looked through."""

from __future__ import annotations

from pathlib import Path

from fdvs.media.index import PacketIndex
from fdvs.media.shot_cuts import ShotCut, cuts_from
from fdvs.media.shots import PORTION_S, SHOTS_VERSION, look_for_signs, portions
from fdvs.records import content_id
from fdvs.store.library import Store


def stored_or_found_cuts(
    store: Store, video_id: str, path: Path, index: PacketIndex, portion_s: float = PORTION_S
) -> tuple[ShotCut, ...]:
    """All cuts of the video, each portion stored as soon as it was looked through."""
    begins = portions(index, portion_s)
    key = content_id("shots", SHOTS_VERSION, portion_s)
    signs = store.signs(video_id, key)
    for portion in range(len(signs), len(begins)):
        end = begins[portion + 1] if portion + 1 < len(begins) else index.end_pts
        signs.append(look_for_signs(path, index, begins[portion], end))
        store.put_signs(video_id, key, portion, signs[-1])
    return cuts_from(index, signs)
