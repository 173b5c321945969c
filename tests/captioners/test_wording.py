"""Sentences and phrases, from facts to text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fdvs.captioners.facts import Change, Light, PictureFacts
from fdvs.captioners.measures import measure_clip
from fdvs.captioners.wording import (
    colour_words,
    describe,
    facts_phrase,
    light_word,
    share_words,
    short_colour_words,
    trail,
)
from fdvs.records import Span
from tests.captioners.scenes import Clip, film, from_rgb, pan, plain, times, window, with_square, zoom

SPAN = Span(1000, 3000)


def facts_of(clip: Clip) -> PictureFacts:
    return measure_clip(clip, times(len(clip)))


def in_region(*regions: int | None, share: float = 0.1, camera: tuple[str, ...] = ("still",)) -> PictureFacts:
    """Facts in which each step changes `share` of the picture, all of it in the named region (None: everywhere)."""
    rows = tuple(
        tuple(share if region is None else 9 * share * (region == at) for at in range(9)) for region in regions
    )
    return PictureFacts(
        times_ms=tuple(1000 + 250 * i for i in range(len(regions) + 1)),
        light=(0.5,) * (len(regions) + 1),
        changed=(share,) * len(regions),
        regions=rows,
        kinds=(Change.MOTION.value,) * len(regions),
        camera=camera,
        colours=(("green", 0.6), ("blue", 0.3)),
    )


def test_a_still_picture_is_said_briefly() -> None:
    facts = facts_of(plain(from_rgb(250, 250, 250)))

    assert describe(facts) == "A still picture, bright, almost all white."
    assert facts_phrase(facts) == "Still, bright, mostly white"


def test_a_black_picture_is_only_that() -> None:
    facts = facts_of(plain((0, 128, 128)))

    assert describe(facts) == "A black picture."
    assert facts_phrase(facts) == "Black picture"


def test_no_and_one_picture_are_said_to_be_so() -> None:
    assert describe(PictureFacts()) == "No picture was measured."
    assert facts_phrase(PictureFacts()) == "No picture"
    assert describe(facts_of(plain(from_rgb(0, 128, 0), count=1))) == "A single picture, dim, almost all green."


def test_camera_moves_are_named_with_their_speed() -> None:
    assert describe(facts_of(pan(right=-0.01))).startswith("The camera pans left slowly.")
    assert describe(facts_of(pan(right=0.05))).startswith("The camera pans right.")
    assert describe(facts_of(pan(down=0.15))).startswith("The camera tilts down fast.")
    assert describe(facts_of(zoom(0.06))).startswith("The camera zooms in")
    assert facts_phrase(facts_of(pan(right=-0.01))) == "Slow pan left, mostly grey"


def test_a_moving_thing_is_placed_and_sized() -> None:
    text = describe(facts_of(with_square(20, lambda i: (2 + 3 * (i % 2), 4 + 3 * (i % 2)))))

    assert text.startswith("The camera is still; movement in about a twentieth of the picture, at the top left.")


def test_something_that_crosses_the_picture_is_followed() -> None:
    assert trail(in_region(3, 3, 4, 4, 5)) == ["at the left", "in the centre", "at the right"]
    text = describe(in_region(3, 3, 4, 4, 5))
    assert "first at the left, then in the centre, then at the right" in text


@pytest.mark.parametrize(
    ("regions", "places"),
    [
        ((0, 8, 0, 8), []),  # here and there
        ((0, 2, 6, 8), []),  # jumps
        ((0, 2, 1), ["at the top"]),  # jumps along the upper third
        ((3, 4, 3, 4), ["in the centre"]),  # to and fro
        ((None, None), []),  # all over
        ((7, 7, 7), ["at the bottom"]),
    ],
)
def test_a_path_is_told_only_when_it_is_one(regions: tuple[int | None, ...], places: list[str]) -> None:
    assert trail(in_region(*regions)) == places


def test_small_steps_do_not_send_a_path_astray() -> None:
    facts = in_region(3, 3, 3)
    weak = replace(
        facts,
        changed=(0.1, 0.02, 0.1),
        regions=(facts.regions[0], tuple(0.18 * (at == 8) for at in range(9)), facts.regions[2]),
    )

    assert trail(weak) == ["at the left"]


def test_a_cut_comes_first_with_its_place_and_colours() -> None:
    blue, green = plain(from_rgb(60, 110, 200), count=6), plain(from_rgb(0, 128, 0), count=2)
    blue[:, ::3] = from_rgb(30, 40, 90)
    green[:, :, ::3] = from_rgb(200, 240, 200)
    text = describe(facts_of(np.concatenate((blue, green))))

    assert text.startswith("A cut to another picture around 0:02, from mostly blue to mostly green. Otherwise still:")


def test_many_cuts_are_counted() -> None:
    facts = facts_of(film(lambda i: window(300, 400, seed=1 + i // 2) * (1 if i // 2 % 2 else 0.4)))

    assert describe(facts).startswith("Three cuts. Still in between: ")
    assert facts_phrase(facts).startswith("Cuts, ")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (Light.FADE_IN, "It comes out of black."),
        (Light.FADE_OUT, "It ends in black."),
        (Light.FLASH, "A flash of light."),
        (Light.DARKER, "It gets darker."),
        (Light.BRIGHTER, "It gets brighter."),
    ],
)
def test_light_that_changes_is_said(change: Light, sentence: str) -> None:
    still = facts_of(film(lambda _: window(300, 400)))

    assert sentence in describe(replace(still, light_change=change.value))
    assert sentence not in describe(still)


def test_black_in_the_middle_is_said() -> None:
    facts = facts_of(film(lambda i: window(300, 400) * (0 if i in (3, 4) else 1), noise=0.5))

    assert "Black in between." in describe(facts)


def test_credits_scroll() -> None:
    def picture(i: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        lines = np.zeros((200, 64))
        random = np.random.default_rng(5)
        for row in range(0, 200, 5):
            start, end = sorted(random.integers(8, 56, 2))
            lines[row : row + 2, start : end + 4] = 220
        return lines[4 * i : 4 * i + 64]

    facts = facts_of(film(picture))

    assert facts.camera == ("tilt down",)
    assert describe(facts).startswith("The picture scrolls up")


def test_unknown_motion_claims_no_camera() -> None:
    text = describe(in_region(None, None, share=0.5, camera=()))

    assert text == "Fast movement all over the picture. Mostly green with some blue."
    assert "camera" not in text


def test_words_for_shares_and_colours() -> None:
    assert [share_words(share) for share in (0.02, 0.1, 0.25, 0.5, 1.0)] == [
        "a small part",
        "about a tenth",
        "about a quarter",
        "about half",
        "most",
    ]
    assert colour_words((("white", 0.9), ("blue", 0.1))) == "almost all white"
    assert colour_words((("white", 0.6), ("blue", 0.2), ("red", 0.05))) == "mostly white with some blue"
    assert colour_words((("grey", 0.4), ("blue", 0.3), ("red", 0.2))) == "grey, blue and red"
    assert colour_words((("grey", 0.4), ("blue", 0.3), ("red", 0.1))) == "grey and blue"
    assert colour_words((("grey", 0.4), ("blue", 0.1), ("red", 0.1))) == "grey with blue and red"
    assert colour_words((("grey", 0.2), ("blue", 0.05))) == "grey and other colours"
    assert colour_words(()) == short_colour_words(()) == ""
    assert short_colour_words((("grey", 0.4), ("blue", 0.3), ("red", 0.2))) == "grey and blue"


@pytest.mark.parametrize(("luma", "word"), [(30, "dark"), (70, "dim"), (120, ""), (220, "bright")])
def test_light_words(luma: int, word: str) -> None:
    assert light_word(facts_of(film(lambda _: window(300, 400) / 128 * luma))) == word


def test_texts_are_short_even_when_everything_happens() -> None:
    facts = replace(
        in_region(3, 4, 5, share=0.2, camera=("pan left", "zoom in")),
        kinds=("motion", "motion", "cut"),
        cut_colours=((("green", 0.4), ("blue", 0.3)), (("red", 0.4), ("brown", 0.3))),
        light_change=Light.DARKER.value,
        camera_speed=0.02,
    )
    text = describe(facts)

    assert text.startswith(
        "A cut to another picture around 0:01, from green and blue to red and brown. The camera pans left"
    )
    assert len(text.split()) <= 40
