"""Reading order: rows from top to bottom, columns one after the other where there are columns."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Protocol, TypeVar

from fdvs.screen_text.boxes import ASPECT, Box, height, middle, same_row

# Free height between two blocks and free width between two columns, in median line heights.
BLOCK_GAP, COLUMN_GAP = 0.4, 0.9


class Placed(Protocol):
    @property
    def box(self) -> Box: ...


T = TypeVar("T", bound=Placed)


def reading_order(lines: Sequence[T]) -> list[T]:
    """The lines in the order in which a person reads them.

    The page is cut into blocks at free stripes across it, each block into columns at free stripes down it. Columns
    that pair off row by row (names and roles, a table) are read by rows, unless most of the page's lines in columns
    stand in columns that do not pair off: then all are read column by column.
    """
    if not lines:
        return []
    unit = median(height(line.box) for line in lines)
    blocks = [_columns(block, unit * COLUMN_GAP / ASPECT) for block in _blocks(lines, unit * BLOCK_GAP)]
    many = [columns for columns in blocks if len(columns) > 1]
    in_tables = sum(sum(map(len, columns)) for columns in many if _pairs_off(columns))
    by_rows = 2 * in_tables >= sum(sum(map(len, columns)) for columns in many)
    ordered: list[T] = []
    for columns in blocks:
        if by_rows and _pairs_off(columns):
            ordered += [line for row in zip(*columns, strict=True) for line in row]
        else:
            ordered += [line for column in columns for line in column]
    return ordered


def _pairs_off(columns: Sequence[Sequence[Placed]]) -> bool:
    first, *others = columns
    return all(
        len(column) == len(first) and all(same_row(a.box, b.box) for a, b in zip(first, column, strict=True))
        for column in others
    )


def _blocks(lines: Sequence[T], gap: float) -> list[list[T]]:
    blocks: list[list[T]] = []
    end = 0
    for line in sorted(lines, key=lambda line: (line.box[1], line.box[0])):
        if not blocks or line.box[1] - end > gap:
            blocks.append([])
        blocks[-1].append(line)
        end = max(end, line.box[3])
    return blocks


def _columns(lines: Sequence[T], gap: float) -> list[list[T]]:
    """Columns from left to right, each from top to bottom and, within a row, from left to right."""
    columns: list[list[T]] = []
    end = 0
    for line in sorted(lines, key=lambda line: (line.box[0], line.box[1])):
        if not columns or line.box[0] - end > gap:
            columns.append([])
        columns[-1].append(line)
        end = max(end, line.box[2])
    beside = [column for column in columns if any(_overlap(column, other) for other in columns if other is not column)]
    if len(beside) < len(columns):
        return [_rows(lines)]
    return [_rows(column) for column in columns]


def _overlap(a: Sequence[Placed], b: Sequence[Placed]) -> bool:
    """Whether two columns stand side by side, at least in part."""
    return any(same_row(one.box, other.box) for one in a for other in b)


def _rows(lines: Sequence[T]) -> list[T]:
    """Lines by rows: those whose heights overlap stand in one row."""
    rows: list[list[T]] = []
    for line in sorted(lines, key=lambda line: (middle(line.box), line.box[0])):
        if rows and same_row(rows[-1][0].box, line.box):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: (line.box[0], line.box[1]))]
