"""What is measured of one clip: a small frozen record of plain numbers and names."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from fdvs.errors import InputError


class Change(StrEnum):
    """What happens between two neighbouring samples."""

    STILL = "still"  # nothing but compression noise
    MOTION = "motion"  # something moves, the camera or what it sees
    STEP = "step"  # part of a picture that is still before and after changes at once
    CUT = "cut"  # another picture
    LIGHT = "light"  # only the light changes: a fade, a flash, a lamp


class Light(StrEnum):
    """How the light of a clip goes. `STEADY` also when nothing can be said."""

    STEADY = "steady"
    BRIGHTER = "brighter"
    DARKER = "darker"
    FADE_IN = "fade in"
    FADE_OUT = "fade out"
    FLASH = "flash"


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """Measured facts of T sampled pictures and the P = max(0, T - 1) steps between them.

    Attributes:
        times_ms: [T] published times of the samples.
        light: [T] mean luma, 0 black to 1 white, without black bars.
        contrast: [T] standard deviation of luma, 0..0.5, without black bars.
        right, down: [P] how far the view moves, as a share of the picture's width and height; 0 where unknown.
        zoom: [P] natural logarithm of the magnification: 0.05 is 5 % closer; 0 where unknown.
        changed: [P] share of the picture that changes, 0..1; with the camera's motion taken out where it is known.
        regions: [P][9] the same for the 3×3 regions, row by row from the top left.
        kinds: [P] values of `Change`.
        camera: how the camera moves, strongest first: `still`, `pan left`, `pan right`, `tilt up`, `tilt down`,
            `zoom in`, `zoom out`, `shake`, `mixed` (it moves without one direction). Empty when it cannot be told.
        camera_speed: of the strongest move, picture widths (or heights, or e-folds of zoom) per second.
        colours: palette names with their shares over all samples that are not black, largest first, at least 0.02.
        cut_colours: the same before and after the cut, at most three each; empty unless there is exactly one cut.
        light_change: value of `Light`.
        black_ms, still_ms: stretches of black and of unchanging samples: (first, last sample time), inclusive.
        first_layout, last_layout: [27] mean Y, U, V (0..255) of the 3×3 regions of the first and last sample.
        bars: share of the picture that is covered by constant black bars, 0..1.
    """

    times_ms: tuple[int, ...] = ()
    light: tuple[float, ...] = ()
    contrast: tuple[float, ...] = ()
    right: tuple[float, ...] = ()
    down: tuple[float, ...] = ()
    zoom: tuple[float, ...] = ()
    changed: tuple[float, ...] = ()
    regions: tuple[tuple[float, ...], ...] = ()
    kinds: tuple[str, ...] = ()
    camera: tuple[str, ...] = ()
    camera_speed: float = 0.0
    colours: tuple[tuple[str, float], ...] = ()
    cut_colours: tuple[tuple[tuple[str, float], ...], ...] = ()
    light_change: str = Light.STEADY.value
    black_ms: tuple[tuple[int, int], ...] = ()
    still_ms: tuple[tuple[int, int], ...] = ()
    first_layout: tuple[int, ...] = ()
    last_layout: tuple[int, ...] = ()
    bars: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON; fields that hold their default are left out."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: _lists(plain[name]) for name in plain if plain[name] != _DEFAULTS[name]}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> PictureFacts:
        """The record that `to_json` wrote, exactly.

        Raises:
            InputError: a field is unknown.
        """
        unknown = set(data) - set(_DEFAULTS)
        if unknown:
            raise InputError(f"unknown picture facts: {', '.join(sorted(unknown))}")
        return PictureFacts(**{name: _tuples(value) for name, value in data.items()})

    @property
    def num_cuts(self) -> int:
        return self.kinds.count(Change.CUT)

    @property
    def is_black(self) -> bool:
        """Every sample is black."""
        return bool(self.times_ms) and self.black_ms == ((self.times_ms[0], self.times_ms[-1]),)

    @property
    def is_still(self) -> bool:
        """Nothing changes between any two samples (also when there is only one)."""
        return bool(self.times_ms) and all(kind == Change.STILL for kind in self.kinds)


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    """Tuples for lists. Names are few, told of thousands of clips, and each is kept once."""
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return sys.intern(value) if isinstance(value, str) else value


_DEFAULTS: dict[str, Any] = {item.name: item.default for item in fields(PictureFacts)}
