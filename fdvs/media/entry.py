"""Which key packets a decoder can start at, and which streams may skip pictures: read from the coded bytes alone.

A packet flagged as key is not always a clean start. H.264 also flags recovery points, from which pictures become right
only gradually (intra refresh) or only together with pictures sent before them (open GOP). Skipping packets in front of
such a "key" changes pixels without any error, so the index keeps apart what is flagged and what is clean.
"""

from __future__ import annotations

from collections.abc import Iterator

_H264_IDR = 5
_H264_SLICE = 1
_H264_SEI = 6
_SEI_RECOVERY_POINT = 6
_HEVC_SPS = 33
# Parameter sets and SEI come first in a packet; a slice follows within this many bytes in every sane stream.
HEAD_BYTES = 4096


def nal_units(data: bytes, length_size: int) -> Iterator[bytes]:
    """The NAL units in `data`: length-prefixed when `length_size` is 1..4, Annex B start codes when it is 0.

    The last unit may be cut short, because callers pass only the head of a packet.
    """
    if length_size:
        position = 0
        while position + length_size < len(data):
            size = int.from_bytes(data[position : position + length_size], "big")
            position += length_size
            yield data[position : position + size]
            position += size
        return
    start = data.find(b"\0\0\1")
    while start >= 0:
        following = data.find(b"\0\0\1", start + 3)
        yield data[start + 3 : following if following >= 0 else len(data)]
        start = following


def length_size(codec: str, extradata: bytes | None) -> int:
    """Bytes of the NAL length prefix that `avcC`/`hvcC` extradata announces; 0 for Annex B."""
    if not extradata or extradata[0] != 1:
        return 0
    if codec == "h264" and len(extradata) > 4:
        return (extradata[4] & 3) + 1
    if codec == "hevc" and len(extradata) > 21:
        return (extradata[21] & 3) + 1
    return 0


def h264_entry(head: bytes, prefix: int) -> tuple[bool, bool]:
    """(is a clean start, is a whole picture on its own) of an H.264 packet flagged as key.

    An IDR picture is both: it empties the list of pictures that later ones refer to. A recovery point with
    `recovery_frame_cnt` 0 is whole on its own, but the list still holds older pictures, and later pictures count
    positions in it: without the older ones they come out slightly wrong, and no error tells.
    """
    alone = False
    for unit in nal_units(head, prefix):
        if not unit:
            continue
        kind = unit[0] & 31
        if kind == _H264_IDR:
            return True, True
        if kind == _H264_SEI:
            alone = alone or _recovers_at_once(unit[1:])
        elif kind == _H264_SLICE:
            break
    return False, alone


def _recovers_at_once(sei: bytes) -> bool:
    """True when an SEI unit holds a recovery point whose frame count is 0 (Exp-Golomb: the first bit is 1)."""
    position = 0
    while position + 2 < len(sei):
        kind = size = 0
        while position < len(sei) and sei[position] == 255:
            kind += 255
            position += 1
        if position >= len(sei):
            return False
        kind += sei[position]
        position += 1
        while position < len(sei) and sei[position] == 255:
            size += 255
            position += 1
        if position >= len(sei):
            return False
        size += sei[position]
        position += 1
        if kind == _SEI_RECOVERY_POINT:
            return position < len(sei) and bool(sei[position] & 0x80)
        position += size
    return False


def hevc_sub_layers(extradata: bytes | None) -> int:
    """Number of temporal sub-layers an HEVC stream announces; 0 when unknown.

    A "non-reference" picture of a lower sub-layer may still be referred to by a higher one, so only streams with a
    single sub-layer can skip such pictures safely.
    """
    if not extradata:
        return 0
    if extradata[0] == 1 and len(extradata) > 21:
        return (extradata[21] >> 3) & 7
    for unit in nal_units(extradata, 0):
        if len(unit) > 2 and (unit[0] >> 1) & 63 == _HEVC_SPS:
            return ((unit[2] >> 1) & 7) + 1
    return 0
