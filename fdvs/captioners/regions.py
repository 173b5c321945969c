"""Where in a picture something is and how large it is there: nine regions and three sizes (papers: FDVS section 4)."""

from __future__ import annotations

from dataclasses import dataclass

FIRST, SECOND = 0.33, 0.66  # borders of thirds; what lies on a border belongs to the further third
_REGIONS = (
    ("top-left", "top", "top-right"),
    ("left", "center", "right"),
    ("bottom-left", "bottom", "bottom-right"),
)
_SIZES = ("small", "medium", "large")


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """A rectangle by its centre and size, as shares 0..1 of the picture's width and height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return self.width * self.height


def region(box: Box) -> str:
    """The ninth of the picture in which the centre lies."""
    return _REGIONS[_third(box.y)][_third(box.x)]


def size(box: Box) -> str:
    """By the share of the picture that the box covers."""
    return _SIZES[_third(box.area)]


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, 0..1."""
    across = _shared(one.x, one.width, other.x, other.width)
    down = _shared(one.y, one.height, other.y, other.height)
    union = one.area + other.area - across * down
    return across * down / union if union > 0 else 0.0


def _third(value: float) -> int:
    return 0 if value < FIRST else 1 if value < SECOND else 2


def _shared(one: float, one_length: float, other: float, other_length: float) -> float:
    """Length that two intervals, given by centre and length, have in common."""
    end = min(one + one_length / 2, other + other_length / 2)
    start = max(one - one_length / 2, other - other_length / 2)
    return max(0.0, end - start)
