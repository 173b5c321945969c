"""A file that is to be built: what is known of it before any picture is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fdvs.media.clips import ClipPlan, plan_clips
from fdvs.media.index import PacketIndex
from fdvs.media.probe import probe
from fdvs.records import Probe
from fdvs.settings import Settings


@dataclass(frozen=True, slots=True)
class Source:
    """A probed file and the clips planned for it; None as long as its shots are not known."""

    path: Path
    facts: Probe
    index: PacketIndex
    planned: Sequence[ClipPlan] | None

    @property
    def plans(self) -> Sequence[ClipPlan]:
        assert self.planned is not None  # every stage that reads pictures comes after the clips
        return self.planned

    @property
    def clips_total(self) -> int | None:
        return None if self.planned is None else len(self.planned)


def probed(path: Path, settings: Settings) -> Source:
    """Probe a file and plan its clips where that needs no decoding, which is everywhere but at shot cuts."""
    facts, index = probe(path, settings.limits)
    return Source(path, facts, index, None if settings.clips.shot_cuts == "on" else plan_clips(index, settings.clips))
