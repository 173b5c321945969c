"""Text that runs sideways along one row: its windows, read one after the other, are joined to one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import ceil

from fdvs.records import Span
from fdvs.screen_text.boxes import Box, height, in_band, middle
from fdvs.screen_text.looks import Look
from fdvs.screen_text.readings import ReadLine
from fdvs.screen_text.texts import essence, similarity
from fdvs.screen_text.votes import Line, Sighting

# Windows of one ticker stand at one height and share so many letters, and this part of the shorter one, read this much
# alike. Less is no proof: a subtitle often begins with the word that the one before it ended with.
SAME_HEIGHT, AS_HIGH, LEAST_SHARED, SHARED_PART, SHARED_ALIKE = 15, 0.7, 10, 0.3, 0.8
# Or both reach from edge to edge of the picture, where nothing is shared because too much time has passed.
EDGE_TO_EDGE = 900
# It takes so many windows; and a ticker is forgotten after so many looks without it.
LEAST_WINDOWS, REMEMBERED_LOOKS = 3, 3


def without_tickers(looks: Sequence[Look]) -> tuple[list[list[Line]], list[Look]]:
    """The tickers of a video, each as its lines in the order they ran through, and the looks without them."""
    chains: list[list[Sighting]] = []
    for index, look in enumerate(looks):
        live = [chain for chain in chains if index - REMEMBERED_LOOKS <= chain[-1].look_index < index]
        for line in look.lines:
            if not in_band(line.box):
                continue
            chain = next((c for c in live if c[-1].look_index < index and _runs_on(c[-1].line, line)), None)
            if chain is None:
                chains.append([Sighting(index, look, line)])
            else:
                chain.append(Sighting(index, look, line))
    tickers = [chain for chain in chains if _num_windows(chain) >= LEAST_WINDOWS]
    taken: dict[int, set[ReadLine]] = {}
    for chain in tickers:
        for sighting in chain:
            taken.setdefault(sighting.look_index, set()).add(sighting.line)
    rest = [
        replace(look, lines=tuple(line for line in look.lines if line not in taken[index])) if index in taken else look
        for index, look in enumerate(looks)
    ]
    return [_joined(chain) for chain in tickers], rest


def _num_windows(chain: Sequence[Sighting]) -> int:
    return 1 + sum(not _stands(a.line, b.line) for a, b in pairwise(chain))


def _stands(a: ReadLine, b: ReadLine) -> bool:
    return similarity(a.text, b.text) >= SHARED_ALIKE


def _runs_on(a: ReadLine, b: ReadLine) -> bool:
    """Whether b is a later window of the text of which a is one (or the same window still)."""
    low, high = sorted((height(a.box), height(b.box)))
    if abs(middle(a.box) - middle(b.box)) > SAME_HEIGHT or low < AS_HIGH * high:
        return False
    if _stands(a, b):
        return abs(a.box[0] - b.box[0]) <= 2 * height(a.box)
    wide = min(a.box[2] - a.box[0], b.box[2] - b.box[0]) >= EDGE_TO_EDGE
    return wide or 0 < num_shared(a.text, b.text) < len(essence(a.text))


def num_shared(a: str, b: str) -> int:
    """Length of the longest end of a's letters that is b's beginning, misread letters forgiven; 0 for: too short."""
    left, right = essence(a), essence(b)
    shorter = min(len(left), len(right))
    for num in range(shorter, max(LEAST_SHARED, ceil(SHARED_PART * shorter)) - 1, -1):
        if left[-2:] == right[num - 2 : num] and similarity(left[-num:], right[:num]) >= SHARED_ALIKE:
            return num
    return 0


def _joined(chain: Sequence[Sighting]) -> list[Line]:
    """The chain's text, windows that share letters joined; a window that shares none begins a line of its own."""
    pieces: list[tuple[str, list[Sighting]]] = []
    previous = ""
    for sighting in chain:
        text = sighting.line.text
        if pieces and (_told(text, pieces) or similarity(previous, text) >= SHARED_ALIKE):
            pieces[-1][1].append(sighting)
        elif pieces and (shared := num_shared(pieces[-1][0], text)):
            pieces[-1] = (pieces[-1][0] + _after(text, shared), [*pieces[-1][1], sighting])
        else:
            pieces.append((text, [sighting]))
        previous = text
    return [_line(text, sightings) for text, sightings in pieces]


def _told(text: str, pieces: Sequence[tuple[str, list[Sighting]]]) -> bool:
    return any(essence(text) in essence(piece) for piece, _ in pieces)


def _after(text: str, num: int) -> str:
    """What follows the first `num` letters and digits."""
    seen = 0
    for index, char in enumerate(text):
        seen += len(essence(char))
        if seen >= num:
            return text[index + 1 :]
    return ""


def _line(text: str, sightings: Sequence[Sighting]) -> Line:
    boxes: list[Box] = [s.line.box for s in sightings]
    return Line(
        text=text,
        span=Span(sightings[0].look.span.start_ms, max(s.look.span.end_ms for s in sightings)),
        box=(min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)),
        share=1.0,
        score=round(sum(s.line.score for s in sightings) / len(sightings), 3),
        num_votes=len(sightings),
        standing_s=round(sum(s.look.duration_s for s in sightings), 3),
        first_index=sightings[0].look_index,
        last_index=sightings[-1].look_index,
    )
