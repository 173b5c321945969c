"""What stands out in a film: the scene that is darkest, brightest, quietest, or in which most moves or is cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fdvs.captioners.facts import Change, PictureFacts
from fdvs.captioners.measures import BLACK_LIGHT
from fdvs.stories.evidence import ClipEvidence

_LEAST_SCENES = 5  # among fewer, something is always the darkest
_LEAST_CUTS = 4
_MARGIN = 1.15  # how far the first must lie before the second
_LIGHT_MARGIN = 0.03


@dataclass(frozen=True, slots=True)
class Standout:
    """What marks a scene of so many clips out: as a clause of a sentence, and as the beginning of a title."""

    clause: str
    title: str
    num_clips: int = 0


def standouts(clips: Sequence[ClipEvidence], scenes: Sequence[range]) -> dict[int, Standout]:
    """What marks scenes out in the whole video, at most one thing each, by index of their first clip.

    Nothing is said where the first hardly differs from the second, nor in a video of few scenes, nor where not all that
    is compared was measured.
    """
    known = [[facts for i in scene if (facts := clips[i].facts) is not None and facts.times_ms] for scene in scenes]
    if len(scenes) < _LEAST_SCENES or not all(known):
        return {}
    found: dict[int, Standout] = {}
    for measure, margin, standout in _KINDS:
        values = [measure(facts) for facts in known]
        ranked = sorted((-value, at) for at, value in enumerate(values) if value is not None)
        if len(ranked) < 2:
            continue
        (first, at), (second, _) = ranked[0], ranked[1]
        if margin(-first, -second):
            found.setdefault(scenes[at].start, replace(standout, num_clips=len(scenes[at])))
    return found


def _seconds(facts: Sequence[PictureFacts]) -> float:
    return sum(one.times_ms[-1] - one.times_ms[0] for one in facts) / 1000


def _cuts(facts: Sequence[PictureFacts]) -> float | None:
    """Measured cuts per minute; nothing for few cuts."""
    num_cuts, seconds = sum(one.num_cuts for one in facts), _seconds(facts)
    return round(60 * num_cuts / seconds, 3) if num_cuts >= _LEAST_CUTS and seconds else 0.0


def _movement(facts: Sequence[PictureFacts]) -> float | None:
    """Mean share of the picture that changes per step of movement, over all samples."""
    steps = [
        share if kind == Change.MOTION else 0.0
        for one in facts
        for share, kind in zip(one.changed, one.kinds, strict=True)
    ]
    return round(sum(steps) / len(steps), 3) if steps else None


def _rest(facts: Sequence[PictureFacts]) -> float | None:
    """How little moves, as a negative share; nothing where the camera moves or cuts are, which is no rest."""
    value = _movement(facts)
    restless = any(one.num_cuts or set(one.camera) - {"still"} for one in facts)
    return None if value is None or restless else -value


def _light(facts: Sequence[PictureFacts]) -> float | None:
    """Mean light, 0..1, of what is not black."""
    levels = [level for one in facts for level in one.light if level >= BLACK_LIGHT]
    return round(sum(levels) / len(levels), 3) if levels else None


def _darkness(facts: Sequence[PictureFacts]) -> float | None:
    value = _light(facts)
    return None if value is None else -value


def _far_more(first: float, second: float) -> bool:
    return first > 0 and first >= _MARGIN * second


def _far_less(first: float, second: float) -> bool:
    return -first * _MARGIN <= -second and second < 0


def _other_light(first: float, second: float) -> bool:
    return round(first - second, 3) >= _LIGHT_MARGIN


_Measure = Callable[[Sequence[PictureFacts]], "float | None"]
_KINDS: tuple[tuple[_Measure, Callable[[float, float], bool], Standout], ...] = (
    (_cuts, _far_more, Standout("nowhere else do cuts come so fast", "Fastest cuts")),
    (_darkness, _other_light, Standout("nothing else is so dark", "Darkest scene")),
    (_light, _other_light, Standout("nothing else is so bright", "Brightest scene")),
    (_rest, _far_less, Standout("nowhere else does so little move", "Quietest scene")),
    (_movement, _far_more, Standout("nowhere else does so much move", "Most movement")),
)
