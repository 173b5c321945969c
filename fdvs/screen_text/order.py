"""Reading order: rows from top to bottom, columns one after the other where there are columns."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Protocol, TypeVar

from fdvs.screen_text.boxes import ASPECT, Box, height, middle, same_row

# Free height between two blocks and free width between two columns, in median line heights.
BLOCK_GAP, COLUMN_GAP = 0.4, 0.9
# Lines of a stack: so close under each other and so little shifted, in heights of the lower line.
STACK_GAP, STACK_SIDEWAYS = 0.5, 0.3


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
        return [_by_stacks(lines)]
    return [_by_stacks(column) for column in columns]


def _by_stacks(lines: Sequence[T]) -> list[T]:
    """By rows; but where lines under each other that begin (or are centred) at one place stand next to others, as
    captions under pictures do, one such stack after the other."""
    stacks: list[list[T]] = []
    for line in sorted(lines, key=lambda line: (line.box[1], line.box[0])):
        stack = next((stack for stack in stacks if _under(stack[-1].box, line.box)), None)
        if stack is None:
            stacks.append([line])
        else:
            stack.append(line)
    tall = [stack for stack in stacks if len(stack) > 1]
    if len(tall) < 2:
        return in_rows(lines)
    return [line for stack in stacks for line in stack]


def _under(above: Box, line: Box) -> bool:
    unit = min(height(above), height(line))
    begins = abs(above[0] - line[0]) * ASPECT <= STACK_SIDEWAYS * unit
    centred = abs(above[0] + above[2] - line[0] - line[2]) / 2 * ASPECT <= STACK_SIDEWAYS * unit
    return (begins or centred) and -STACK_GAP * unit <= line[1] - above[3] <= STACK_GAP * unit


def _overlap(a: Sequence[Placed], b: Sequence[Placed]) -> bool:
    """Whether two columns stand side by side, at least in part."""
    return any(same_row(one.box, other.box) for one in a for other in b)


def in_rows(lines: Sequence[T]) -> list[T]:
    """Lines by rows: those whose heights overlap stand in one row."""
    rows: list[list[T]] = []
    for line in sorted(lines, key=lambda line: (middle(line.box), line.box[0])):
        if rows and same_row(rows[-1][0].box, line.box):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: (line.box[0], line.box[1]))]
