"""Visual redundancy inside one clip: which of its sampled frames are worth describing.

Two rules. `mean_similarity` is the paper's (FDVS, section on visual-level redundancy reduction): a frame goes when it
is more similar to the clip's keyframe than the clip's mean is. `greedy` keeps a frame when it differs from every frame
kept so far; a clip that does not change keeps one frame, a clip that changes throughout keeps all.

Cosines are rounded to thousandths before anything is decided, so that machines that differ in the last bits agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import InputError, ShapeError
from fdvs.records import FrameSelection
from fdvs.settings import FrameSettings

EPSILON = 1e-6  # a frame must lie below the mean by more than this; far below the rounding, so it only settles ties


def select_frames(
    clip_id: str, times_ms: Sequence[int], vectors: NDArray[np.float32], settings: FrameSettings
) -> FrameSelection:
    """Decide which sampled frames of a clip to keep.

    Args:
        times_ms: the sampled times in ascending order, the clip's keyframe first. A repeated time is one sample (the
            first), so that the frames of a short clip do not count twice in a mean.
        vectors: `[N, D]`, one picture vector per time, each of length 1.
        settings: `rule`, `threshold` (greedy), `include_keyframe_in_mean` and `always_keep_keyframe`
            (mean_similarity).

    Returns:
        The kept times and, for every sample, its cosine to its reference, rounded to 1e-3. The reference is the
        keyframe (mean_similarity) or the most similar frame kept before (greedy; of equals the earliest); the first
        sample refers to itself. No sample gives an empty selection; otherwise at least one frame is kept.

    Raises:
        ShapeError: `vectors` is not `[N, D]` with N times.
        InputError: times are not in order, or a vector is not of length 1.
    """
    if vectors.ndim != 2 or len(vectors) != len(times_ms):
        raise ShapeError(f"vectors: wanted [{len(times_ms)}, D], got {list(vectors.shape)}")
    if any(later < earlier for earlier, later in pairwise(times_ms)):
        raise InputError(f"times of clip {clip_id} are not in ascending order: {list(times_ms)}")
    rows = [row for row, time in enumerate(times_ms) if row == 0 or time != times_ms[row - 1]]
    unit = vectors[rows].astype(np.float64)
    lengths = np.linalg.norm(unit, axis=1, keepdims=True)
    if not np.allclose(lengths, 1, atol=1e-3):
        raise InputError(f"picture vectors of clip {clip_id} are not of length 1")
    unit /= lengths
    cosines: list[list[float]] = np.clip(np.round(unit @ unit.T, 3), -1, 1).tolist()  # [N, N]
    times = tuple(times_ms[row] for row in rows)
    if not times:
        return FrameSelection(clip_id, (), (), (), settings.rule)
    if settings.rule == "greedy":
        kept, references = _greedy(cosines, settings.threshold)
    else:
        kept, references = _mean_similarity(cosines[0], settings), [0] * len(times)
    return FrameSelection(
        clip_id=clip_id,
        sampled_ms=times,
        kept_ms=tuple(times[i] for i in kept),
        similarities=tuple(cosines[i][reference] for i, reference in enumerate(references)),
        rule=settings.rule,
        reference_ms=tuple(times[reference] for reference in references),
    )


def _greedy(cosines: list[list[float]], threshold: float) -> tuple[list[int], list[int]]:
    """The kept samples, and for every sample the one it was compared with."""
    kept, references = [0], [0]
    for i in range(1, len(cosines)):
        nearest = max(kept, key=lambda j: cosines[i][j])  # of equals the earliest
        references.append(nearest)
        if cosines[i][nearest] < threshold:
            kept.append(i)
    return kept, references


def _mean_similarity(to_keyframe: list[float], settings: FrameSettings) -> list[int]:
    counted = to_keyframe if settings.include_keyframe_in_mean else to_keyframe[1:]
    if not counted:
        return [0]
    mean = sum(counted) / len(counted)
    kept = [i for i, similarity in enumerate(to_keyframe) if similarity < mean - EPSILON]
    # A clip whose frames are all alike has none below the mean; it must not lose its last frame.
    if not kept or (settings.always_keep_keyframe and kept[0] != 0):
        kept.insert(0, 0)
    return kept
