"""The line of a page that stands out as its heading."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from fdvs.screen_text.boxes import height, middle, same_row, x_shared
from fdvs.screen_text.texts import num_letters
from fdvs.screen_text.votes import Line

# A heading is this many times as high as the page's median line; or the first of lines as high as itself, with this
# much free space under it (in its own heights), and this many times as much as is usual between the others.
TALLER, FREE_BELOW, MORE_FREE = 1.25, 0.45, 1.3
# A heading starts in this upper part of the picture and has at least this many letters.
TITLE_TOP, TITLE_LETTERS = 450, 3
# Lines of one heading: nearly as high, hardly any space between them, at most so many.
AS_HIGH, LINE_GAP, MOST_LINES = 0.8, 0.4, 3


def title_of(lines: Sequence[Line]) -> str:
    """The heading of a page, or "" where no line stands out.

    A heading that runs over several lines is joined by spaces. A page of nothing but one heading is its own title.
    """
    upper = [line for line in lines if line.box[1] <= TITLE_TOP and num_letters(line.text) >= TITLE_LETTERS]
    if len(lines) == 1:
        return lines[0].text if num_letters(lines[0].text) >= TITLE_LETTERS else ""
    if not upper:
        return ""
    usual = median(height(line.box) for line in lines)
    tallest = max(upper, key=lambda line: (height(line.box), -line.box[1]))
    if height(tallest.box) >= TALLER * usual:
        return _joined(_around(tallest, lines))
    first = min(lines, key=lambda line: (middle(line.box), line.box[0]))
    heading = _around(first, lines) if first in upper and height(first.box) >= AS_HIGH * usual else []
    rest = [line for line in lines if line not in heading]
    if not heading or not rest:
        return _joined(heading)
    if any(same_row(line.box, other.box) for line in heading for other in rest):
        return ""
    free = _free_below(heading, rest)
    others = [_free_below([line], rest) for line in rest if any(other.box[1] >= line.box[3] for other in rest)]
    apart = free >= FREE_BELOW * height(first.box) and (not others or free >= MORE_FREE * median(others))
    return _joined(heading) if apart else ""


def _free_below(block: Sequence[Line], others: Sequence[Line]) -> int:
    """Free height between a block and the next line under it; 0 where the next one begins beside it."""
    end = max(line.box[3] for line in block)
    return max(0, min((line.box[1] for line in others if middle(line.box) > end), default=end) - end)


def _around(core: Line, lines: Sequence[Line]) -> list[Line]:
    """The core and the lines directly above and below it that are as high; nothing where they are too many."""
    block = [core]
    for line in sorted(lines, key=lambda line: abs(middle(line.box) - middle(core.box))):
        if line not in block and any(_adjoins(line, other) for other in block):
            block.append(line)
    return sorted(block, key=lambda line: middle(line.box)) if len(block) <= MOST_LINES else []


def _adjoins(a: Line, b: Line) -> bool:
    low, high = sorted((height(a.box), height(b.box)))
    gap = max(a.box[1], b.box[1]) - min(a.box[3], b.box[3])
    return low >= AS_HIGH * high and -0.5 * low <= gap <= LINE_GAP * high and x_shared(a.box, b.box) > 0


def _joined(lines: Sequence[Line]) -> str:
    return " ".join(line.text for line in lines)
