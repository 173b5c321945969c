"""Looking through a film for the borders of its shots: every picture is decoded once more, at the price of a decode.

A film is looked through in portions that begin at key pictures. Each is decoded from a key picture of its own, so that
what is found in it depends on the file alone, and a build that is stopped loses one portion at most.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from av.video.reformatter import VideoReformatter

from fdvs.media.black import is_black
from fdvs.media.index import PacketIndex
from fdvs.media.replaced import may_be_black, thumb
from fdvs.media.schedule import Starts, plain_feed
from fdvs.media.session import Session
from fdvs.media.signs import Signs
from fdvs.media.spotting import REACH_PICTURES, Spotter

# Raise it when other cuts are found in the same pictures, so that stored signs are found anew.
SHOTS_VERSION = 1

PORTION_S = 300.0
# Read around a portion, more than any verdict looks back or ahead.
_MARGIN_S = 2.0
_MARGIN_PICTURES = REACH_PICTURES + 2


def portions(index: PacketIndex, portion_s: float = PORTION_S) -> list[int]:
    """Display times at which the portions of a film begin, the first at its start; each at least `portion_s` long.

    Files whose times cannot be trusted are one portion: only at their beginning can decoding start.
    """
    begins = [index.start_pts]
    for row in Starts(index).rows:
        pts = int(index.pts[row])
        if pts - begins[-1] >= index.ticks(portion_s) and index.end_pts - pts >= index.ticks(portion_s):
            begins.append(pts)
    return begins


def look_for_signs(path: Path, index: PacketIndex, begin: int, end: int) -> Signs:
    """Decode [begin, end), with a margin, and return the signs in it.

    Pictures that cannot be decoded, or that come with a time that has passed already, are left out.

    Raises:
        OpenError: the file is gone or cannot be opened any more.
    """
    first, last = _margins(index, begin, end)
    row = Starts(index).before(first)
    spotter, scaler = Spotter(), VideoReformatter()
    seen: int | None = None
    with Session(path, index) as session:
        for picture in session.pictures(plain_feed(index, row)):
            pts = picture.pts
            if pts is None or (row and pts < int(index.pts[row])) or (seen is not None and pts <= seen):
                continue
            if pts > last:
                break
            seen = pts
            small = thumb(picture, scaler)
            black = may_be_black(small) and is_black(session.frame(picture, pts).small())
            spotter.see(pts, index.ms(pts), small, black=black)
    return _between(spotter.signs(), begin, end)


def _margins(index: PacketIndex, begin: int, end: int) -> tuple[int, int]:
    """First and last display time that a verdict on [begin, end) can depend on."""
    shown, margin = index.display_pts, index.ticks(_MARGIN_S)
    before = min(int(np.searchsorted(shown, begin)) - _MARGIN_PICTURES, int(np.searchsorted(shown, begin - margin)))
    after = max(int(np.searchsorted(shown, end)) + _MARGIN_PICTURES, int(np.searchsorted(shown, end + margin)))
    return int(shown[max(0, before)]), int(shown[after]) if after < len(shown) else index.end_pts


def _between(signs: Signs, begin: int, end: int) -> Signs:
    return Signs(
        tuple(pts for pts in signs.cuts if begin <= pts < end),
        tuple(pts for pts in signs.mixtures if begin <= pts < end),
        tuple((pts, black) for pts, black in signs.darkness if begin <= pts < end),
    )
