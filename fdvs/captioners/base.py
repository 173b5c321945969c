"""The seam between the pipeline and whatever writes captions: one protocol, back ends by explicit name."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from fdvs.captioners.facts import PictureFacts
from fdvs.errors import UnknownBackendError
from fdvs.records import Caption, Clip
from fdvs.settings import CaptionSettings

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    import numpy as np
    from numpy.typing import NDArray

    from fdvs.media.subtitles import Cue

GROUP = "fdvs.captioners"
"""Entry point group of captioners in other packages; they are made like those in `BUILT_IN`."""

BUILT_IN = {"builtin": "fdvs.captioners.builtin:BuiltinCaptioner"}
"""Name → `module:Class`, made with (settings, settings hash)."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ClipInput:
    """What a captioner gets of one clip.

    Attributes:
        clip: the span to describe.
        facts: what was measured of its pictures.
        cues: subtitle cues that start in it.
        frames: the kept frames, [H, W, 3] RGB each; empty unless the captioner wants pixels.
    """

    clip: Clip
    facts: PictureFacts
    cues: tuple[Cue, ...] = ()
    frames: tuple[NDArray[np.uint8], ...] = ()


class Captioner(Protocol):
    """Writes captions. One clip that fails is an outcome in its captions, never an exception.

    Attributes:
        name: goes into `Caption.backend`.
        wants_frames: short side in pixels of the RGB frames it needs; 0 when it needs none.
    """

    name: str
    wants_frames: int

    def caption(self, clips: Sequence[ClipInput]) -> list[list[Caption]]:
        """The captions of each clip, in the order of `clips`."""
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


def captioner(settings: CaptionSettings, settings_hash: str) -> Captioner:
    """The captioner that `settings.captioner` names.

    `auto` takes the built-in one, because no local model or server is configured for it, and logs that choice.

    Raises:
        UnknownBackendError: there is no such captioner; the message lists the known names.
    """
    name = settings.captioner
    if name == "auto":
        name = "builtin"
        _log.info("captioner auto: using builtin (no local model or server is configured)")
    build: Any
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        build = getattr(import_module(module), attribute)
    else:
        point = next((point for point in _plugins() if point.name == name), None)
        if point is None:
            raise UnknownBackendError("captioner", name, known_captioners())
        build = point.load()
    made: Captioner = build(settings, settings_hash)
    return made
