"""Which packets a decoder is given so that the wanted pictures come out bit-equal to a full decode, and no more.

Three exact savings, all decided from the index before decoding:

- tail skip: packets between the last one needed and the next key packet that resets the decoder are left out;
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
    something else than what was indexed, leaving packets out by position would go wrong unseen.
    """

    first_row: int
    actions: bytes
    times: NDArray[np.int64]
    keys_only: bool = False
    reduced: bool = False


def start_row(index: PacketIndex, pts: int) -> int:
    """Row of the last clean start displayed at or before `pts`; 0, the beginning of the file, where there is none."""
    if not index.exact:
        return 0
    rows = np.flatnonzero(index.is_start & (index.pts <= pts))
    return int(rows[-1]) if len(rows) else 0


def plain_feed(index: PacketIndex, first_row: int) -> Feed:
    """Every packet from `first_row` on."""
    return _with_hidden(index, np.full(len(index.pts), DECODE, np.uint8), first_row)


def reduced_feed(index: PacketIndex, wanted: NDArray[np.int64]) -> Feed:
    """The cheapest exact feed for the display times `wanted` (sorted, at least one, all in the index)."""
    if not index.exact:
        return plain_feed(index, 0)
    first_row = start_row(index, int(wanted[0]))
    order = np.argsort(index.pts)
    rows = order[np.searchsorted(index.pts, wanted, sorter=order)]
    # One sample that is no key picture (a file cut in front of its first one) is cheaper to mend than to decode for.
    if int((~index.is_key[rows]).sum()) <= min(1, len(rows) - 1):
        return _key_feed(index, rows, first_row)
    if not index.reducible:
        return plain_feed(index, first_row)
    actions = np.full(len(index.pts), SKIM if index.skips_nonref else DECODE, np.uint8)
    actions[rows] = DECODE
    actions[_not_needed(index, rows)] = LEAVE_OUT
    return _with_hidden(index, actions, first_row, reduced=True)


def _key_feed(index: PacketIndex, rows: NDArray[np.intp], first_row: int) -> Feed:
    """Only wanted key packets at which decoding can start; what is missing then is fetched by plain decoding."""
    actions = np.zeros(len(index.pts), np.uint8)
    actions[rows[index.is_start[rows]]] = DECODE
    return _with_hidden(index, actions, first_row, reduced=True, keys_only=True)


def _not_needed(index: PacketIndex, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """`[N]` True for packets after the last wanted one of their group; a group begins at a packet that resets."""
    count = len(index.pts)
    borders = np.flatnonzero(index.is_reset)
    borders = borders[borders > 0]
    group_of = np.searchsorted(borders, np.arange(count), side="right")
    last = np.full(len(borders) + 1, -1)
    np.maximum.at(last, group_of[rows], rows)
    # Open groups: a wanted picture shown before its group's key picture refers to the group before, to any part of it.
    for row in rows[index.pts[rows] < index.pts[np.append(0, borders)[group_of[rows]]]]:
        group = group_of[row]
        if group > 0:
            last[group - 1] = borders[group - 1] - 1
    return np.asarray(np.arange(count) > last[group_of])


def _with_hidden(
    index: PacketIndex,
    actions: NDArray[np.uint8],
    first_row: int,
    *,
    reduced: bool = False,
    keys_only: bool = False,
) -> Feed:
    """Put the packets that show nothing back in between, and begin at `first_row`."""
    total = len(actions) + len(index.hidden)
    shows = np.ones(total, np.bool_)
    shows[index.hidden] = False
    ordinals = np.flatnonzero(shows)
    merged = np.full(total, LEAVE_OUT if keys_only else HIDDEN, np.uint8)
    times = np.zeros(total, np.int64)
    merged[ordinals] = actions
    times[ordinals] = index.pts
    first = int(ordinals[first_row]) if first_row else 0
    return Feed(first_row, merged[first:].tobytes(), times[first:], keys_only, reduced)
