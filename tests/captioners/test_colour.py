"""Colour names, against colours a person would name without thinking."""

from __future__ import annotations

import numpy as np
import pytest

from fdvs.captioners.colour import PALETTE, colour_shares, name_cells, palette_index, yuv_to_oklab
from tests.captioners.scenes import from_rgb

NAMED = {  # sRGB → name
    (0, 0, 0): "black",
    (20, 20, 25): "black",
    (128, 128, 128): "grey",
    (70, 72, 70): "grey",
    (255, 255, 255): "white",
    (235, 235, 232): "white",
    (255, 0, 0): "red",
    (160, 20, 25): "red",
    (255, 140, 0): "orange",
    (255, 255, 0): "yellow",
    (240, 210, 50): "yellow",
    (0, 128, 0): "green",
    (90, 120, 50): "green",
    (110, 115, 50): "green",
    (0, 255, 0): "green",
    (0, 150, 150): "teal",
    (100, 220, 230): "teal",
    (0, 0, 255): "blue",
    (60, 110, 200): "blue",
    (20, 30, 90): "blue",
    (128, 0, 128): "purple",
    (110, 70, 160): "purple",
    (255, 150, 190): "pink",
    (255, 192, 203): "pink",
    (120, 70, 30): "brown",
    (92, 64, 45): "brown",
    (225, 195, 165): "beige",
    (230, 215, 185): "beige",
}


@pytest.mark.parametrize(("rgb", "name"), NAMED.items(), ids=lambda value: str(value).replace(" ", ""))
def test_colours_have_the_names_people_give_them(rgb: tuple[int, int, int], name: str) -> None:
    cell = np.array(from_rgb(*rgb)).clip(0, 255).astype(np.uint8).reshape(1, 1, 3)

    assert PALETTE[int(name_cells(cell)[0, 0])] == name


def test_every_name_is_in_use() -> None:
    assert set(NAMED.values()) == set(PALETTE)


def test_oklab_of_known_colours() -> None:
    lab = yuv_to_oklab(np.array([from_rgb(255, 255, 255), from_rgb(255, 0, 0), from_rgb(0, 0, 255)], float))

    assert lab[0] == pytest.approx([1, 0, 0], abs=0.01)
    assert lab[1] == pytest.approx([0.628, 0.225, 0.126], abs=0.01)  # as published
    assert lab[2] == pytest.approx([0.452, -0.032, -0.312], abs=0.01)


def test_the_table_agrees_with_the_rule_it_was_made_from() -> None:
    random = np.random.default_rng(3)
    yuv = random.integers(0, 256, (4000, 3)).astype(np.uint8)

    agree = name_cells(yuv) == palette_index(yuv_to_oklab(yuv.astype(float)))

    assert agree.mean() > 0.93  # the rest lies within one quantisation step of a border


def test_noise_on_grey_stays_grey() -> None:
    random = np.random.default_rng(4)
    noisy = np.clip(np.rint(np.array([128, 128, 128]) + random.normal(0, 1.5, (1, 64, 64, 3))), 0, 255).astype(np.uint8)

    assert colour_shares(noisy)[0, PALETTE.index("grey")] > 0.97


def test_shares_count_cells_of_each_picture() -> None:
    pictures = np.empty((2, 8, 8, 3), np.uint8)
    pictures[0] = from_rgb(255, 255, 255)
    pictures[1, :2] = from_rgb(60, 110, 200)
    pictures[1, 2:] = from_rgb(0, 128, 0)
    shares = colour_shares(pictures)

    assert shares[0, PALETTE.index("white")] == 1
    assert shares[1, PALETTE.index("blue")] == 0.25
    assert shares[1, PALETTE.index("green")] == 0.75
    assert shares.sum(axis=1).tolist() == [1, 1]


def test_no_pictures_have_no_shares() -> None:
    assert colour_shares(np.empty((0, 8, 8, 3), np.uint8)).shape == (0, len(PALETTE))
