"""The paper's perception beside any captioner, and as a captioner of its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from pathlib import Path

import pytest

from fdvs.captioners import blip2, grounding
from fdvs.captioners.base import Captioner, ClipCaptions, ClipInput, StreamingCaptioner, captioner
from fdvs.captioners.builtin import BuiltinCaptioner
from fdvs.captioners.enrich import ALL, Enriched, EnrichedStream, enriched, fingerprint, named, perceivers
from fdvs.captioners.perception import NO_PICTURE, Seen, caption_of, perceived
from fdvs.chat.base import Usage
from fdvs.errors import BackendUnavailableError, ServerError, UnknownBackendError
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


class Looker:
    """A captioner that tells which pictures it was given; two requests a clip."""

    def __init__(self, wants_frames: int = 100, *, wants_all_samples: bool = False) -> None:
        self.name = "looker"
        self.wants_frames = wants_frames
        self.wants_all_samples = wants_all_samples

    def caption(self, clips: Sequence[ClipInput]) -> list[ClipCaptions]:
        return [self.look(clip) for clip in clips]

    def look(self, clip: ClipInput) -> ClipCaptions:
        text = f"seen: {[picture.time_ms for picture in clip.pictures]}"
        return ClipCaptions((caption_of(clip, CaptionKind.VISUAL, self.name, "hash", Seen(text)),), Usage(requests=2))


class Stream(Looker):
    """The same as a stream whose futures the test completes."""

    in_flight = 3

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[ClipInput, Future[ClipCaptions]]] = []
        self.closed = 0

    def submit(self, clip: ClipInput) -> Future[ClipCaptions]:
        future: Future[ClipCaptions] = Future()
        self.open.append((clip, future))
        return future

    def close(self) -> None:
        self.closed += 1


# --- without models


def test_names_are_read_from_the_setting() -> None:
    assert named("") == ()
    assert named(" objects, action,,objects ") == ("objects", "action")


def test_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UnknownBackendError, match="unknown enrichment 'colours'; known: action, frame_captions, obj"):
        perceivers(["objects", "colours"], CaptionSettings())


def test_nothing_to_add_leaves_the_captioner_as_it_is() -> None:
    by = BuiltinCaptioner(CaptionSettings(), "hash")
    assert enriched(by, CaptionSettings(), "hash") is by


def test_fingerprint_follows_names_and_question_of_the_models_that_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fingerprint(()) == ""
    prints = {which: fingerprint(which) for which in (("objects",), ("action",), ("frame_captions",), ALL)}
    assert len(set(prints.values())) == 4
    assert fingerprint(ALL[::-1]) == prints[ALL]
    monkeypatch.setattr(blip2, "PROMPT", "What is this?")
    changed = {which for which, before in prints.items() if fingerprint(which) != before}
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
def test_each_model_adds_a_caption_with_an_id_of_its_own(settings: CaptionSettings) -> None:
    clips = [shown(pictures(4, 48, 64), kept=[0, 3], name="a"), shown(pictures(1, 48, 64), name="b")]
    for which in (("frame_captions", "action"), ("objects",)):
        by = enriched(Looker(), replace(settings, enrich=",".join(which)), "hash")
        assert by.name == "looker"
        assert by.wants_frames == 448
        assert by.wants_all_samples == ("action" in which)
        found = by.caption(clips)
        order = [name for name in ALL if name in which]
        for one in found:
            assert [caption.backend for caption in one.captions] == ["looker", *(WHERE[name] for name in order)]
            assert [caption.kind for caption in one.captions[1:]] == [KINDS[name] for name in order]
            assert all(caption.text for caption in one.captions)
            assert one.usage == Usage(requests=2)
        ids = [caption.id for one in found for caption in one.captions]
        assert len(set(ids)) == len(ids)
        assert found == by.caption(clips)


@pytest.mark.model
@needed
def test_captioner_gets_the_pictures_that_it_would_get_alone(settings: CaptionSettings) -> None:
    clip = shown(pictures(4, 48, 64), kept=[0, 2])
    wanted = {
        "seen: [0, 2000]": Looker(),
        "seen: [0, 1000, 2000, 3000]": Looker(wants_all_samples=True),
        "seen: []": Looker(wants_frames=0),
    }
    for text, alone in wanted.items():
        assert Enriched(alone, ["action"], settings, "hash").caption([clip])[0].captions[0].text == text


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
    beside = Enriched(Looker(), ALL, settings, "hash").caption([clip])[0].captions[1:]
    assert beside == found.captions
    assert enriched(by, replace(settings, enrich="objects"), "hash") is by


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
def test_stream_gives_all_captions_of_a_clip_at_once(settings: CaptionSettings) -> None:
    alone = Stream()
    by = enriched(alone, replace(settings, enrich="action"), "hash")
    assert isinstance(by, EnrichedStream)
    assert isinstance(by, StreamingCaptioner)
    assert by.in_flight == 3
    clips = [shown(pictures(4, 48, 64), kept=[0, 2], name=name) for name in "ab"]
    futures = [by.submit(clip) for clip in clips]
    assert [[p.time_ms for p in clip.pictures] for clip, _ in alone.open] == [[0, 2000]] * 2
    for clip, future in reversed(alone.open):
        assert not any(done.done() for done in futures[: alone.open.index((clip, future)) + 1])
        future.set_result(alone.look(clip))
    got = [future.result(timeout=60) for future in futures]
    assert got == Enriched(Looker(), ["action"], settings, "hash").caption(clips)
    by.close()
    assert alone.closed == 1


@pytest.mark.model
@needed
def test_stream_passes_on_errors_and_cancels_both_sides(settings: CaptionSettings) -> None:
    alone = Stream()
    by = EnrichedStream(alone, ["action"], settings, "hash")
    go = threading.Event()
    by._here.submit(go.wait, 60)  # nothing is perceived before that
    first, second, third = (by.submit(shown(name=name)) for name in "abc")
    alone.open[0][1].set_exception(ServerError("gone"))
    with pytest.raises(ServerError, match="gone"):
        first.result(timeout=60)
    assert second.cancel()
    assert alone.open[1][1].cancelled()
    with pytest.raises(CancelledError):
        second.result(timeout=60)
    go.set()
    alone.open[2][1].set_result(alone.look(alone.open[2][0]))
    assert len(third.result(timeout=60).captions) == 2
    by.close()


@pytest.mark.model
@needed
def test_missing_models_are_named_with_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackendUnavailableError, match="hf download IDEA-Research/grounding-dino-base"):
        captioner(CaptionSettings(captioner="paper"), "hash")


def test_captioners_fit_the_protocol() -> None:
    wrapped: Captioner = Looker()
    assert not isinstance(wrapped, StreamingCaptioner)
    assert isinstance(Stream(), StreamingCaptioner)
