"""What a line says, by vote over all its readings: a blurred misreading loses, a text that grows ends as it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fdvs.records import Span
from fdvs.screen_text.boxes import Box, cut_off
from fdvs.screen_text.looks import LEAST_SCORE, Look
from fdvs.screen_text.readings import ReadLine
from fdvs.screen_text.texts import begins, essence, grows_into, is_counter, pattern, similarity, words

# A text holds when at least half of the votes are for it.
MAJORITY = 0.5
# A text that a line grows into late in its life needs this share of all votes, or this long a stand.
LATE_SHARE, LATE_S = 0.3, 2.0
# One reading counts by how long it stands, within these bounds.
LEAST_S, MOST_S = 0.25, 10.0
# What a line needs to be believed: read once but sharply; read again, or standing still; cut by the picture's edge.
SHARP_SCORE, SHARP_LENGTH = 0.95, 4
STEADY_SCORE, STEADY_S, STEADY_LENGTH = 0.85, 2.0, 3
PLAIN_SCORE = 0.9
EDGE_S = 3.0
# Misread versions of one line agree at least this much with the version that is taken for it.
MEDOID_SIMILARITY = 0.75


@dataclass(frozen=True, slots=True)
class Sighting:
    """A line as one look read it. `look_index` counts the video's looks."""

    look_index: int
    look: Look
    line: ReadLine

    @property
    def seconds(self) -> float:
        return min(MOST_S, max(LEAST_S, self.look.duration_s))

    @property
    def weight(self) -> float:
        """Seconds, less the more the reader doubts: a score of 0.9 counts half of 1.0."""
        return self.seconds * ((self.line.score - LEAST_SCORE) / (1 - LEAST_SCORE)) ** 3


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text after the vote.

    Attributes:
        text: verbatim one of its readings.
        span: from the first to the last look that shows it.
        box: where the text was first read.
        share: votes for it among all that could have been cast for it, 0..1.
        score: mean score of those who voted for it.
        num_votes, standing_s: how often it was read so, and for how long it stood in all.
        first_index, last_index: looks.
    """

    text: str
    span: Span
    box: Box
    share: float
    score: float
    num_votes: int
    standing_s: float
    first_index: int
    last_index: int

    @property
    def believed(self) -> bool:
        """Whether the line is surely written there: false lines are worse than missed ones."""
        length = len(essence(self.text))
        if self.share < MAJORITY or (cut_off(self.box) and self.standing_s < EDGE_S):
            return False
        steady = self.num_votes >= 2 or self.standing_s >= STEADY_S
        return (
            (self.score >= SHARP_SCORE and length >= SHARP_LENGTH)
            or (self.score >= STEADY_SCORE and steady and length >= STEADY_LENGTH)
            or (self.score >= PLAIN_SCORE and self.standing_s >= STEADY_S)
        )


def voted(sightings: Sequence[Sighting], looks: Sequence[Look]) -> Line:
    """The line that the sightings are of (at least one, in time order, at most one for each look).

    Args:
        looks: all looks of the video: one that lies between two sightings and does not show the line votes against it.
    """
    text, supporters = _winner(sightings)
    missing = {s.look_index for s in sightings}
    absent = sum(
        min(MOST_S, max(LEAST_S, looks[i].duration_s))
        for i in range(supporters[0].look_index, sightings[-1].look_index)
        if i not in missing
    )
    cast = _cast(text, sightings)
    won = sum(s.weight for s in supporters)
    exact = [s for s in supporters if s.line.text == text] or list(supporters)
    return Line(
        text=text,
        span=Span(sightings[0].look.span.start_ms, max(s.look.span.end_ms for s in sightings)),
        box=exact[0].line.box,
        share=round(won / (cast + absent), 3) if cast + absent else 0.0,
        score=round(sum(s.line.score for s in supporters) / len(supporters), 3),
        num_votes=len(supporters),
        standing_s=round(sum(s.look.duration_s for s in supporters), 3),
        first_index=sightings[0].look_index,
        last_index=sightings[-1].look_index,
    )


def _winner(sightings: Sequence[Sighting]) -> tuple[str, list[Sighting]]:
    """The text and those that voted for it; where nothing has a majority, the reading most like the others."""
    if len({pattern(s.line.text) for s in sightings}) == 1 and is_counter(sightings[0].line.text):
        return sightings[0].line.text, list(sightings)
    for kept in sorted({essence(s.line.text) for s in sightings}, key=lambda text: (-len(text), text)):
        same = [s for s in sightings if essence(s.line.text) == kept]
        text = _best_spaced(same)
        supporters = [s for s in sightings if essence(s.line.text) == kept or grows_into(text, s.line.text)]
        cast, won = _cast(text, sightings), sum(s.weight for s in supporters)
        late = round(cast, 3) < round(LATE_SHARE * sum(s.weight for s in sightings), 3)
        standing_s = sum(s.look.duration_s for s in supporters)
        if round(won, 3) >= round(MAJORITY * cast, 3) and not (late and standing_s < LATE_S):
            return text, supporters
    middle = medoid(sightings)
    return middle.line.text, [s for s in sightings if essence(s.line.text) == essence(middle.line.text)]


def _cast(text: str, sightings: Sequence[Sighting]) -> float:
    """Votes that count for or against a text: all but those for its beginning from before it was complete."""
    complete = next((s.look_index for s in sightings if essence(s.line.text) == essence(text)), 0)
    return sum(s.weight for s in sightings if s.look_index >= complete or not begins(s.line.text, text))


def medoid(sightings: Sequence[Sighting]) -> Sighting:
    """The reading that agrees most with all readings, each counted by its weight; ties: the longest, then the last."""

    def agreement(one: Sighting) -> float:
        return round(sum(s.weight * similarity(one.line.text, s.line.text) for s in sightings), 3)

    return max(sightings, key=lambda s: (agreement(s), len(s.line.text), s.look_index))


def _best_spaced(same: Sequence[Sighting]) -> str:
    """Among readings that differ in spaces and signs: the most words (readers lose spaces far more often than they
    make them up), then the most votes, then the last."""
    votes: dict[str, float] = {}
    for sighting in same:
        votes[sighting.line.text] = votes.get(sighting.line.text, 0.0) + sighting.weight
    sharp = [s for s in same if s.line.score >= PLAIN_SCORE] or same
    return max(sharp, key=lambda s: (len(words(s.line.text)), round(votes[s.line.text], 3), s.look_index)).line.text


def merged(lines: Sequence[Line]) -> Line:
    """One line from its showings on several pages, in time order."""
    best = max(lines, key=lambda line: (line.standing_s, line.first_index))
    return replace(
        best,
        span=Span.union([line.span for line in lines]),
        num_votes=sum(line.num_votes for line in lines),
        standing_s=round(sum(line.standing_s for line in lines), 3),
        first_index=lines[0].first_index,
        last_index=lines[-1].last_index,
    )
