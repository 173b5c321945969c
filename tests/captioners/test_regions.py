"""Nine regions and three sizes, at their borders (papers: FDVS section 4)."""

from __future__ import annotations

import pytest

from fdvs.captioners.regions import Box, overlap, region, size


@pytest.mark.parametrize(
    ("x", "y", "wanted"),
    [
        (0.0, 0.0, "top-left"),
        (0.3299, 0.3299, "top-left"),
        (0.33, 0.32, "top"),
        (0.66, 0.32, "top-right"),
        (0.32, 0.33, "left"),
        (0.33, 0.33, "center"),
        (0.6599, 0.6599, "center"),
        (0.66, 0.65, "right"),
        (0.32, 0.66, "bottom-left"),
        (0.65, 0.66, "bottom"),
        (0.66, 0.66, "bottom-right"),
        (1.0, 1.0, "bottom-right"),
    ],
)
def test_region_is_that_of_the_centre_and_a_border_belongs_to_the_further_third(
    x: float, y: float, wanted: str
) -> None:
    assert region(Box(x, y, 0.9, 0.9)) == wanted


@pytest.mark.parametrize(
    ("width", "height", "wanted"),
    [(0.3299, 1, "small"), (0.33, 1, "medium"), (0.6599, 1, "medium"), (0.66, 1, "large"), (1, 1, "large")],
)
def test_size_is_the_share_of_the_picture(width: float, height: float, wanted: str) -> None:
    assert size(Box(0.5, 0.5, width, height)) == wanted


def test_long_but_thin_things_are_small() -> None:
    assert size(Box(0.5, 0.5, 1.0, 0.1)) == "small"


def test_overlap_is_intersection_over_union() -> None:
    one = Box(0.25, 0.5, 0.5, 1.0)
    assert overlap(one, one) == pytest.approx(1)
    assert overlap(one, Box(0.5, 0.5, 0.5, 1.0)) == pytest.approx(1 / 3)
    assert overlap(one, Box(0.75, 0.5, 0.5, 1.0)) == 0
    assert overlap(Box(0.5, 0.5, 0, 0), Box(0.5, 0.5, 0, 0)) == 0
