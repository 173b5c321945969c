"""Layouts of pictures: which are alike, which are not, and that the first search misses none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fdvs.errors import ShapeError
from fdvs.redundancy.layout import SIZE, is_telling, layouts_of, similarities, sketch_radius, sketches
from tests.redundancy.pictures import Pixels, flat, room, with_visitor

SAME = 0.85


def alike(one: Pixels, other: Pixels) -> float:
    return float(similarities(layouts_of(one[None]), layouts_of(other[None]))[0])


def test_a_layout_holds_rounded_block_means() -> None:
    picture = flat(100)
    picture[:4, :4, 0] = 200  # one block of brightness
    picture[:2, :16, 1] = 255  # an eighth of one block of colour: 128 + 127 / 8
    (layout,) = layouts_of(picture[None])
    assert layout.shape == (SIZE,)
    assert layout[:2].tolist() == [200, 100]
    assert layout[256:258].tolist() == [144, 128]


@pytest.mark.parametrize("noise", [1.0, 3.0, 6.0])
def test_noise_does_not_make_another_picture(noise: float) -> None:
    assert alike(room(1), room(1, noise=noise)) >= 0.93


def test_brightness_and_contrast_of_a_reencoding_do_not_count() -> None:
    limited = room(1).copy()
    limited[..., 0] = np.round(16 + limited[..., 0] * (219 / 255))
    assert alike(room(1), limited) >= 0.93


def test_somebody_in_the_room_makes_another_picture() -> None:
    assert alike(room(1), with_visitor(room(1))) < 0.6
    assert alike(with_visitor(room(1)), with_visitor(room(1), left=5)) < 0.6


def test_another_line_on_a_slide_beside_black_bars_makes_another_slide() -> None:
    slide = flat(255)
    slide[:, :10] = slide[:, -10:] = (0, 128, 128)
    slide[8:10, 16:40, 0] = 100
    longer = slide.copy()
    longer[20:22, 16:48, 0] = 150
    assert alike(slide, longer) < SAME
    assert alike(slide, slide) == 1


def test_different_pictures_are_unlike() -> None:
    found = [alike(room(i), room(j)) for i in range(12) for j in range(i)]
    assert max(found) == 0


def test_a_picture_half_faded_out_is_not_the_picture() -> None:
    faded = room(1).copy()
    faded[..., 0] //= 2
    assert alike(room(1), faded) == 0


def test_flat_pictures_tell_nothing_and_are_like_nothing() -> None:
    pictures = np.stack([flat(0), flat(128), flat(255), room(1)])
    assert is_telling(layouts_of(pictures)).tolist() == [False, False, False, True]
    assert alike(flat(0), flat(0)) == 0


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match="wanted"):
        layouts_of(np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(ShapeError, match="wanted two of one shape"):
        similarities(np.zeros((2, SIZE), np.uint8), np.zeros((1, SIZE), np.uint8))


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.uint8, (6, SIZE)),
    arrays.arrays(np.int16, (6, SIZE), elements=st.integers(-40, 40)),
    st.floats(0.05, 1.0),
)
def test_pictures_that_are_alike_have_near_sketches(
    base: np.typing.NDArray[np.uint8], changes: np.typing.NDArray[np.int16], scale: float
) -> None:
    other = np.clip(base + np.round(changes * scale), 0, 255).astype(np.uint8)
    found = similarities(base, other)
    distances = np.linalg.norm(sketches(base).astype(np.float64) - sketches(other), axis=1)
    both = is_telling(base) & is_telling(other)
    for similarity, distance, telling in zip(found, distances, both, strict=True):
        if telling and similarity > 0:
            assert distance <= sketch_radius(float(similarity))
