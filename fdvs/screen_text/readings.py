"""What was read on the screen, clip by clip: the raw material that is merged over time into pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fdvs.records import Span
from fdvs.screen_text.boxes import Box

# What reads: goes into the key under which readings are stored.
DETECTOR, RECOGNISER = "PP-OCRv6_det_small", "PP-OCRv6_rec_small"
MODEL = f"{DETECTOR} + {RECOGNISER}"
# Raise it when other pictures are chosen or read otherwise, so that films are read anew.
READING_VERSION = 3


@dataclass(frozen=True, slots=True)
class ReadLine:
    """One line as the reader returned it: `box` is (left, top, right, bottom) in thousandths of the displayed picture,
    `score` the reader's own confidence, 0..1, rounded to thousandths."""

    text: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True)
class Reading:
    """The text of one stable stretch of samples inside one clip.

    Attributes:
        span: from the stretch's first sample to the first sample that looks different, or to the end of the clip.
        time_ms: the sample that was read (the stretch's last); in a `skipped` stretch one in which text was seen and
            not read; else -1.
        lines: what was read, in the reader's order; empty where there is no text or nothing was read.
        outcome: `read`: the reader looked at it; `same`: its text is that of the last stretch before it that was
            looked at (maybe in an earlier clip), untouched; `no_text`: looked at, and no text was found; `skipped`:
            not looked at, or not read, for a limit on how much is (see `gate`).
        places: where the detector saw a line of text in a picture that was then read, whatever came of it.
    """

    span: Span
    time_ms: int
    lines: tuple[ReadLine, ...]
    outcome: str
    places: tuple[Box, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "span": [self.span.start_ms, self.span.end_ms],
            "time_ms": self.time_ms,
            "lines": [[line.text, line.score, list(line.box)] for line in self.lines],
            "outcome": self.outcome,
            "places": [list(box) for box in self.places],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Reading:
        lines = tuple(ReadLine(text, score, tuple(box)) for text, score, box in data["lines"])
        places = tuple(tuple(box) for box in data.get("places", ()))  # version 1 kept none
        return Reading(Span(*data["span"]), data["time_ms"], lines, data["outcome"], places)
