"""Places of lines on the screen: boxes are (left, top, right, bottom) in thousandths of the displayed picture."""

from __future__ import annotations

Box = tuple[int, int, int, int]

# Widths are thousandths of the width and heights of the height; to compare them, a picture of 16:9 is assumed.
ASPECT = 16 / 9
# Two lines stand in one row when their heights overlap by at least this share of the lower one.
ROW_OVERLAP = 0.5
# The bands at the top and at the bottom in which running titles, logos and tickers are set.
TOP_BAND, BOTTOM_BAND = 220, 700


def height(box: Box) -> int:
    return max(1, box[3] - box[1])


def middle(box: Box) -> float:
    """Vertical middle."""
    return (box[1] + box[3]) / 2


def _shared(a: tuple[int, int], b: tuple[int, int]) -> float:
    """Share of the shorter of two intervals that lies in the other, 0..1."""
    shorter = max(1, min(a[1] - a[0], b[1] - b[0]))
    return max(0, min(a[1], b[1]) - max(a[0], b[0])) / shorter


def x_shared(a: Box, b: Box) -> float:
    return round(_shared((a[0], a[2]), (b[0], b[2])), 3)


def y_shared(a: Box, b: Box) -> float:
    return round(_shared((a[1], a[3]), (b[1], b[3])), 3)


def same_row(a: Box, b: Box) -> bool:
    return y_shared(a, b) >= ROW_OVERLAP


def x_gap(a: Box, b: Box) -> float:
    """Free width between two boxes in thousandths of the height; 0 where they overlap."""
    return max(0, b[0] - a[2], a[0] - b[2]) * ASPECT


def alike(a: Box, b: Box) -> float:
    """Area of the intersection over that of the union, 0..1."""
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    tall = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * tall
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return round(both / union, 3) if union > 0 else 0.0


def in_band(box: Box) -> bool:
    """Whether the line lies in the band at the top or at the bottom of the picture."""
    return box[3] <= TOP_BAND or box[1] >= BOTTOM_BAND


def cut_off(box: Box) -> bool:
    """Whether the line touches the edge of the picture, so that part of it may lie outside."""
    return box[0] <= 2 or box[1] <= 2 or box[2] >= 998 or box[3] >= 998
