"""Shift, zoom and change between neighbouring pictures, against rendered truth."""

from __future__ import annotations

import numpy as np
import pytest

from fdvs.captioners.motion import CELLS, Motion, measure_motion, region_sums, shrink
from tests.captioners.scenes import Clip, film, pan, window, with_square, zoom


def measured(clip: Clip) -> Motion:
    return measure_motion(shrink(clip.astype(np.float32)))


def test_shrink_takes_the_mean_of_four_cells() -> None:
    picture = np.arange(16, dtype=np.float32).reshape(1, 4, 4)

    assert shrink(picture).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]


def test_region_sums_go_row_by_row_from_the_top_left() -> None:
    picture = np.zeros((1, CELLS, CELLS), np.float32)
    picture[0, 0, -1] = 5  # top right
    picture[0, CELLS // 2, 0] = 7  # left, middle row

    assert region_sums(picture).tolist() == [[0, 0, 5, 7, 0, 0, 0, 0, 0]]
    assert region_sums(np.ones((CELLS, CELLS), np.float32)).sum() == CELLS * CELLS


@pytest.mark.parametrize("right", [-0.25, -0.1, -0.04, 0.01, 0.02, 0.08, 0.16, 0.3])
def test_horizontal_shift_is_measured_below_one_cell(right: float) -> None:
    motion = measured(pan(right=right))

    assert np.median(motion.right) / CELLS == pytest.approx(right, abs=0.004)
    assert np.median(motion.down) / CELLS == pytest.approx(0, abs=0.003)
    assert np.median(motion.zoom) == pytest.approx(0, abs=0.01)
    assert np.median(motion.support) >= 0.5
    assert motion.changed.mean() < 0.01


@pytest.mark.parametrize("down", [-0.2, -0.05, 0.03, 0.15])
def test_vertical_shift_is_measured(down: float) -> None:
    motion = measured(pan(down=down))

    assert np.median(motion.down) / CELLS == pytest.approx(down, abs=0.004)
    assert np.median(motion.right) / CELLS == pytest.approx(0, abs=0.003)


@pytest.mark.parametrize("step", [-0.12, -0.05, 0.03, 0.06, 0.1, 0.15])
def test_zoom_is_measured(step: float) -> None:
    motion = measured(zoom(step))

    assert np.median(motion.zoom) == pytest.approx(step, abs=0.012 + 0.1 * abs(step))
    assert np.median(motion.support) >= 0.5


def test_noise_is_no_motion() -> None:
    motion = measured(film(lambda _: window(300, 400), noise=3.0))

    assert motion.changed_still.mean(axis=(1, 2)).max() < 0.004
    assert not motion.right.any()
    assert not motion.support.any()


def test_a_moving_thing_does_not_move_the_camera() -> None:
    motion = measured(with_square(16, lambda i: (4 + 6 * i, 20)))

    assert np.abs(motion.right).max() / CELLS < 0.005
    assert motion.support.max() < 0.5
    covered_and_uncovered = 2 * 6 * 16 / 64**2
    assert np.median(motion.changed_still.mean(axis=(1, 2))) == pytest.approx(covered_and_uncovered, rel=0.25)


def test_a_fade_is_taken_out_before_motion_is_measured() -> None:
    motion = measured(film(lambda i: window(300 + i * 0.05 * 512, 400) * (1 - 0.1 * i)))

    assert np.median(motion.right) / CELLS == pytest.approx(0.05, abs=0.004)
    assert motion.alike.min() > 0.9


def test_alignment_shows_whether_two_pictures_are_one() -> None:
    same = measured(pan(right=0.1, count=2))
    other = measured(film(lambda i: window(300, 400, seed=1 + i), 2))

    assert same.alike[0] > 0.95
    assert other.alike[0] < 0.6


def test_pairs_do_not_depend_on_each_other() -> None:
    clip = pan(right=0.06)
    together, alone = measured(clip), measured(clip[2:4])

    assert together.right[2] == pytest.approx(alone.right[0], abs=1e-3)
    assert (together.changed[2] == alone.changed[0]).mean() > 0.99
