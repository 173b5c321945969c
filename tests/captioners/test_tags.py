"""Tags: the rule by which names are told, and the captioner on tiny models of both families."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fdvs.captioners import tag_vectors, tags
from fdvs.captioners import vocabulary as vocabulary_module
from fdvs.captioners.base import captioner
from fdvs.captioners.guesses import Guess
from fdvs.captioners.tag_vectors import ensembled, text_vectors
from fdvs.captioners.tags import NOTHING, TagCaptioner, chosen, fingerprint, probabilities, sentences
from fdvs.captioners.vocabulary import KINDS, Vocabulary, vocabulary
from fdvs.encoders.image_text import ImageTextModel, image_text_model
from fdvs.errors import BackendUnavailableError, UsageError
from fdvs.records import CaptionKind, Outcome
from fdvs.settings import CaptionSettings
from tests.captioners import tiny_vision
from tests.captioners.tiny_vision import DAMAGED, save_clip, save_siglip, shown
from tests.encoders.models import needs, pictures

FEW = Vocabulary("places", ("a kitchen", "a beach"), ("a black picture",))


def rows(*frames: Sequence[float]) -> NDArray[np.float64]:
    return np.array(frames, np.float64)


# --- the rule


def test_name_is_told_from_its_least_score_on() -> None:
    assert chosen(rows([0.4, 0.0, 0.0]), FEW, 0.4, 1) == [Guess("a kitchen", 0.4)]
    assert chosen(rows([0.399, 0.0, 0.0]), FEW, 0.4, 1) == []


def test_scores_are_averaged_over_frames() -> None:
    assert chosen(rows([0.9, 0, 0], [0.5, 0, 0]), FEW, 0.5, 1) == [Guess("a kitchen", 0.7)]
    assert chosen(rows([0.9, 0, 0], [0.05, 0, 0]), FEW, 0.5, 1) == []


def test_name_that_a_rival_beats_is_not_told() -> None:
    assert chosen(rows([0.45, 0.0, 0.55]), FEW, 0.25, 1) == []
    assert chosen(rows([0.5, 0.0, 0.5]), FEW, 0.25, 1) == []


def test_name_that_stands_out_in_few_frames_is_not_told() -> None:
    frames = rows([1.0, 0, 0.0], [0.1, 0, 0.2], [0.1, 0, 0.2])
    assert frames[:, 0].mean() > frames[:, 2].mean()
    assert chosen(frames, FEW, 0.25, 1) == []
    assert chosen(frames[:2], FEW, 0.25, 1) == [Guess("a kitchen", 0.55)]


def test_best_names_come_first_and_equal_ones_in_the_order_of_the_list() -> None:
    scores = rows([0.3, 0.3, 0.0])
    assert [guess.name for guess in chosen(scores, FEW, 0.1, 5)] == ["a kitchen", "a beach"]
    assert [guess.name for guess in chosen(scores + rows([0, 0.1, 0]), FEW, 0.1, 1)] == ["a beach"]


def test_equal_logits_name_nothing() -> None:
    for kind in KINDS:
        of = vocabulary(kind)
        flat = np.zeros((4, len(of.names) + len(of.rivals)), np.float32)
        assert chosen(probabilities(flat, is_sigmoid=False), of, tags.LEAST[kind], tags.MOST[kind]) == []


def test_no_caption_calls_likely_what_scores_below_one_half() -> None:
    for score in (0.1, 0.25, 0.3, 0.499):
        guesses = {kind: [Guess(vocabulary(kind).names[0], score)] for kind in KINDS}
        assert "likely" not in sentences(guesses).lower()


def test_sentences_say_where_what_and_who() -> None:
    none: dict[str, list[Guess]] = {kind: [] for kind in KINDS}
    full = {
        **none,
        "places": [Guess("a kitchen", 0.8)],
        "light": [Guess("by lamplight", 0.4)],
        "objects": [Guess("a stove", 0.5), Guess("a pan", 0.12)],
        "actions": [Guess("cooking", 0.3)],
    }
    assert sentences(full) == (
        "Most likely a kitchen, perhaps by lamplight. To be seen: likely a stove, possibly a pan. "
        "Perhaps someone is cooking."
    )
    assert sentences(none) == NOTHING


def test_softmax_shares_and_sigmoid_stands_alone() -> None:
    logits = np.array([[0.0, np.log(3.0)], [1000.0, -1000.0]], np.float32)
    np.testing.assert_allclose(probabilities(logits, is_sigmoid=False), rows([0.25, 0.75], [1, 0]), atol=1e-6)
    np.testing.assert_allclose(probabilities(logits, is_sigmoid=True), rows([0.5, 0.75], [1, 0]), atol=1e-6)


# --- names of models


def test_model_is_named_by_folder_spec_or_name(tmp_path: Path) -> None:
    assert tags.model_spec("x@12345678", f"file:{tmp_path}") == f"transformers:{tmp_path}"
    (tmp_path / "open_clip_config.json").write_text("{}")
    assert tags.model_spec("x@12345678", f"file:{tmp_path}") == f"open_clip:{tmp_path}"
    assert tags.model_spec("open_clip:ViT-B-32@laion2b", "") == "open_clip:ViT-B-32@laion2b"
    assert tags.model_spec("owner/name", "") == "transformers:owner/name"


def test_no_model_and_a_server_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="--captioner-model"):
        tags.model_spec("", "")
    with pytest.raises(UsageError, match="no server"):
        tags.model_spec("x", "http://127.0.0.1:8000/v1")


def test_fingerprint_needs_no_model() -> None:
    assert fingerprint(CaptionSettings(captioner="clip")).startswith(f"tags-{tags.RULE_VERSION}-")


# --- real models

model = pytest.mark.model
needed = needs("torch", "transformers", "safetensors")


@pytest.fixture(scope="module", params=["clip", "siglip"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    save = {"clip": save_clip, "siglip": save_siglip}[request.param]
    return save(tmp_path_factory.mktemp("models") / request.param)


def settings_of(folder: Path) -> CaptionSettings:
    return CaptionSettings(captioner="clip", captioner_model="tiny@00000000", captioner_url=f"file:{folder}")


FEW_OF_EACH = {kind: Vocabulary(kind, vocabulary(kind).names[:4], vocabulary(kind).rivals[:2]) for kind in KINDS}


@pytest.fixture(autouse=True)
def small_vocabulary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A few names of each kind: thousands of sentences teach a model of random numbers nothing. Nothing is kept."""
    monkeypatch.setattr(tags, "vocabulary", FEW_OF_EACH.__getitem__)
    monkeypatch.setattr(vocabulary_module, "vocabulary", FEW_OF_EACH.__getitem__)
    monkeypatch.setattr(tag_vectors, "_KNOWN", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    vocabulary_module.fingerprint.cache_clear()
    yield
    vocabulary_module.fingerprint.cache_clear()


@model
@needed
def test_ensembled_vectors_equal_a_slow_obvious_version(folder: Path) -> None:
    towers = image_text_model(f"transformers:{folder}")
    prompts = [["a photo of a cat.", "a cat."], ["a dog.", "a photo of a dog in the snow.", "a cat."]]
    fast = ensembled(towers, prompts)
    for row, texts in zip(fast, prompts, strict=True):
        total = np.zeros(towers.dimension)
        for text in texts:
            total += towers.encode_texts([text])[0]
        mean = total / len(texts)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-5)


