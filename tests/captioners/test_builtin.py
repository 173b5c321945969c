"""The built-in captioner, the registry, and how clips are compared."""

from __future__ import annotations

from importlib import metadata
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from fdvs.captioners import base
from fdvs.captioners.base import Captioner, ClipInput, captioner, known_captioners
from fdvs.captioners.builtin import BuiltinCaptioner, compare, describe
from fdvs.captioners.facts import PictureFacts
from fdvs.captioners.measures import measure_clip
from fdvs.errors import UnknownBackendError
from fdvs.records import Clip, Outcome, Span
from fdvs.settings import CaptionSettings
from tests.captioners.scenes import Clip as Pictures
from tests.captioners.scenes import film, from_rgb, pan, plain, times, window

SPAN = Span(1000, 3000)


def facts_of(pictures: Pictures) -> PictureFacts:
    return measure_clip(pictures, times(len(pictures)))


def clip_input(name: str, facts: PictureFacts) -> ClipInput:
    return ClipInput(Clip(f"clip-{name}", "video", SPAN, 1000, facts.times_ms), facts)


def test_every_clip_gets_one_visual_caption() -> None:
    inputs = [clip_input("a", facts_of(pan(0.05))), clip_input("b", facts_of(plain((0, 128, 128))))]
    made: Captioner = captioner(CaptionSettings(), "hash")
    (first,), (second,) = (one.captions for one in made.caption(inputs))

    assert made.name == first.backend == "builtin"
    assert made.wants_frames == 0
    assert first.kind == "visual"
    assert first.outcome == Outcome.OK
    assert first.text == describe(inputs[0].facts)
    assert first.span == SPAN
    assert (first.clip_id, second.clip_id) == ("clip-a", "clip-b")
    assert first.id.startswith("cap-")
    assert second.text == "A black picture."


def test_a_clip_without_pictures_is_a_failed_outcome() -> None:
    (described,) = captioner(CaptionSettings(), "hash").caption([clip_input("a", PictureFacts())])
    (caption,) = described.captions

    assert caption.outcome == Outcome.FAILED
    assert caption.text == ""
    assert caption.reason == "no picture was decoded"


def test_caption_ids_hang_on_clip_and_settings_only() -> None:
    moving, still = clip_input("a", facts_of(pan(0.05))), clip_input("a", facts_of(plain((90, 128, 128))))

    def ids(item: ClipInput, settings_hash: str) -> str:
        (described,) = captioner(CaptionSettings(), settings_hash).caption([item])
        return described.captions[0].id

    assert ids(moving, "x") == ids(still, "x")
    assert ids(moving, "x") != ids(moving, "y")
    assert ids(moving, "x") != ids(clip_input("b", moving.facts), "x")


def test_an_unknown_captioner_is_refused_with_the_known_names() -> None:
    with pytest.raises(UnknownBackendError, match=r"'oracle'.*auto.*builtin"):
        captioner(CaptionSettings(captioner="oracle"), "hash")


def test_other_packages_can_bring_captioners(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", "fdvs.captioners.builtin:BuiltinCaptioner", base.GROUP)

    def entry_points(**wanted: Any) -> EntryPoints:
        return EntryPoints([point]).select(**wanted)

    monkeypatch.setattr(metadata, "entry_points", entry_points)

    assert isinstance(captioner(CaptionSettings(captioner="theirs"), "hash"), BuiltinCaptioner)
    assert "theirs" in known_captioners()
    with pytest.raises(UnknownBackendError, match="theirs"):
        captioner(CaptionSettings(captioner="others"), "hash")


def test_compare_grows_with_what_differs() -> None:
    room = facts_of(film(lambda _: window(300, 400)))
    room_later = facts_of(film(lambda _: window(305, 400)))
    room_darker = facts_of(film(lambda _: window(300, 400) * 0.6))
    lawn = facts_of(film(lambda _: window(300, 400, seed=3), tint=from_rgb(40, 140, 40)[1:]))
    black = facts_of(plain((0, 128, 128)))

    assert compare(room, room) == 0
    assert compare(room, room_later) < 0.1 < compare(room, room_darker) < compare(room, lawn) <= 1
    assert compare(lawn, black) > 0.6
    assert compare(room, lawn) == compare(lawn, room)


def test_compare_looks_at_the_nearest_ends() -> None:
    a, b = window(300, 400), window(300, 400, seed=2) * 0.5
    first_then_second = facts_of(film(lambda i: a if i < 4 else b))
    second = facts_of(film(lambda _: b))
    other = facts_of(film(lambda _: window(300, 400, seed=5)))

    assert compare(first_then_second, second) < compare(first_then_second, other)


def test_compare_with_nothing_measured() -> None:
    assert compare(PictureFacts(), PictureFacts()) == 0
    assert compare(PictureFacts(), facts_of(pan(0.05))) == 1
