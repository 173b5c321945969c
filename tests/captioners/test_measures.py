"""Picture facts of whole clips, against rendered truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fdvs.captioners.builtin import compare, describe, facts_phrase
from fdvs.captioners.measures import Change, Light, PictureFacts, measure_clip
from fdvs.errors import InputError, ShapeError
from tests.captioners.scenes import SIDE, Clip, film, from_rgb, pan, plain, times, window, with_square, zoom


def facts_of(clip: Clip, step_ms: int = 250) -> PictureFacts:
    return measure_clip(clip, times(len(clip), step_ms))


@pytest.mark.parametrize(
    ("right", "down", "move"),
    [(0.03, 0, "pan right"), (-0.1, 0, "pan left"), (0, -0.05, "tilt up"), (0, 0.12, "tilt down")],
)
def test_a_pan_has_its_direction_and_speed(right: float, down: float, move: str) -> None:
    facts = facts_of(pan(right, down), step_ms=400)

    assert facts.camera == (move,)
    assert facts.camera_speed == pytest.approx((abs(right) + abs(down)) / 0.4, rel=0.1)
    assert set(facts.kinds) == {Change.MOTION}
    assert max(facts.changed) < 0.1


@pytest.mark.parametrize(("step", "move"), [(0.06, "zoom in"), (-0.05, "zoom out")])
def test_a_zoom_has_its_direction_and_speed(step: float, move: str) -> None:
    facts = facts_of(zoom(step), step_ms=500)

    assert facts.camera == (move,)
    assert facts.camera_speed == pytest.approx(abs(step) / 0.5, rel=0.2)


def test_two_moves_at_once_are_both_named_the_stronger_first() -> None:
    assert facts_of(pan(right=-0.06, down=0.04)).camera == ("pan left", "tilt down")


def test_back_and_forth_is_shake() -> None:
    offsets = [0, 14, -9, 12, -14, 6, -12, 10]
    shaken = facts_of(film(lambda i: window(300 + offsets[i], 400 - offsets[i] * 0.7)))

    assert shaken.camera == ("shake",)
    assert shaken.camera_speed > 0.05


def test_a_moving_square_moves_at_the_top_left_before_a_still_camera() -> None:
    facts = facts_of(with_square(10, lambda i: (2 + i, 3 + i % 2)))

    assert facts.camera == ("still",)
    assert set(facts.kinds) == {Change.MOTION}
    for regions in facts.regions:
        assert regions[0] == max(regions)
        assert sum(regions[5:]) == 0
    assert not facts.still_ms


@pytest.mark.parametrize("noise", [0.0, 1.5, 3.0])
def test_noise_alone_is_a_still_picture(noise: float) -> None:
    facts = facts_of(film(lambda _: window(300, 400), noise=noise))

    assert facts.is_still
    assert facts.camera == ("still",)
    assert facts.still_ms == ((1000, 2750),)
    assert facts.light_change == Light.STEADY


def test_a_cut_is_no_motion() -> None:
    facts = facts_of(film(lambda i: window(300, 400) if i < 3 else window(300, 400, seed=2) * 0.5))

    assert facts.kinds.count(Change.CUT) == facts.num_cuts == 1
    assert facts.kinds[2] == Change.CUT
    assert Change.MOTION not in facts.kinds
    assert facts.camera == ("still",)
    assert facts.light_change == Light.STEADY  # the light differs between the shots, not within them
    assert len(facts.cut_colours) == 2
    assert facts.still_ms == ((1000, 1500), (1750, 2750))


def test_a_sample_inside_a_dissolve_is_one_cut_and_no_motion() -> None:
    second = window(300, 400, seed=2) * 0.4

    def picture(i: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        share = min(1.0, max(0.0, (i - 2) / 2))  # sample 3 is half of each
        return window(300, 400) * (1 - share) + second * share

    facts = facts_of(film(picture))

    assert facts.num_cuts == 1
    assert Change.MOTION not in facts.kinds


def test_what_passes_before_a_still_picture_is_no_dissolve() -> None:
    facts = facts_of(film(lambda i: window(300, 400, seed=2) * 0.4 if i == 3 else window(300, 400)))

    assert Change.LIGHT not in facts.kinds


def test_a_cut_during_a_pan_does_not_hide_the_pan() -> None:
    def picture(i: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return window(300 + 20 * i, 400) if i < 4 else window(300 + 20 * i, 400, seed=2) * 0.5

    facts = facts_of(film(picture))

    assert facts.kinds.index(Change.CUT) == 3
    assert facts.num_cuts == 1
    assert facts.camera == ("pan right",)
    assert facts.right[3] == 0


def test_a_new_line_on_a_still_slide_is_a_step() -> None:
    def picture(i: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        slide = np.full((SIDE, SIDE), 245.0)
        slide[8:12, 6:50] = 90
        if i >= 5:
            slide[24:28, 6:40] = 90
        return slide

    facts = facts_of(film(picture))

    assert [kind for kind in facts.kinds if kind != Change.STILL] == [Change.STEP]
    assert facts.kinds[4] == Change.STEP
    assert facts.changed[4] == pytest.approx(4 * 34 / SIDE**2, rel=0.2)
    assert facts.still_ms == ((1000, 2000), (2250, 2750))


def test_a_fade_to_black_is_light_and_ends_in_black() -> None:
    facts = facts_of(film(lambda i: window(300, 400) * max(0.0, 1 - i / 5), noise=0.5))

    assert facts.light_change == Light.FADE_OUT
    assert set(facts.kinds) <= {Change.LIGHT, Change.STILL}
    assert facts.black_ms == ((2250, 2750),)
    assert facts.light[0] > 0.4
    assert facts.light[-1] < 0.05


def test_a_fade_from_black_comes_out_of_black() -> None:
    facts = facts_of(film(lambda i: window(300, 400) * min(1.0, i / 5), noise=0.5))

    assert facts.light_change == Light.FADE_IN
    assert facts.black_ms == ((1000, 1000),)
    assert "black" not in dict(facts.colours) or dict(facts.colours)["black"] < 0.5


def test_a_flash_is_neither_cut_nor_motion() -> None:
    facts = facts_of(film(lambda i: np.clip(window(300, 400) * 0.6 + (150 if i == 4 else 0), 0, 255)))

    assert facts.light_change == Light.FLASH
    assert set(facts.kinds) == {Change.STILL, Change.LIGHT}


@pytest.mark.parametrize(("end", "change"), [(0.5, Light.DARKER), (1.6, Light.BRIGHTER), (1.05, Light.STEADY)])
def test_slow_light_gets_brighter_or_darker(end: float, change: Light) -> None:
    facts = facts_of(film(lambda i: window(300, 400) * 0.6 * (1 + (end - 1) * i / 7)))

    assert facts.light_change == change
    assert facts.num_cuts == 0
    assert Change.MOTION not in facts.kinds


def test_bars_are_left_out_of_light_and_colours() -> None:
    clip = plain(from_rgb(60, 110, 200))
    clip[:, :8] = clip[:, -8:] = from_rgb(0, 0, 0)
    facts = facts_of(clip)

    assert facts.bars == 0.25
    assert facts.colours == (("blue", 1.0),)
    assert facts.light[0] == pytest.approx(from_rgb(60, 110, 200)[0] / 255, abs=0.01)


def test_a_black_picture_has_no_bars() -> None:
    facts = facts_of(plain((0, 128, 128)))

    assert facts.bars == 0
    assert facts.is_black
    assert facts.black_ms == facts.still_ms == ((1000, 2750),)


def test_layout_is_the_mean_of_each_region_at_both_ends() -> None:
    clip = plain((100, 128, 128), count=3)
    clip[-1, :20, :20] = (200, 90, 160)
    facts = facts_of(clip)

    assert facts.first_layout == (100, 128, 128) * 9
    assert facts.last_layout[:3] == pytest.approx((183, 97, 155), abs=1)  # 20 of 22 cells each way
    assert facts.last_layout[3:6] == (100, 128, 128)


def test_nothing_one_and_two_pictures() -> None:
    none, one, two = (facts_of(pan(right=0.1, count=count)) for count in range(3))

    assert none == PictureFacts()
    assert one.times_ms == (1000,)
    assert one.kinds == one.camera == ()
    assert one.right == ()
    assert one.colours
    assert two.camera == ("pan right",)
    assert two.camera_speed == pytest.approx(0.4, rel=0.05)


@pytest.mark.parametrize(
    ("clip", "when"),
    [
        (np.zeros((2, 64, 64), np.uint8), [0, 1]),
        (np.zeros((2, 32, 32, 3), np.uint8), [0, 1]),
        (np.zeros((2, 64, 64, 3), np.float32), [0, 1]),
        (np.zeros((2, 64, 64, 3), np.uint8), [0]),
    ],
)
def test_wrong_shapes_are_refused(clip: Clip, when: list[int]) -> None:
    with pytest.raises(ShapeError, match="got"):
        measure_clip(clip, when)


@pytest.mark.parametrize("clip", [pan(0.05), zoom(-0.05), plain((0, 128, 128)), pan(0.1, count=1), pan(0.1, count=0)])
def test_json_round_trip_is_exact(clip: Clip) -> None:
    facts = facts_of(clip)
    text = json.dumps(facts.to_json())

    assert PictureFacts.from_json(json.loads(text)) == facts
    assert len(text) < 2500


def test_json_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(InputError, match="taste"):
        PictureFacts.from_json({"taste": 1})


def test_numbers_are_rounded_and_never_negative_zero() -> None:
    facts = facts_of(pan(0.05))
    numbers = [*facts.light, *facts.right, *facts.down, *facts.zoom, *facts.changed, *sum(facts.regions, ())]

    assert all(number == round(number, 3) for number in numbers)
    assert "-0.0" not in [str(number) for number in numbers]


def test_the_same_pictures_give_the_same_facts() -> None:
    clip = zoom(0.07)

    assert facts_of(clip) == facts_of(clip.copy())


WILD = arrays.arrays(np.uint8, st.tuples(st.integers(0, 8), st.just(8), st.just(8), st.just(3)))


@settings(max_examples=150, deadline=None)
@given(small=WILD, step_ms=st.integers(0, 1500), blocky=st.booleans())
def test_any_pictures_can_be_measured_and_described(small: Clip, step_ms: int, blocky: bool) -> None:
    clip = small.repeat(8, 1).repeat(8, 2) if blocky else np.tile(small, (1, 8, 8, 1))
    facts = facts_of(clip, step_ms)
    text = describe(facts)

    assert PictureFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts
    assert 3 <= len(text.split()) <= 40
    assert 2 <= len(facts_phrase(facts).split()) <= 6
    assert compare(facts, facts) == 0
    assert len(facts.kinds) == max(0, len(clip) - 1)
    assert all(np.isfinite([*facts.right, *facts.down, *facts.zoom, facts.camera_speed]))
    assert all(0 <= share <= 1 for share in facts.changed)
