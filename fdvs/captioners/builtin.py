"""The built-in captioner: one caption per clip, made of measured picture facts alone."""

from __future__ import annotations

from collections.abc import Sequence

from fdvs.captioners.base import ClipCaptions, ClipInput
from fdvs.captioners.facts import PictureFacts
from fdvs.captioners.wording import describe, facts_phrase, mean_change, place_phrase
from fdvs.records import Caption, CaptionKind, Outcome, content_id
from fdvs.settings import CaptionSettings

__all__ = ["BuiltinCaptioner", "compare", "describe", "ends_alike", "facts_phrase", "place_phrase"]


LAYOUT_SCALE = 60.0  # mean difference of two 3×3 layouts (0..255) from which two pictures look entirely different
ENDS_ALIKE = 0.1  # of that scale: less is compression and light


def compare(a: PictureFacts, b: PictureFacts) -> float:
    """How differently two clips look and move: 0 alike, 1 entirely different; symmetric.

    Colours and the layout of the nearest end pictures count most, light and movement less.
    """
    if not a.times_ms or not b.times_ms:
        return 0.0 if a.times_ms == b.times_ms else 1.0
    shares_a, shares_b = dict(a.colours), dict(b.colours)
    names = sorted(shares_a.keys() | shares_b.keys())
    colours = 0.5 * sum(abs(shares_a.get(name, 0) - shares_b.get(name, 0)) for name in names)
    layout = min(
        _apart(one, other) for one in (a.first_layout, a.last_layout) for other in (b.first_layout, b.last_layout)
    )
    light = abs(sum(a.light) / len(a.light) - sum(b.light) / len(b.light))
    movement = abs(min(1.0, mean_change(a)) - min(1.0, mean_change(b)))
    other_camera = 0.0 if a.camera[:1] == b.camera[:1] else 1.0
    parts = (
        (0.40, min(1.0, colours)),
        (0.35, layout),
        (0.10, min(1.0, 2 * light)),
        (0.10, min(1.0, 2 * movement)),
        (0.05, other_camera),
    )
    return round(sum(weight * value for weight, value in parts), 3)


def ends_alike(facts: PictureFacts) -> bool:
    """Whether a clip ends with about the picture that it begins with."""
    return round(_apart(facts.first_layout, facts.last_layout), 3) < ENDS_ALIKE


def _apart(one: Sequence[int], other: Sequence[int]) -> float:
    """Difference of two layouts, 0..1."""
    mean = sum(abs(x - y) for x, y in zip(one, other, strict=True)) / max(1, len(one))
    return min(1.0, mean / LAYOUT_SCALE)


class BuiltinCaptioner:
    """One visual caption per clip, from its picture facts alone."""

    name = "builtin"
    wants_frames = 0
    wants_all_samples = False

    def __init__(self, _settings: CaptionSettings, settings_hash: str) -> None:
        self._settings_hash = settings_hash

    def caption(self, clips: Sequence[ClipInput]) -> list[ClipCaptions]:
        """For each clip its one `visual` caption; `failed` when no picture of it was measured."""
        return [ClipCaptions((self._caption(clip),)) for clip in clips]

    def _caption(self, item: ClipInput) -> Caption:
        kind = CaptionKind.VISUAL
        measured = bool(item.facts.times_ms)
        return Caption(
            id=content_id("cap", item.clip.id, kind, self.name, self._settings_hash),
            clip_id=item.clip.id,
            span=item.clip.span,
            kind=kind,
            text=describe(item.facts) if measured else "",
            outcome=Outcome.OK if measured else Outcome.FAILED,
            reason="" if measured else "no picture was decoded",
            backend=self.name,
            settings_hash=self._settings_hash,
        )
