"""Visual redundancy inside one clip: both rules, by hand and by property."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fdvs.errors import InputError, ShapeError
from fdvs.records import FrameSelection
from fdvs.redundancy.visual import select_frames
from fdvs.settings import FrameSettings

PAPER = FrameSettings(rule="mean_similarity")
GREEDY = FrameSettings(rule="greedy", threshold=0.97)


def with_cosines(cosines: Sequence[float]) -> NDArray[np.float32]:
    """Unit vectors in the plane with these cosines to the first (whose own must be 1)."""
    return np.stack([cosines, np.sqrt(1 - np.square(cosines))], axis=1).astype(np.float32)


def select(vectors: NDArray[np.float32], settings: FrameSettings) -> FrameSelection:
    return select_frames("clip-0", [100 * i for i in range(len(vectors))], vectors, settings)


def kept(vectors: NDArray[np.float32], settings: FrameSettings) -> list[int]:
    return [time // 100 for time in select(vectors, settings).kept_ms]


# The vectors of the paper's notes: similarities → kept.
@pytest.mark.parametrize(
    ("cosines", "wanted"),
    [([1, 0.9, 0.8, 0.7], [0, 2, 3]), ([1, 1, 1, 1], [0]), ([1], [0]), ([1, 0.5], [0, 1])],
)
def test_mean_rule_on_the_vectors_of_the_paper(cosines: list[float], wanted: list[int]) -> None:
    assert kept(with_cosines(cosines), PAPER) == wanted


def test_mean_rule_without_the_keyframe_in_the_mean() -> None:
    outside = dataclasses.replace(PAPER, include_keyframe_in_mean=False)
    vectors = with_cosines([1, 0.9, 0.82, 0.7])  # mean 0.855 with the keyframe, 0.807 without
    assert kept(vectors, PAPER) == [0, 2, 3]
    assert kept(vectors, outside) == [0, 3]
    assert kept(vectors[:1], outside) == [0]


def test_mean_rule_may_drop_the_keyframe_but_never_the_last_frame() -> None:
    droppable = dataclasses.replace(PAPER, always_keep_keyframe=False)
    assert kept(with_cosines([1, 0.9, 0.8, 0.7]), droppable) == [2, 3]
    assert kept(with_cosines([1, 1, 1]), droppable) == [0]
    assert kept(with_cosines([1]), droppable) == [0]


def test_mean_rule_drops_a_frame_that_equals_the_mean() -> None:
    assert kept(with_cosines([1, 0.9, 0.8]), PAPER) == [0, 2]


def test_mean_rule_ignores_differences_below_a_thousandth() -> None:
    assert kept(with_cosines([1, 0.9000, 0.9002, 0.8998]), PAPER) == [0, 1, 2, 3]
    assert kept(with_cosines([1, 0.99999, 0.99995, 0.99998]), PAPER) == [0]


def test_mean_rule_reports_similarity_to_the_keyframe() -> None:
    selection = select(with_cosines([1, 0.9, 0.8]), PAPER)
    assert selection.similarities == (1.0, 0.9, 0.8)
    assert selection.reference_ms == (0, 0, 0)
    assert selection.rule == "mean_similarity"


def test_greedy_keeps_a_frame_that_differs_from_every_kept_one() -> None:
    angles = np.radians([0, 5, 10, 15, 20, 2])  # cos 14° = 0.970, cos 15° = 0.966
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    selection = select(vectors, GREEDY)
    assert selection.kept_ms == (0, 300)
    assert selection.reference_ms == (0, 0, 0, 0, 300, 0)
    assert selection.similarities == (1.0, 0.996, 0.985, 0.966, 0.996, 0.999)
    assert selection.rule == "greedy"


def test_greedy_compares_with_frames_that_left_and_came_back() -> None:
    a, b = [1.0, 0.0], [0.0, 1.0]
    assert kept(np.array([a, b, a, b, a], np.float32), GREEDY) == [0, 1]


@pytest.mark.parametrize(("cosine", "frames"), [(0.9694, 2), (0.9696, 1), (0.97, 1)])
def test_greedy_decides_on_rounded_cosines_and_drops_at_the_threshold(cosine: float, frames: int) -> None:
    assert len(kept(with_cosines([1, cosine]), GREEDY)) == frames


def test_greedy_with_threshold_one_drops_only_equal_frames() -> None:
    assert kept(with_cosines([1, 1, 0.998]), dataclasses.replace(GREEDY, threshold=1.0)) == [0, 2]


@pytest.mark.parametrize("settings", [PAPER, GREEDY], ids=lambda settings: str(settings.rule))
def test_clip_without_samples_gives_an_empty_selection(settings: FrameSettings) -> None:
    selection = select_frames("clip-0", [], np.empty((0, 8), np.float32), settings)
    assert (selection.sampled_ms, selection.kept_ms, selection.similarities) == ((), (), ())


def test_repeated_time_is_one_sample() -> None:
    vectors = with_cosines([1, 0.9, 0.9, 0.9, 0.8])
    selection = select_frames("clip-0", [0, 40, 40, 40, 80], vectors, PAPER)
    assert selection == select_frames("clip-0", [0, 40, 80], vectors[[0, 1, 4]], PAPER)
    assert selection.sampled_ms == (0, 40, 80)


def test_wrong_input_is_refused() -> None:
    unit = with_cosines([1, 0.9])
    with pytest.raises(ShapeError, match=r"wanted \[3, D\], got \[2, 2\]"):
        select_frames("clip-0", [0, 1, 2], unit, GREEDY)
    with pytest.raises(ShapeError):
        select_frames("clip-0", [0, 1], unit[0], GREEDY)
    with pytest.raises(InputError, match="ascending"):
        select_frames("clip-0", [1, 0], unit, GREEDY)
    for bad in (unit * 2, unit * 0, unit * np.float32(np.nan)):
        with pytest.raises(InputError, match="length 1"):
            select_frames("clip-0", [0, 1], bad, GREEDY)


@st.composite
def unit_vectors(draw: st.DrawFn) -> NDArray[np.float32]:
    """Up to eight unit vectors of four dimensions: some repeats, some neighbours, some far apart."""
    base = [np.eye(4)[i] for i in range(4)]
    rows = [
        base[draw(st.integers(0, 3))] + draw(st.sampled_from([0.0, 0.05, 0.25, 0.6])) * base[draw(st.integers(0, 3))]
        for _ in range(draw(st.integers(1, 8)))
    ]
    stacked: NDArray[np.float64] = np.stack(rows)
    unit: NDArray[np.float32] = (stacked / np.linalg.norm(stacked, axis=1, keepdims=True)).astype(np.float32)
    return unit


settings_of_any_kind = st.builds(
    FrameSettings,
    rule=st.sampled_from(["greedy", "mean_similarity"]),
    threshold=st.sampled_from([0.5, 0.9, 0.97, 1.0]),
    include_keyframe_in_mean=st.booleans(),
    always_keep_keyframe=st.booleans(),
)


@given(unit_vectors(), settings_of_any_kind)
def test_selection_is_a_non_empty_ordered_part_of_the_samples(
    vectors: NDArray[np.float32], settings: FrameSettings
) -> None:
    selection = select(vectors, settings)
    assert selection.sampled_ms == tuple(100 * i for i in range(len(vectors)))
    assert selection.kept_ms
    assert set(selection.kept_ms) <= set(selection.sampled_ms)
    assert list(selection.kept_ms) == sorted(set(selection.kept_ms))
    assert len(selection.similarities) == len(selection.reference_ms) == len(vectors)
    assert all(-1 <= s <= 1 and round(s, 3) == s for s in selection.similarities)
    if settings.always_keep_keyframe or settings.rule == "greedy":
        assert selection.kept_ms[0] == 0


@given(unit_vectors(), settings_of_any_kind)
def test_every_sample_is_traced_to_a_frame_with_the_stated_similarity(
    vectors: NDArray[np.float32], settings: FrameSettings
) -> None:
    selection = select(vectors, settings)
    for i, (similarity, reference) in enumerate(zip(selection.similarities, selection.reference_ms, strict=True)):
        assert float(vectors[i] @ vectors[reference // 100]) == pytest.approx(similarity, abs=6e-4)
        if settings.rule == "greedy":
            assert reference in selection.kept_ms
            assert reference <= 100 * i


@given(unit_vectors(), st.sampled_from([0.5, 0.9, 0.97, 1.0]))
def test_greedy_covers_what_it_drops_and_keeps_nothing_twice(vectors: NDArray[np.float32], threshold: float) -> None:
    settings = FrameSettings(rule="greedy", threshold=threshold)
    cosines = np.round(vectors.astype(np.float64) @ vectors.T.astype(np.float64), 3)
    chosen = kept(vectors, settings)
    for i in range(len(vectors)):
        earlier = [cosines[i, j] for j in chosen if j < i]
        assert (i in chosen) == all(cosine < threshold for cosine in earlier)
    assert kept(vectors[chosen], settings) == list(range(len(chosen)))


@given(unit_vectors(), settings_of_any_kind)
def test_selection_is_the_same_after_noise_in_the_last_bits(
    vectors: NDArray[np.float32], settings: FrameSettings
) -> None:
    """No cosine of the construction is near a rounding border, so noise of 1e-7 must change nothing."""
    signs = np.where(np.arange(vectors.size).reshape(vectors.shape) % 2, 1, -1)
    assert select(vectors, settings) == select((vectors + 1e-7 * signs).astype(np.float32), settings)
