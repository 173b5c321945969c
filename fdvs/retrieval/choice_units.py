"""What a choice in a library is made from: the captions of a video as units, its other videos as the background.

Every clip is a unit of its own, repeats included, so that each counts as often as it was told.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fdvs.languages.function_words import function_words
from fdvs.records import Level
from fdvs.retrieval.background import MAX_UNITS, MAX_VIDEOS, Background, Units, Words, background_of, evenly
from fdvs.retrieval.pool import Query
from fdvs.store.postings import LEVELS
from fdvs.store.search_rows import NodeRow


def units_of(query: Query, rows: Sequence[NodeRow]) -> Units | None:
    """The units that these nodes make; None where none of them has a vector."""
    vectors = query.store.vectors_of([row.key for row in rows])
    rows = [row for row in rows if row.key in vectors]
    if not rows:
        return None
    stems = [query.pool.telling(row.text) for row in rows]
    return Units(np.stack([vectors[row.key] for row in rows]), stems, [1] * len(rows))


def background_beside(query: Query, video_id: str | None) -> Background:
    """What the clips of all videos but this one say; None: of all videos."""
    pool = query.pool
    words = pool.words
    nodes = words.levels == LEVELS.index(Level.CLIP)
    if video_id in words.video_ids:
        nodes &= words.videos != words.video_ids.index(video_id)
    keys, videos = words.keys[nodes], words.videos[nodes]
    present = np.unique(videos)
    others = []
    for video in evenly(present.tolist(), MAX_VIDEOS):
        some = evenly(keys[videos == video].tolist(), MAX_UNITS)
        vectors = list(query.store.vectors_of(some).values())
        if vectors:
            others.append(Units(np.stack(vectors), [()] * len(vectors), [1] * len(vectors)))
    empty = {words.stem(word) for language in words.spoken for word in function_words(language)}
    num_empty = sum(words.spread(stem, nodes)[1] for stem in empty)
    known = Words(
        num_videos=int(present.size),
        total=max(0, words.length(nodes) - num_empty),
        having=lambda stem: words.spread(stem, nodes)[0],
        count=lambda stem: words.spread(stem, nodes)[1],
    )
    return background_of(others, query.vector.size, known)
