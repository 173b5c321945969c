"""A scrolling text laid out as the one long page it is, each line told once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from fdvs.screen_text.boxes import Box, alike, height, middle, x_shared
from fdvs.screen_text.looks import Look
from fdvs.screen_text.order import in_rows
from fdvs.screen_text.readings import ReadLine
from fdvs.screen_text.scroll import Scroll
from fdvs.screen_text.texts import essence, similarity
from fdvs.screen_text.votes import SHARP_LENGTH, SHARP_SCORE, Line, Sighting, medoid, voted

# Two readings are one line when their heights on the whole text differ by at most this part of a line's height.
SAME_HEIGHT, SAME_COLUMN = 0.5, 0.5
# A line that stands in its place over so many looks in a row does not scroll.
STANDING_LOOKS, SAME_BOX, SAME_TEXT = 3, 0.7, 0.85
# What a line needs: to be read twice just so, by readings that are this similar to it; or to be read once, sharply.
LEAST_EXACT, LEAST_AGREEMENT, LEAST_LENGTH = 2, 0.8, 3
# Names return in credits: a line without a majority of its own takes the reading that this many others agree on.
POOL_SIMILARITY, POOL_VOTES = 0.75, 3
# Lines that come in within so long of each other are one step.
STEP_S = 5.0


def unrolled(scroll: Scroll, looks: Sequence[Look]) -> tuple[list[list[Line]], dict[int, tuple[ReadLine, ...]]]:
    """The lines of a scrolling text in reading order, in steps by the time they came in, and what does not scroll.

    Returns:
        Steps of lines; for each look of the scroll (by index) the lines that stand still in it.
    """
    still = _standing([looks[index] for index in scroll.indexes])
    rows: list[list[tuple[Sighting, Box]]] = []
    rest: dict[int, tuple[ReadLine, ...]] = {}
    for index, offset, standing in zip(scroll.indexes, scroll.offsets, still, strict=True):
        rest[index] = tuple(line for line in looks[index].lines if line in standing)
        for line in looks[index].lines:
            if line not in standing and line.box[1] > 2 and line.box[3] < 998:
                left, top, right, bottom = line.box
                _add(rows, Sighting(index, looks[index], line), (left, top + offset, right, bottom + offset))
    lines = _pooled([(replace(voted([s for s, _ in row], looks), box=row[-1][1]), [s for s, _ in row]) for row in rows])
    read = [sighting.line.text for row in rows for sighting, _ in row]
    ordered = in_rows([line for line, sightings in lines if _believed(line, sightings, read)])
    return _steps(ordered), rest


def _standing(looks: Sequence[Look]) -> list[set[ReadLine]]:
    """For each look the lines that stand in one place over several looks in a row."""
    chains: list[list[list[ReadLine]]] = []
    standing: list[set[ReadLine]] = [set() for _ in looks]
    for index, look in enumerate(looks):
        before = chains[-1] if chains else []
        now = []
        for line in look.lines:
            chain = next((c for c in before if _stands(c[-1], line)), [])
            now.append([*chain[1 - STANDING_LOOKS :], line])
            if len(now[-1]) == STANDING_LOOKS:
                for back, one in enumerate(reversed(now[-1])):
                    standing[index - back].add(one)
        chains.append(now)
    return standing


def _stands(a: ReadLine, b: ReadLine) -> bool:
    return alike(a.box, b.box) >= SAME_BOX and similarity(a.text, b.text) >= SAME_TEXT


def _add(rows: list[list[tuple[Sighting, Box]]], sighting: Sighting, box: Box) -> None:
    """Put a reading to the nearest line at its height of the whole text, or begin a line with it."""
    near = [
        row
        for row in rows
        if row[-1][0].look_index < sighting.look_index
        and abs(middle(row[-1][1]) - middle(box)) <= SAME_HEIGHT * height(box)
        and x_shared(row[-1][1], box) >= SAME_COLUMN
    ]
    if near:
        min(near, key=lambda row: abs(middle(row[-1][1]) - middle(box))).append((sighting, box))
    else:
        rows.append([(sighting, box)])


def _believed(line: Line, sightings: Sequence[Sighting], read: Sequence[str]) -> bool:
    """Blurred as they are, moving lines are believed on less: their motion together says that they are text."""
    length = len(essence(line.text))
    if len(sightings) == 1:
        return line.score >= SHARP_SCORE and length >= SHARP_LENGTH
    exact = sum(essence(text) == essence(line.text) for text in read)
    agreement = sum(similarity(line.text, s.line.text) for s in sightings) / len(sightings)
    return exact >= LEAST_EXACT and round(agreement, 3) >= LEAST_AGREEMENT and length >= LEAST_LENGTH


def _pooled(lines: Sequence[tuple[Line, list[Sighting]]]) -> list[tuple[Line, list[Sighting]]]:
    """Lines whose readings disagree, with the text that most readings of alike lines agree on."""
    everything = [sighting for _, sightings in lines for sighting in sightings]
    votes = Counter(sighting.line.text for sighting in everything)
    strong = [text for text, num in votes.most_common() if num >= POOL_VOTES]
    pooled = []
    for line, sightings in lines:
        own = max(Counter(s.line.text for s in sightings).values())
        middle_one = medoid(sightings).line.text
        better = [t for t in strong if similarity(t, middle_one) >= POOL_SIMILARITY and votes[t] >= 2 * own]
        text = max(better, key=lambda t: (votes[t], t)) if better and 2 * own < len(sightings) else line.text
        pooled.append((replace(line, text=text), sightings))
    return pooled


def _steps(ordered: Sequence[Line]) -> list[list[Line]]:
    """The lines in steps of rising start; a line that was made out late stays with those around it."""
    came_in = [line.span.start_ms for line in ordered]
    for index in range(len(came_in) - 2, -1, -1):
        came_in[index] = min(came_in[index], came_in[index + 1])
    steps: list[list[Line]] = []
    start_ms = 0
    for line, ms in zip(ordered, came_in, strict=True):
        if not steps or ms >= start_ms + STEP_S * 1000:
            steps.append([])
            start_ms = ms
        steps[-1].append(line)
    return steps
