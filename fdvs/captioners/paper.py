"""The captioner `paper`: the perception of the published method, three models on each clip (papers: FDVS section 4)."""

from __future__ import annotations

from fdvs.captioners import enrich
from fdvs.settings import CaptionSettings


def fingerprint(_settings: CaptionSettings) -> str:
    """What the three models are asked for, apart from the models themselves. Cheap; loads none."""
    return enrich.asked_for(enrich.ALL)


class PaperCaptioner(enrich.Enricher):
    """Objects and sentences of the kept frames, and the action of all samples: three captions a clip.

    Raises:
        BackendUnavailableError: one of its models is not here; the message says how to get it.
    """

    name = "paper"

    def __init__(self, settings: CaptionSettings, settings_hash: str) -> None:
        super().__init__(settings, settings_hash, enrich.ALL)