@model
@needed
def test_text_rows_are_those_of_the_model_and_hardly_depend_on_their_neighbours(folder: Path) -> None:
    towers = image_text_model(f"transformers:{folder}")
    texts = ["a dog", "a photo of a very long thing " * 3, "x"]
    together = towers.encode_texts(texts)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for row, text in zip(together, texts, strict=True):
        np.testing.assert_allclose(row, towers.encode_texts([text])[0], atol=1e-5)
    assert towers.encode_texts([]).shape == (0, towers.dimension)
    library: Any = tiny_vision.transformers()
    network = library.AutoModel.from_pretrained(folder).eval()
    tokenizer = library.AutoTokenizer.from_pretrained(folder)
    length = {"padding": "max_length", "max_length": 64} if towers.is_sigmoid else {}
    ids = tokenizer(["a dog"], return_tensors="pt", **length)["input_ids"]
    wanted = network.get_text_features(input_ids=ids).pooler_output.detach().numpy()[0]
    np.testing.assert_allclose(together[0], wanted / np.linalg.norm(wanted), atol=1e-5)


@model
@needed
def test_scores_are_the_probabilities_of_the_model_itself(folder: Path) -> None:
    """transformers' own logits of picture and texts, turned into probabilities as its authors do."""
    towers = image_text_model(f"transformers:{folder}")
    texts, images = ["a dog.", "a cat on a mat.", "night."], pictures(2)
    ours = probabilities(
        towers.scale * (towers.encode_pictures(images) @ towers.encode_texts(texts).T) + towers.bias,
        is_sigmoid=towers.is_sigmoid,
    )
    library: Any = tiny_vision.transformers()
    network = library.AutoModel.from_pretrained(folder).eval()
    processor = library.CLIPImageProcessorPil if not towers.is_sigmoid else library.SiglipImageProcessorPil
    pixels = processor.from_pretrained(folder)(images, input_data_format="channels_last", return_tensors="pt")
    tokenizer = library.AutoTokenizer.from_pretrained(folder)
    length = {"padding": "max_length", "max_length": 64} if towers.is_sigmoid else {"padding": True}
    tokens = tokenizer(texts, return_tensors="pt", **length)
    given = {"input_ids": tokens["input_ids"], "pixel_values": pixels["pixel_values"]}
    if not towers.is_sigmoid:
        given["attention_mask"] = tokens["attention_mask"]
    logits = network(**given).logits_per_image.detach()
    wanted = logits.sigmoid() if towers.is_sigmoid else logits.softmax(dim=1)
    np.testing.assert_allclose(ours, wanted.numpy(), atol=1e-4)


