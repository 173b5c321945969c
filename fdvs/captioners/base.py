"""The seam between the pipeline and whatever writes captions: one protocol, back ends by explicit name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from fdvs.captioners.facts import PictureFacts
from fdvs.chat.base import NO_USAGE, ChatModel, Usage
from fdvs.errors import UnknownBackendError
from fdvs.records import Caption, Clip, TimedPicture
from fdvs.settings import CaptionSettings

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from fdvs.media.subtitles import Cue

GROUP = "fdvs.captioners"
"""Entry point group of captioners in other packages; they are made like those in `BUILT_IN`."""

BUILT_IN = {
    "builtin": "fdvs.captioners.builtin:BuiltinCaptioner",
    "openai": "fdvs.captioners.vlm:VlmCaptioner",
    "vllm": "fdvs.captioners.vlm:VlmCaptioner",
    "transformers": "fdvs.captioners.vlm:VlmCaptioner",
    "clip": "fdvs.captioners.tags:TagCaptioner",
    "paper": "fdvs.captioners.paper:PaperCaptioner",
}
"""Name → `module:Class`, made with (settings, settings hash); those of `OVER_CHAT` also with a chat model."""

OVER_CHAT = frozenset({"openai", "vllm", "transformers"})
"""Captioners that ask a chat model of the same name."""

ENRICHER = "fdvs.captioners.enrich:Enricher"
"""Made with (settings, settings hash) where `settings.enrich` names models whose captions are added."""

ATTENTION = "fdvs.captioners.attention:check_attention"
"""Its module knows what shapes captions where `settings.attention` names a method."""

HEAVY = frozenset({"clip", "paper"})
"""Captioners that load models into the process; a build loads them once for all of its videos."""


@dataclass(frozen=True, slots=True)
class ClipInput:
    """What a captioner gets of one clip.

    Attributes:
        clip: the span to describe.
        facts: what was measured of its pictures.
        cues: subtitle cues that start in it.
        pictures: the kept frames in time order, or all samples for a captioner that `wants_all_samples`; their short
            side is that of `wants_frames`, or less where the video is smaller. Empty unless it wants pictures, or
            where none of the clip's could be decoded.
        kept_ms: times of the samples that visual redundancy kept; a subset of the clip's `sampled_ms`.
    """

    clip: Clip
    facts: PictureFacts
    cues: tuple[Cue, ...] = ()
    pictures: tuple[TimedPicture, ...] = ()
    kept_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ClipCaptions:
    """The captions of one clip, and what they took of a model."""

    captions: tuple[Caption, ...]
    usage: Usage = NO_USAGE


class Captioner(Protocol):
    """Writes captions. One clip that fails is an outcome in its captions, never an exception.

    Attributes:
        name: goes into `Caption.backend`.
        wants_frames: short side in pixels of the frames it needs; 0 when it needs none.
        wants_all_samples: whether it also looks at the frames that visual redundancy set aside.
    """

    name: str
    wants_frames: int
    wants_all_samples: bool

    def caption(self, clips: Sequence[ClipInput]) -> list[ClipCaptions]:
        """The captions of each clip, in the order of `clips`."""
        ...


@runtime_checkable
class StreamingCaptioner(Captioner, Protocol):
    """A captioner that works on several clips at once while others are decoded.

    Attributes:
        in_flight: clips that are worth having open at once.
    """

    in_flight: int

    def submit(self, clip: ClipInput) -> Future[ClipCaptions]:
        """Begin with a clip. Never blocks; the future raises only what ends the whole video (`ServerError`)."""
        ...

    def close(self) -> None:
        """Give up what is still open; a second call does nothing."""
        ...


def check_captioner(name: str) -> None:
    """UnknownBackendError, which lists the known names, unless `captioner` takes this one. Other packages are only
    looked through for a name that is not ours."""
    if name != "auto" and name not in BUILT_IN and name not in (known := known_captioners()):
        raise UnknownBackendError("captioner", name, known)


def known_captioners() -> list[str]:
    """All names that `captioner` takes, `auto` included."""
    return sorted({"auto", *BUILT_IN, *(point.name for point in _plugins())})


def _plugins() -> Iterable[EntryPoint]:
    """Captioners of other packages."""
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)


def fingerprint(settings: CaptionSettings) -> str:
    """What shapes captions besides the settings: prompts, vocabularies. Empty where nothing does. A module says it by
    a function `fingerprint(settings)`; asking loads no model."""
    parts = [_fingerprint_of(BUILT_IN.get(settings.captioner, ""), settings)]
    if settings.attention:
        parts.append(_fingerprint_of(ATTENTION, settings))
    if enriches(settings):
        parts.append(_fingerprint_of(ENRICHER, settings))
    return "+".join(part for part in parts if part)


def enriches(settings: CaptionSettings) -> bool:
    """Whether captions of other models are added; the captioner `paper` has all of them itself."""
    return bool(settings.enrich) and settings.captioner != "paper"


def _fingerprint_of(target: str, settings: CaptionSettings) -> str:
    if not target:
        return ""
    told = getattr(import_module(target.partition(":")[0]), "fingerprint", None)
    return str(told(settings)) if told is not None else ""


def captioner(settings: CaptionSettings, settings_hash: str, chat: ChatModel | None = None) -> Captioner:
    """The captioner that `settings.captioner` names.

    Args:
        chat: the model behind a captioner of `OVER_CHAT`.

    Raises:
        UnknownBackendError: there is no such captioner; the message lists the known names.
    """
    name = settings.captioner
    build: Any
    if name in BUILT_IN:
        build = _attribute(BUILT_IN[name])
    else:
        point = next((point for point in _plugins() if point.name == name), None)
        if point is None:
            raise UnknownBackendError("captioner", name, known_captioners())
        build = point.load()
    made: Captioner = build(settings, settings_hash, chat) if name in OVER_CHAT else build(settings, settings_hash)
    return made


def enricher(settings: CaptionSettings, settings_hash: str) -> Captioner:
    """What adds the captions of `settings.enrich` to those of the captioner."""
    made: Captioner = _attribute(ENRICHER)(settings, settings_hash)
    return made


def _attribute(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
