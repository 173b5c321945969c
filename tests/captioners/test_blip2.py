"""Sentences on frames by BLIP-2, with a tiny language model of either kind behind it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fdvs.captioners import blip2
from fdvs.captioners.blip2 import PROMPT, FrameCaptioner, told
from fdvs.captioners.perception import decoded, perceived
from fdvs.errors import BackendUnavailableError, UsageError
from fdvs.records import CaptionKind, Outcome
from tests.captioners import tiny_vision
from tests.captioners.tiny_vision import save_blip2, save_clip, shown
from tests.encoders.models import needs, pictures

needed = needs("torch", "transformers", "safetensors")


def test_frames_are_told_in_time_order_and_the_same_words_once() -> None:
    frames = [(0, "a man at a table."), (3000, "a man at a table."), (5000, "what a day!"), (6000, ""), (7000, "")]
    assert told(frames) == (
        "At 0:00: a man at a table. At 0:03: the same. At 0:05: what a day! At 0:06: nothing was said. "
        "At 0:07: nothing was said."
    )


@pytest.fixture(scope="module", params=["t5", "opt"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(language: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_blip2(tmp_path_factory.mktemp("blip2") / language, language)


@pytest.fixture(scope="module")
def by(folder: Path) -> FrameCaptioner:
    return FrameCaptioner(str(folder))


@pytest.mark.model
@needed
def test_words_are_those_of_the_library_for_one_picture(folder: Path, by: FrameCaptioner, language: str) -> None:
    library: Any = tiny_vision.transformers()
    clip = shown(pictures(3, 48, 64))
    frames = decoded(clip.pictures)
    network = library.Blip2ForConditionalGeneration.from_pretrained(folder).eval()
    tokenizer = library.AutoTokenizer.from_pretrained(folder)
    processor = library.Blip2Processor(library.BlipImageProcessorPil.from_pretrained(folder), tokenizer, 4)
    wanted = []
    for frame in frames:
        given = processor(images=frame, text=PROMPT, input_data_format="channels_last", return_tensors="pt")
        tokens = network.generate(**given, do_sample=False, max_new_tokens=blip2.MAX_TOKENS)[0]
        words = tokenizer.decode(tokens, skip_special_tokens=True)
        wanted.append(words.rpartition("answer:")[2] if language == "opt" else words)  # its answer follows the prompt
    assert [words for words, _ in by._say(frames)] == wanted
    assert all(wanted)


@pytest.mark.model
@needed
def test_answer_that_ends_at_the_limit_is_truncated_and_keeps_its_words(by: FrameCaptioner) -> None:
    caption = perceived(shown(pictures(3, 48, 64), kept=[0, 2]), by, "hash")
    assert (caption.kind, caption.outcome, caption.backend) == (CaptionKind.VISUAL, Outcome.TRUNCATED, "blip2")
    assert re.findall(r"At (\d:\d\d): ", caption.text) == ["0:00", "0:02"]
    assert "question" not in caption.text.lower()


@pytest.mark.model
@needed
def test_answer_that_comes_to_its_end_is_ok(by: FrameCaptioner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by._network.language_model.generation_config, "forced_eos_token_id", 2)
    caption = perceived(shown(), by, "hash")
    assert caption.outcome == Outcome.OK
    assert caption.text.startswith("At 0:00: ")


@pytest.mark.model
@needed
def test_model_that_says_nothing_is_a_failed_caption(by: FrameCaptioner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by._network.language_model.generation_config, "forced_eos_token_id", 2)
    monkeypatch.setattr(blip2, "MAX_TOKENS", 1)
    caption = perceived(shown(), by, "hash")
    assert (caption.outcome, caption.text) == (Outcome.FAILED, "")
    assert "said nothing" in caption.reason


@pytest.mark.model
@needed
def test_old_copies_and_other_families_are_clear_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="'clip'; wanted blip-2"):
        FrameCaptioner(str(save_clip(tmp_path / "clip")))
    folder = save_blip2(tmp_path / "old")
    config = folder / "config.json"
    config.write_text(re.sub(r'"image_token_index": \d+', '"image_token_index": null', config.read_text()))
    with pytest.raises(BackendUnavailableError, match="without a token for pictures"):
        FrameCaptioner(str(folder))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackendUnavailableError, match=r"hf download Salesforce/blip2-opt-2\.7b"):
        FrameCaptioner()
