"""The captioner `paper`: the perception of the published method, three models on each clip (papers: FDVS section 4)."""

from __future__ import annotations

from collections.abc import Sequence

from fdvs.captioners import enrich
from fdvs.captioners.base import ClipCaptions, ClipInput
from fdvs.captioners.perception import perceived
from fdvs.settings import CaptionSettings


def fingerprint(_settings: CaptionSettings) -> str:
    """What the three models are asked for, apart from the models themselves. Cheap; loads none."""
    return enrich.fingerprint(enrich.ALL)


class PaperCaptioner:
    """Objects and sentences of the kept frames, and the action of all samples: three captions a clip.

    Raises:
        BackendUnavailableError: one of its models is not here; the message says how to get it.
    """

    name = "paper"
    wants_all_samples = True

    def __init__(self, settings: CaptionSettings, settings_hash: str) -> None:
        self._perceivers = enrich.perceivers(enrich.ALL, settings)
        self._settings_hash = settings_hash
        self.wants_frames = settings.frame_short_side

    def caption(self, clips: Sequence[ClipInput]) -> list[ClipCaptions]:
        """The captions of each clip; a model that fails on a clip has a failed caption there."""
        return [
            ClipCaptions(tuple(perceived(clip, by, self._settings_hash) for by in self._perceivers)) for clip in clips
        ]
