"""Lines followed from look to look: which line of this look is which line of those before."""

from __future__ import annotations

from collections.abc import Sequence

from fdvs.screen_text.boxes import alike, height, x_shared, y_shared
from fdvs.screen_text.looks import Look
from fdvs.screen_text.readings import ReadLine
from fdvs.screen_text.texts import begins, essence, is_counter, pattern, same_words, similarity
from fdvs.screen_text.votes import Line, Sighting, voted

# In the same box, doubtful readings are of one line when they are only this similar.
DOUBTFUL_SCORE, DOUBTFUL_TEXT, SAME_BOX = 0.95, 0.4, 0.5
# A text that is found again elsewhere has moved, when it is at least this long.
MOVED_LENGTH = 4
# In one place: at least this share of the smaller box lies in the larger, which is not much higher.
PLACE_SHARED, AS_HIGH = 0.5, 0.6


class Track:
    """One line over the looks that showed it. Grows while a page is followed; read through `line`."""

    __slots__ = ("sightings",)

    def __init__(self, first: Sighting) -> None:
        self.sightings = [first]

    @property
    def last(self) -> ReadLine:
        return self.sightings[-1].line

    @property
    def last_index(self) -> int:
        return self.sightings[-1].look_index

    def likeness(self, line: ReadLine) -> float:
        """How surely a line of a later look is this one: by how it was read last, or else by how it began."""
        return likeness(self.last, line) or likeness(self.sightings[0].line, line)

    def line(self, looks: Sequence[Look]) -> Line:
        return voted(self.sightings, looks)


def same_place(a: ReadLine, b: ReadLine) -> bool:
    low, high = sorted((height(a.box), height(b.box)))
    return low >= AS_HIGH * high and min(y_shared(a.box, b.box), x_shared(a.box, b.box)) >= PLACE_SHARED


def likeness(a: ReadLine, b: ReadLine) -> float:
    """How surely two lines of different looks are one, 0 for: they are not. `a` is the earlier."""
    if same_place(a, b):
        text = similarity(a.text, b.text)
        box = alike(a.box, b.box)
        if is_counter(a.text) and pattern(a.text) == pattern(b.text):
            return 2.0 + box
        if same_words(a.text, b.text):
            return 2.0 + text + box
        doubtful = min(a.score, b.score) < DOUBTFUL_SCORE and text >= DOUBTFUL_TEXT and box >= SAME_BOX
        if doubtful or _grown(a, b):
            return 1.0 + text + box
        return 0.0
    kept = essence(a.text)
    return 0.5 if len(kept) >= MOVED_LENGTH and kept == essence(b.text) else 0.0


def _grown(a: ReadLine, b: ReadLine) -> bool:
    """Whether one continues the other from the same left edge, as a line does that is being typed."""
    near = abs(a.box[0] - b.box[0]) <= height(a.box)
    return near and (begins(a.text, b.text) or begins(b.text, a.text))


def matched(tracks: Sequence[Track], lines: Sequence[ReadLine]) -> dict[int, int]:
    """Which line goes on which track, `{line index: track index}`, each at most once; the surest pairs first."""
    pairs = [
        (-sure, -track.last_index, t, n)
        for n, line in enumerate(lines)
        for t, track in enumerate(tracks)
        if (sure := track.likeness(line)) > 0
    ]
    found: dict[int, int] = {}
    taken: set[int] = set()
    for _, _, t, n in sorted(pairs):
        if n not in found and t not in taken:
            found[n] = t
            taken.add(t)
    return found
