"""The paper's perception beside any captioner, and as a captioner of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fdvs.captioners import blip2, grounding
from fdvs.captioners.base import captioner
from fdvs.captioners.enrich import ALL, Enricher, asked_for, named, perceivers
from fdvs.captioners.perception import NO_PICTURE, Seen, perceived
from fdvs.errors import BackendUnavailableError, UnknownBackendError
from fdvs.records import CaptionKind, Outcome, TimedPicture
from fdvs.settings import CaptionSettings
from tests.captioners.tiny_vision import DAMAGED, save_blip2, save_grounding, save_video_classifier, shown
from tests.encoders.models import needs, pictures

needed = needs("torch", "transformers", "safetensors")
WHERE = {"objects": "grounding_dino", "action": "video_classifier", "frame_captions": "blip2"}
KINDS = {"objects": CaptionKind.OBJECTS, "action": CaptionKind.ACTION, "frame_captions": CaptionKind.VISUAL}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> CaptionSettings:
    folder = tmp_path_factory.mktemp("models")
    return CaptionSettings(
        captioner="paper",
        detector_model=str(save_grounding(folder / "detector", max_text_len=60)),
        action_model=str(save_video_classifier(folder / "action")),
        frame_caption_model=str(save_blip2(folder / "blip2")),
    )


@pytest.fixture(autouse=True)
def few_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny detector reads a few tokens at a time: all our names would be fifty chunks. And few words will do."""
    monkeypatch.setattr(grounding, "bare_names", lambda: ("cup", "dog", "wine glass"))
    monkeypatch.setattr(blip2, "MAX_TOKENS", 6)


# --- without models


def test_names_are_read_from_the_setting() -> None:
    assert named("") == ()
    assert named(" objects, action,,objects ") == ("objects", "action")


def test_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UnknownBackendError, match="unknown enrichment 'colours'; known: action, frame_captions, obj"):
        perceivers(["objects", "colours"], CaptionSettings())


def test_fingerprint_follows_names_and_question_of_the_models_that_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_for(()) == ""
    prints = {which: asked_for(which) for which in (("objects",), ("action",), ("frame_captions",), ALL)}
    assert len(set(prints.values())) == 4
    assert asked_for(ALL[::-1]) == prints[ALL]
    monkeypatch.setattr(blip2, "PROMPT", "What is this?")
    changed = {which for which, before in prints.items() if asked_for(which) != before}
    assert changed == {("frame_captions",), ALL}


def test_trouble_with_a_clip_is_its_outcome() -> None:
    class Trouble:
        backend = "trouble"
        kind = CaptionKind.ACTION
        sees_all_samples = False

        def see(self, pictures: Sequence[TimedPicture]) -> Seen:
            raise RuntimeError("out of memory\n" + "x" * 1000)

    caption = perceived(shown(), Trouble(), "hash")
    assert (caption.outcome, caption.text) == (Outcome.FAILED, "")
    assert caption.reason.startswith("RuntimeError: out of memory xx")
    assert len(caption.reason) <= 200


# --- with models


@pytest.mark.model
@needed
def test_each_model_gives_a_caption_with_an_id_of_its_own(settings: CaptionSettings) -> None:
    clips = [shown(pictures(4, 48, 64), kept=[0, 3], name="a"), shown(pictures(1, 48, 64), name="b")]
    for which in (("frame_captions", "action"), ("objects",)):
        by = Enricher(replace(settings, captioner="builtin", enrich=",".join(which)), "hash")
        assert by.wants_frames == 448
        assert by.wants_all_samples == ("action" in which)
        found = by.caption(clips)
        order = [name for name in ALL if name in which]
        for one in found:
            assert [caption.backend for caption in one.captions] == [WHERE[name] for name in order]
            assert [caption.kind for caption in one.captions] == [KINDS[name] for name in order]
            assert all(caption.text for caption in one.captions)
        ids = [caption.id for one in found for caption in one.captions]
        assert len(set(ids)) == len(ids)
        assert found == by.caption(clips)


@pytest.mark.model
@needed
def test_paper_tells_objects_action_and_frames_of_each_clip(settings: CaptionSettings) -> None:
    by = captioner(settings, "hash")
    assert (by.name, by.wants_frames, by.wants_all_samples) == ("paper", 448, True)
    clip = shown(pictures(8, 48, 64), kept=[0, 4])
    (found,) = by.caption([clip])
    assert [caption.backend for caption in found.captions] == list(WHERE.values())
    objects, action, frames = (caption.text for caption in found.captions)
    assert objects.count("At 0:0") == frames.count("At 0:0") == 2
    assert action.startswith("Guessed: ")
    beside = Enricher(replace(settings, captioner="builtin", enrich=",".join(ALL)), "hash").caption([clip])
    assert beside == [found]


@pytest.mark.model
@needed
def test_clip_without_pictures_and_a_damaged_one_fail_alone(settings: CaptionSettings) -> None:
    damaged = replace(shown(name="bad"), pictures=(DAMAGED,))
    empty, bad, good = captioner(settings, "hash").caption([shown([], name="none"), damaged, shown(name="good")])
    assert {(c.outcome, c.reason) for c in empty.captions} == {(Outcome.FAILED, NO_PICTURE)}
    assert {(c.outcome, c.text) for c in bad.captions} == {(Outcome.FAILED, "")}
    assert all(c.reason.startswith("OSError") for c in bad.captions)
    assert all(c.text for c in good.captions)


@pytest.mark.model
@needed
def test_missing_models_are_named_with_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackendUnavailableError, match="hf download IDEA-Research/grounding-dino-tiny"):
        captioner(CaptionSettings(captioner="paper"), "hash")
