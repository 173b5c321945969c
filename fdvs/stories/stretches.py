"""Stretches: consecutive clips in which the picture behaves alike, and how they join to passages of one scene."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from fdvs.captioners.facts import Change, PictureFacts
from fdvs.captioners.wording import STRONG_FROM
from fdvs.records import Caption

STILL_NAMED_MS = 4000  # a rest is told from so long on
_FEW = 2  # stretches that are told one by one
_MANY_CUTS = 2  # from so many on, a passage tells of its cuts and not of each


class Kind(StrEnum):
    """How the picture behaves."""

    BLACK = "black"
    BACK = "back"  # shows again what was seen before
    STILL = "still"
    MOVES = "moves"
    CAMERA = "camera"
    CUTS = "cuts"


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive clips of one kind: their indices, their measured captions and facts; `joins`: whether it may be told
    together with its neighbours."""

    kind: Kind
    clips: range
    captions: tuple[Caption, ...]
    facts: tuple[PictureFacts, ...]
    joins: bool = True

    @property
    def start_ms(self) -> int:
        return self.captions[0].span.start_ms

    @property
    def end_ms(self) -> int:
        return self.captions[-1].span.end_ms

    @property
    def num_cuts(self) -> int:
        return sum(facts.num_cuts for facts in self.facts if cuts_are_sure(facts))

    @property
    def duration_ms(self) -> int:
        return self.end_ms - self.start_ms

    def joined(self, other: Stretch) -> Stretch:
        clips = range(self.clips.start, other.clips.stop)
        return replace(self, clips=clips, captions=self.captions + other.captions, facts=self.facts + other.facts)


@dataclass(frozen=True, slots=True)
class Passage:
    """Stretches that follow each other and are told together.

    Attributes:
        whole: all of them as one, of the kind that leads: cuts where there are several, else what takes most time.
        parts: at least one.
    """

    whole: Stretch
    parts: tuple[Stretch, ...]

    @staticmethod
    def of(parts: Sequence[Stretch]) -> Passage:
        whole = parts[0]
        for part in parts[1:]:
            whole = whole.joined(part)
        return Passage(replace(whole, kind=_leading(parts)), tuple(parts))

    def others(self, kind: Kind) -> Iterator[Stretch]:
        """The parts of a kind that is not told as the whole."""
        return (part for part in self.parts if part.kind is kind is not self.whole.kind)


def cuts_are_sure(facts: PictureFacts) -> bool:
    """Whether what was measured as a cut is one: a camera that is swung also shows another picture in every sample, but
    then its neighbours move all over, too."""
    steps = list(zip(facts.kinds, facts.changed, strict=True))
    wild = [kind == Change.MOTION and share >= STRONG_FROM for kind, share in steps]
    near = ({i - 1, i + 1} & set(range(len(steps))) for i, (kind, _) in enumerate(steps) if kind == Change.CUT)
    return not all(any(wild[i] for i in both) for both in near)


def black_inside(facts: PictureFacts) -> int | None:
    """When the picture goes to black in the middle of a clip and comes out of it again; None where it does not."""
    if not facts.times_ms:
        return None
    inner = (start for start, end in facts.black_ms if start > facts.times_ms[0] and end < facts.times_ms[-1])
    return next(inner, None)


def _leading(parts: Sequence[Stretch]) -> Kind:
    if sum(part.num_cuts for part in parts) >= _MANY_CUTS:
        return Kind.CUTS
    times = dict.fromkeys((part.kind for part in parts), 0)
    for part in parts:
        times[part.kind] += part.duration_ms
    moving = [kind for kind in times if kind in (Kind.MOVES, Kind.CAMERA)]
    if moving and 2 * times.get(Kind.STILL, 0) <= sum(times.values()):
        return max(moving, key=lambda kind: (times[kind], kind is Kind.CAMERA))
    return max(times, key=lambda kind: times[kind])


def passages(stretches: Sequence[Stretch], together: Collection[int]) -> list[Passage]:
    """What is told in one sentence each: where there are many, stretches that follow each other; else each alone, as
    black and what comes back always are.

    Args:
        together: clips from which even a few stretches are told together.
    """
    runs: list[list[Stretch]] = []
    for stretch in stretches:
        follows = bool(runs) and runs[-1][-1].clips.stop == stretch.clips.start
        if follows and stretch.joins and runs[-1][-1].joins:
            runs[-1].append(stretch)
        else:
            runs.append([stretch])
    found: list[Passage] = []
    for run in runs:
        if len(run) > _FEW or run[0].clips.start in together or sum(part.num_cuts for part in run) >= _MANY_CUTS:
            found.append(Passage.of(run))
        else:
            found += [Passage.of([part]) for part in run]
    return found
