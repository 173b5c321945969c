"""The picture descriptor that needs no model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fdvs.encoders.builtin_picture import BuiltinPictureEncoder, describe
from fdvs.errors import ShapeError
from tests.encoders.models import StubFrame

ENCODER = BuiltinPictureEncoder()


def uniform(luma: int, u: int = 128, v: int = 128) -> NDArray[np.uint8]:
    return np.full((64, 64, 3), (luma, u, v), np.uint8)


def scene(seed: int) -> NDArray[np.uint8]:
    """A picture of twelve random rectangles, large and small."""
    random = np.random.default_rng(seed)
    picture = uniform(int(random.integers(40, 200)))
    for _ in range(12):
        top, left, height, width = random.integers(0, 48, 2).tolist() + random.integers(4, 40, 2).tolist()
        picture[top : top + height, left : left + width] = random.integers(30, 226, 3)
    return picture


def cosine(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    first, second = ENCODER.encode([a, b])
    return float(first @ second)


def noisy(picture: NDArray[np.uint8], sigma: float, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def test_shape_and_type() -> None:
    vectors = ENCODER.encode([scene(i) for i in range(3)])
    assert vectors.shape == (3, 256) == (3, ENCODER.dimension)
    assert vectors.dtype == np.float32
    assert ENCODER.encode([]).shape == (0, 256)


def test_prepare_takes_the_small_picture() -> None:
    picture = scene(1)
    assert ENCODER.prepare(StubFrame(small=picture)) is picture


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_every_uniform_picture_has_a_unit_vector(luma: int, u: int, v: int) -> None:
    vector = ENCODER.encode([uniform(luma, u, v)])[0]
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_black_and_white_are_at_right_angles_and_neighbouring_greys_alike() -> None:
    assert cosine(uniform(0), uniform(255)) == pytest.approx(0, abs=1e-6)
    assert cosine(uniform(127), uniform(128)) > 0.999
    assert cosine(uniform(0), uniform(40)) < 0.97


def test_colour_tells_pictures_of_equal_brightness_apart() -> None:
    assert cosine(uniform(128, 90, 128), uniform(128, 128, 180)) < 0.6


def test_vector_does_not_depend_on_the_pictures_it_is_encoded_with() -> None:
    pictures = [scene(i) for i in range(9)]
    together = ENCODER.encode(pictures)
    np.testing.assert_array_equal(together, np.concatenate([ENCODER.encode([picture]) for picture in pictures]))
    np.testing.assert_array_equal(together, ENCODER.encode(pictures[::-1])[::-1])


@pytest.mark.parametrize("seed", range(5))
def test_noise_of_two_grey_levels_is_not_a_change(seed: int) -> None:
    assert cosine(noisy(scene(seed), 2, 1), noisy(scene(seed), 2, 2)) >= 0.99


def test_noise_on_an_almost_flat_picture_is_not_a_change() -> None:
    shade = uniform(20)
    shade[..., 0] += np.arange(64, dtype=np.uint8)[:, None] // 8
    assert cosine(noisy(shade, 2, 1), noisy(shade, 2, 2)) >= 0.99


def test_different_scenes_are_far_apart() -> None:
    vectors = ENCODER.encode([scene(i) for i in range(40)])
    cosines = (vectors @ vectors.T)[np.triu_indices(40, 1)]
    assert cosines.max() < 0.8


def test_text_added_to_a_slide_is_a_change() -> None:
    slide = uniform(230)
    slide[8:12, 8:50] = 40
    more = slide.copy()
    more[20:23, 8:40] = 40
    assert cosine(slide, more) < 0.97


def test_mean_square_of_the_coefficients_is_that_of_the_pooled_picture() -> None:
    from fdvs.encoders.builtin_picture import _low_frequencies

    plane = np.random.default_rng(0).uniform(0, 255, (1, 64, 64))
    pooled = plane.reshape(1, 8, 8, 8, 8).mean(axis=(2, 4))
    every = _low_frequencies(plane, 8, 64)
    assert every[0, 0] == pytest.approx(pooled.mean())
    assert np.sum(every**2) == pytest.approx(np.mean(pooled**2))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"wanted \[64, 64, 3\], got \[32, 32, 3\]"):
        ENCODER.encode([uniform(0), np.zeros((32, 32, 3), np.uint8)])


def test_describe_takes_a_stack() -> None:
    stack = np.stack([scene(0), scene(1)])
    np.testing.assert_array_equal(describe(stack), ENCODER.encode(list(stack)))
