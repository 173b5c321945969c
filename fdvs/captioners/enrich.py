"""Captions of the paper's perception beside those of any captioner: objects, an action, sentences on frames."""

from __future__ import annotations

from collections.abc import Sequence

from fdvs.captioners.base import ClipCaptions, ClipInput
from fdvs.captioners.perception import Perceiver, perceived
from fdvs.captioners.vocabulary import bare_names
from fdvs.errors import UnknownBackendError
from fdvs.records import content_id
from fdvs.settings import CaptionSettings

ALL = ("objects", "action", "frame_captions")


def perceivers(which: Sequence[str], settings: CaptionSettings) -> list[Perceiver]:
    """The models of these names, in the order of `ALL`, loaded.

    Raises:
        UnknownBackendError: there is no such name.
        BackendUnavailableError: a model is not here; the message says how to get it.
    """
    for name in which:
        if name not in ALL:
            raise UnknownBackendError("enrichment", name, list(ALL))
    made: list[Perceiver] = []
    if "objects" in which:
        from fdvs.captioners.grounding import ObjectFinder

        made.append(ObjectFinder(settings.detector_model))
    if "action" in which:
        from fdvs.captioners.action import ActionNamer

        made.append(ActionNamer(settings.action_model))
    if "frame_captions" in which:
        from fdvs.captioners.blip2 import FrameCaptioner

        made.append(FrameCaptioner(settings.frame_caption_model))
    return made


def named(enrich: str) -> tuple[str, ...]:
    """The names that the setting `enrich` lists, each once."""
    return tuple(dict.fromkeys(name for part in enrich.split(",") if (name := part.strip())))


def fingerprint(settings: CaptionSettings) -> str:
    """What the models of the setting `enrich` are asked for; see `asked_for`."""
    return asked_for(named(settings.enrich))


def asked_for(which: Sequence[str]) -> str:
    """What these models are asked for, apart from the models themselves: names, question, rules. Cheap; loads none."""
    from fdvs.captioners import action, blip2, grounding

    asked = {
        "objects": (grounding.RULE_VERSION, grounding.DEFAULT_MODEL, bare_names()),
        "action": (action.RULE_VERSION, action.DEFAULT_MODEL),
        "frame_captions": (blip2.RULE_VERSION, blip2.DEFAULT_MODEL, blip2.PROMPT, blip2.MAX_TOKENS),
    }
    return content_id("perception", [asked[name] for name in ALL if name in which]) if which else ""


class Enricher:
    """Captions of the models of `which`, clip by clip: a captioner of its own, whose captions go beside another's.

    Raises:
        UnknownBackendError, BackendUnavailableError: as `perceivers` raises them.
    """

    name = "enrich"

    def __init__(self, settings: CaptionSettings, settings_hash: str, which: Sequence[str] | None = None) -> None:
        self._perceivers = perceivers(named(settings.enrich) if which is None else which, settings)
        self._settings_hash = settings_hash
        self.wants_frames = settings.frame_short_side
        self.wants_all_samples = any(by.sees_all_samples for by in self._perceivers)

    def caption(self, clips: Sequence[ClipInput]) -> list[ClipCaptions]:
        """The captions of each clip; a model that fails on a clip has a failed caption there."""
        return [
            ClipCaptions(tuple(perceived(clip, by, self._settings_hash) for by in self._perceivers)) for clip in clips
        ]