@model
@needed
def test_clips_are_captioned_together_as_alone_with_ids_of_their_own(folder: Path) -> None:
    by = captioner(settings_of(folder), "hash")
    assert (by.name, by.wants_frames, by.wants_all_samples) == ("clip", 32, False)
    clips = [shown(pictures(3, 48, 64), name="a"), shown(pictures(1, 40, 40), name="b"), shown([], name="empty")]
    together = by.caption(clips)
    assert together == [by.caption([clip])[0] for clip in clips]
    first = together[0].captions[0]
    assert (first.kind, first.outcome, first.backend) == (CaptionKind.VISUAL, Outcome.OK, "clip")
    assert first.text
    (none,) = together[2].captions
    assert (none.outcome, none.reason, none.text) == (Outcome.FAILED, "no picture was decoded", "")
    ids = [caption.id for one in together for caption in one.captions]
    assert len(set(ids)) == len(ids)
    assert by.caption([]) == []


@model
@needed
def test_damaged_picture_fails_its_own_clip_only(folder: Path) -> None:
    by = TagCaptioner(settings_of(folder), "hash")
    good = shown(name="good")
    bad = replace(shown(name="bad"), pictures=(DAMAGED,))
    one, other = by.caption([bad, good])
    assert one.captions[0].outcome == Outcome.FAILED
    assert one.captions[0].reason.startswith("OSError: ")
    assert other == by.caption([good])[0]


