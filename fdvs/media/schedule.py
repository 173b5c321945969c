"""Which packets a decoder is given so that the wanted pictures come out bit-equal to a full decode, and no more.

Three exact savings, all decided from the index before decoding:

- tail skip: packets between the last one needed and the next key packet that resets the decoder are left out, and so
  are pictures sent after that key packet but shown before it;
- non-reference skip: pictures that no other picture refers to are dropped by the decoder unless they are wanted;
- key pictures only: when nothing but key pictures is wanted, each is decoded on its own.

`plain_feed` is the obvious version: everything from the start on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.media.index import PacketIndex

LEAVE_OUT, DECODE, SKIM, HIDDEN = 0, 1, 2, 3
# What FFmpeg's skip_frame is set to for each; a hidden packet shows nothing but may be referred to.
SKIP_FRAME = {DECODE: "DEFAULT", SKIM: "NONREF", HIDDEN: "DEFAULT"}


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """What to do with each packet in demux order, beginning at row `first_row` of the index.

    `times[i]` is the display time that packet i must have (anything for a hidden one): were the demuxer to deliver
    something else than what was indexed, leaving packets out by position would go wrong unseen. `strict` asks the
    decoder to refuse damage, so that a clip that damage can have reached is read again in a way that does not depend on
    what was left out.
    """

    first_row: int
    first_ordinal: int
    actions: bytes
    times: NDArray[np.int64]
    keys_only: bool = False
    strict: bool = False


class Starts:
    """The rows at which decoding can start."""

    def __init__(self, index: PacketIndex) -> None:
        # Where times cannot be trusted, only the beginning of the file is a start.
        self.rows = np.flatnonzero(index.is_start) if index.exact else np.zeros(0, np.intp)
        self._pts = index.pts[self.rows]

    def before(self, pts: int) -> int:
        """Row of the last start displayed at or before `pts`; 0, the beginning of the file, where there is none."""
        at = int(np.searchsorted(self._pts, pts, side="right")) - 1
        return int(self.rows[at]) if at >= 0 else 0


def plain_feed(index: PacketIndex, first_row: int) -> Feed:
    """Every packet from `first_row` on."""
    return _with_hidden(index, np.full(len(index.pts), DECODE, np.uint8), first_row)


def reduced_feed(index: PacketIndex, wanted: NDArray[np.int64]) -> Feed:
    """The cheapest exact feed for the display times `wanted` (sorted, at least one, all in the index)."""
    if not index.exact:
        return plain_feed(index, 0)
    first_row = Starts(index).before(int(wanted[0]))
    order = np.argsort(index.pts)
    rows = order[np.searchsorted(index.pts, wanted, sorter=order)]
    # One sample that is no key picture (a file cut in front of its first one) is cheaper to mend than to decode for.
    if int((~index.is_key[rows]).sum()) <= min(1, len(rows) - 1):
        return _key_feed(index, rows, first_row)
    if not index.reducible:
        return _with_hidden(index, np.full(len(index.pts), DECODE, np.uint8), first_row, strict=True)
    actions = np.full(len(index.pts), SKIM if index.skips_nonref else DECODE, np.uint8)
    actions[rows] = DECODE
    actions[_not_needed(index, rows)] = LEAVE_OUT
    return _with_hidden(index, actions, first_row, strict=True)


def _key_feed(index: PacketIndex, rows: NDArray[np.intp], first_row: int) -> Feed:
    """Only wanted key packets that are whole on their own; what is missing then is fetched by plain decoding."""
    actions = np.zeros(len(index.pts), np.uint8)
    actions[rows[index.is_alone[rows]]] = DECODE
    # An open group's key picture, given alone, sounds damaged: it tells the decoder to forget pictures it never saw.
    strict = bool(index.is_start[rows[index.is_alone[rows]]].all())
    return _with_hidden(index, actions, first_row, keys_only=True, strict=strict)


def _not_needed(index: PacketIndex, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """`[N]` True for packets that no wanted row refers to; a group begins at a packet that resets the decoder."""
    count = len(index.pts)
    borders = np.flatnonzero(index.is_start)
    borders = np.append(0, borders[borders > 0])
    group_of = np.searchsorted(borders, np.arange(count), side="right") - 1
    last = np.full(len(borders), -1)
    np.maximum.at(last, group_of[rows], rows)
    # Open groups: a picture shown before its group's key picture refers to the group before, to any part of it, and
    # nothing but its like refers to it.
    leading = (index.pts < index.pts[borders[group_of]]) & (group_of > 0)
    open_groups = np.unique(group_of[rows[leading[rows]]])
    last[open_groups - 1] = borders[open_groups] - 1
    leading[np.isin(group_of, open_groups)] = False
    return np.asarray(leading | (np.arange(count) > last[group_of]))


def _with_hidden(
    index: PacketIndex,
    actions: NDArray[np.uint8],
    first_row: int,
    *,
    keys_only: bool = False,
    strict: bool = False,
) -> Feed:
    """Put the packets that show nothing back in between, and begin at `first_row`."""
    total = len(actions) + len(index.hidden) + len(index.useless)
    ordinals = index.ordinals()
    merged = np.full(total, LEAVE_OUT, np.uint8)
    times = np.zeros(total, np.int64)
    merged[ordinals] = actions
    times[ordinals] = index.pts
    if not keys_only:
        merged[index.hidden] = HIDDEN
    first = int(ordinals[first_row]) if first_row else 0
    return Feed(first_row, first, merged[first:].tobytes(), times[first:], keys_only, strict)
