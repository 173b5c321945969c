"""Clip borders and sample times, on hand-made indexes."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdvs.media.clips import plan_clips
from fdvs.media.index import PacketIndex, make_index
from fdvs.settings import ClipSettings

PAPER = ClipSettings(min_clip_s=0, max_clip_s=0, black_join_s=0)


def film(times_ms: list[int], keys_ms: list[int], last_ms: int = 40) -> PacketIndex:
    pts = np.array(times_ms)
    return make_index(Fraction(1, 1000), pts, is_key=np.isin(pts, keys_ms), last_duration=last_ms)


def even(seconds: float, *keys_s: float) -> PacketIndex:
    """25 pictures a second."""
    times = [40 * i for i in range(round(seconds * 25))]
    return film(times, [round(key * 1000) for key in keys_s])


def spans(index: PacketIndex, settings: ClipSettings) -> list[tuple[float, float]]:
    return [(plan.start_pts / 1000, plan.end_pts / 1000) for plan in plan_clips(index, settings)]


def test_paper_cuts_at_every_key_picture() -> None:
    assert spans(even(6, 0, 1, 1.2, 5.8), PAPER) == [(0, 1), (1, 1.2), (1.2, 5.8), (5.8, 6)]


def test_paper_samples_eight_even_positions_end_excluded() -> None:
    plans = plan_clips(even(4, 0, 2.4), PAPER)  # 60 and 40 pictures
    assert [pts // 40 for pts in plans[0].sample_pts] == [0, 7, 15, 22, 30, 37, 45, 52]
    assert [pts // 40 - 60 for pts in plans[1].sample_pts] == [0, 5, 10, 15, 20, 25, 30, 35]


def test_a_clip_of_three_pictures_has_three_samples() -> None:
    assert plan_clips(film([0, 40, 80], [0]), PAPER)[0].sample_pts == (0, 40, 80)


def test_the_first_picture_is_a_border_also_when_it_is_no_key() -> None:
    plans = plan_clips(even(3, 2), PAPER)
    assert [(plan.start_pts, plan.end_pts, plan.key_pts) for plan in plans] == [(0, 2000, 0), (2000, 3000, 2000)]


def test_short_clips_join_the_border_kept_before() -> None:
    assert spans(even(9, 0, 1, 2, 3.2, 4, 6.4), ClipSettings()) == [(0, 2), (2, 4), (4, 6.4), (6.4, 9)]


def test_a_short_last_clip_joins_the_one_before() -> None:
    assert spans(even(7, 0, 5.5), ClipSettings()) == [(0, 7)]
    assert spans(even(1, 0), ClipSettings()) == [(0, 1)]


def test_long_clips_are_split_into_equal_parts_at_pictures() -> None:
    assert spans(even(24, 0), ClipSettings()) == [(0, 8), (8, 16), (16, 24)]
    assert [plan.key_pts for plan in plan_clips(even(24, 0), ClipSettings())] == [0, 0, 0]
    assert spans(even(10, 0), ClipSettings()) == [(0, 10)]


def test_all_intra_gives_clips_of_the_least_length() -> None:
    index = even(10, *[i / 25 for i in range(250)])
    assert spans(index, ClipSettings()) == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]


def test_a_gap_without_pictures_stays_in_one_clip() -> None:
    index = film([*range(0, 1000, 40), *range(60000, 61000, 40)], [0])
    plans = plan_clips(index, ClipSettings())
    assert [(plan.start_pts, plan.end_pts) for plan in plans] == [(0, 60000), (60000, 61000)]


def test_borders_within_one_millisecond_are_one() -> None:
    pts = np.arange(10)
    index = make_index(Fraction(1, 5000), pts, is_key=np.ones(10, np.bool_))  # pictures 0.2 ms apart
    plans = plan_clips(index, PAPER)
    starts = [index.ms(plan.start_pts) for plan in plans]
    assert starts == sorted(set(starts))
    assert index.ms(plans[-1].start_pts) < index.duration_ms


def test_key_pictures_only() -> None:
    settings = ClipSettings(samples_per_clip=3, frames="keyframes", min_clip_s=4, max_clip_s=30)
    plans = plan_clips(even(8, 0, 0.4, 0.8, 1.2, 1.6, 2, 4), settings)
    assert [plan.sample_pts for plan in plans] == [(0, 800, 1600), (4000,)]


def test_key_picture_clips_are_not_split_where_no_key_picture_lies_inside() -> None:
    settings = ClipSettings(frames="keyframes")
    assert spans(even(60, 0, 30), settings) == [(0, 30), (30, 60)]


def test_without_a_key_picture_the_first_picture_is_taken() -> None:
    plans = plan_clips(even(6, 3), ClipSettings(frames="keyframes"))
    assert [plan.sample_pts for plan in plans] == [(0,), (3000,)]


@given(
    steps=st.lists(st.integers(1, 4000), min_size=1, max_size=120),
    key_every=st.integers(1, 60),
    settings=st.builds(
        ClipSettings,
        min_clip_s=st.sampled_from([0.0, 0.5, 2.0]),
        max_clip_s=st.sampled_from([0.0, 2.0, 10.0]),
        samples_per_clip=st.integers(1, 9),
        frames=st.sampled_from(["sampled", "keyframes"]),
    ),
)
def test_clips_always_partition_the_video(steps: list[int], key_every: int, settings: ClipSettings) -> None:
    times = np.concatenate([[7], 7 + np.cumsum(steps)])
    index = make_index(Fraction(1, 1000), times, is_key=np.arange(len(times)) % key_every == 0, last_duration=33)
    plans = plan_clips(index, settings)
    assert (plans[0].start_pts, plans[-1].end_pts) == (index.start_pts, index.end_pts)
    assert all(a.end_pts == b.start_pts for a, b in pairwise(plans))
    displayed = set(index.display_pts.tolist())
    for plan in plans:
        assert plan.start_pts < plan.end_pts
        assert plan.key_pts <= plan.start_pts
        assert 1 <= len(plan.sample_pts) <= settings.samples_per_clip
        assert list(plan.sample_pts) == sorted({*plan.sample_pts} & displayed)
        assert plan.start_pts <= plan.sample_pts[0]
        assert plan.sample_pts[-1] < plan.end_pts


@pytest.mark.parametrize("seconds", [0.5, 2, 9.99])
def test_ticks_never_fall_short(seconds: float) -> None:
    index = make_index(Fraction(1001, 30000), np.arange(3), is_key=np.array([True, False, False]))
    ticks = index.ticks(seconds)
    assert (ticks - 1) * index.time_base < seconds <= ticks * index.time_base