@model
@needed
def test_what_a_model_is_sure_of_is_told_and_what_it_is_not_sure_of_is_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vector of a name is put where the picture's is: as sure as a model can be. Then, nothing may fit."""
    by = TagCaptioner(settings_of(folder), "hash")
    clip = shown(pictures(1, 48, 64))
    (seen,) = by._model.encode_pictures([pictures(1, 48, 64)[0]])
    by._model.scale, by._model.bias = 50.0, -25.0 if by._model.is_sigmoid else 0.0
    texts = {kind: np.tile(-seen, (len(by._texts[kind]), 1)) for kind in KINDS}
    by._texts = {kind: np.array(rows_of) for kind, rows_of in texts.items()}
    for kind in ("places", "objects", "actions"):
        by._texts[kind][1] = seen
    told = {caption.kind: caption.text for caption in by.caption([clip])[0].captions}
    place, thing, action = (vocabulary(kind).names[1] for kind in ("places", "objects", "actions"))
    assert told[CaptionKind.VISUAL] == (
        f"Most likely {place}. To be seen: most likely {thing}. Most likely someone is {action}."
    )
    assert told[CaptionKind.OBJECTS] == f"Guessed: {thing} (most likely, 1.00)."
    assert told[CaptionKind.ACTION] == f"Guessed: {action} (most likely, 1.00)."
    by._texts = texts
    for kind in KINDS:
        by._texts[kind][-1] = seen  # a rival fits
    assert [caption.text for caption in by.caption([clip])[0].captions] == [NOTHING]


class Counting:
    """A model that counts the texts that it is given."""

    def __init__(self, towers: ImageTextModel) -> None:
        self.towers = towers
        self.name, self.dimension, self.short_side = towers.name, towers.dimension, towers.short_side
        self.scale, self.bias, self.is_sigmoid = towers.scale, towers.bias, towers.is_sigmoid
        self.num_texts = 0

    def encode_pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return self.towers.encode_pictures(pictures)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.num_texts += len(texts)
        return self.towers.encode_texts(texts)


def equal(one: dict[str, NDArray[np.float32]], other: dict[str, NDArray[np.float32]]) -> bool:
    return all(np.array_equal(one[kind], other[kind]) for kind in KINDS)


@model
@needed
def test_vectors_of_names_are_made_once_in_a_process_and_kept_for_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    towers = Counting(image_text_model(f"transformers:{folder}"))
    made = text_vectors(towers)
    all_texts = towers.num_texts
    assert text_vectors(towers) is made
    assert towers.num_texts == all_texts
    assert {kind: len(rows) for kind, rows in made.items()} == dict.fromkeys(KINDS, 6)
    monkeypatch.setattr(tag_vectors, "_KNOWN", {})  # another process
    assert equal(text_vectors(towers), made)
    assert all_texts < towers.num_texts < 2 * all_texts


@model
@needed
@pytest.mark.parametrize("harm", ["other weights", "damaged", "cut short", "other shape"])
def test_kept_vectors_that_are_not_those_of_the_model_are_made_anew(
    folder: Path, harm: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    towers = image_text_model(f"transformers:{folder}")
    made = text_vectors(towers)
    (kept,) = (tmp_path / "cache").rglob("*.npy")
    good = kept.read_bytes()
    if harm == "other weights":
        np.save(kept, np.roll(np.load(kept), 1, axis=1))
    elif harm == "other shape":
        np.save(kept, np.load(kept)[1:])
    else:
        kept.write_bytes(b"no array" if harm == "damaged" else good[: len(good) // 2])
    monkeypatch.setattr(tag_vectors, "_KNOWN", {})
    assert equal(text_vectors(towers), made)
    assert kept.read_bytes() == good
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


@model
@needed
def test_vectors_that_cannot_be_kept_are_used_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert text_vectors(image_text_model(f"transformers:{folder}"))["places"].shape[0] == 6


@model
@needed
def test_model_without_its_tokenizer_is_a_clear_error(tmp_path: Path) -> None:
    folder = save_clip(tmp_path / "clip")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(BackendUnavailableError, match="no tokenizer here that fits"):
        TagCaptioner(settings_of(folder), "hash")


@model
@needed
def test_model_that_is_not_here_is_an_error_that_names_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackendUnavailableError, match="hf download nobody/nothing"):
        TagCaptioner(CaptionSettings(captioner="clip", captioner_model="nobody/nothing"), "hash")
