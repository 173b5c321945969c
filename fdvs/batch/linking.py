"""Links across videos, brought up to date after a build: only videos that are new or changed are compared.

What a pair of videos shares depends on the two alone, so the links are the same whenever and in whatever order the
videos came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fdvs.redundancy.links import Alignment, links_of
from fdvs.store.library import Store


def update_links(store: Store) -> None:
    """Compare the videos that were told since the last time with all others and store the links anew."""
    told, linked = store.told_with(), store.linked()
    gone = sorted(set(linked) - set(told))
    new = sorted(video_id for video_id, clips_hash in told.items() if linked.get(video_id) != clips_hash)
    if new or gone:
        found = _shared(store, told, new)
        rows = [(a.video_id, a.span, a.other_id, a.other_span, a.similarity, a.rule) for a in found]
        with store.writing():  # both or neither: what was compared and what came of it
            store.put_aligned({video_id: told[video_id] for video_id in new}, rows, gone)
            refresh_links(store)


def refresh_links(store: Store) -> None:
    """Store the groups that follow from what pairs of videos share, where they are others than those stored."""
    groups = links_of(Alignment(*row) for row in store.aligned())
    if groups != store.links():
        store.put_links(groups)


def _shared(store: Store, told: Mapping[str, str], new: Sequence[str]) -> list[Alignment]:
    if not new or len(told) < 2:
        return []
    from fdvs.batch.comparing import shared_by  # here: the first video of a library has no need of NumPy

    return shared_by(store, told, new)
