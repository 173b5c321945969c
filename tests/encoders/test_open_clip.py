"""open_clip, on a tiny model of random numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.encoders._local_models import require
from fdvs.encoders.pictures import PictureEncoder, picture_encoder
from fdvs.errors import BackendUnavailableError, UsageError
from tests.encoders.models import StubFrame, needs, pictures

pytestmark = [pytest.mark.model, needs("torch", "open_clip")]

MODEL = "fdvs-test-tiny"
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as open_clip publishes them; MODEL is registered as well."""
    made = tmp_path_factory.mktemp("open_clip")
    library, torch = require("open_clip", "openclip"), require("torch", "openclip")
    (made / f"{MODEL}.json").write_text(json.dumps(CONFIG))
    library.add_model_config(made / f"{MODEL}.json")
    torch.manual_seed(0)
    save_weights(library.create_model(MODEL), made / "open_clip_model.safetensors")
    (made / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {}}))
    return made


def save_weights(model: Any, path: Path) -> None:
    require("safetensors.torch", "openclip").save_file(model.state_dict(), path)


@pytest.fixture(params=["file", "folder"])
def encoder(request: pytest.FixtureRequest, folder: Path) -> PictureEncoder:
    named = {"file": f"{MODEL}@{folder / 'open_clip_model.safetensors'}", "folder": str(folder)}
    return picture_encoder(f"open_clip:{named[request.param]}")


def test_unit_rows_that_tell_pictures_apart(encoder: PictureEncoder) -> None:
    vectors = encoder.encode(pictures(5))
    assert vectors.shape == (5, 16) == (5, encoder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (vectors @ vectors.T)[np.triu_indices(5, 1)].max() < 0.9999
    assert encoder.encode([]).shape == (0, 16)


def test_row_hardly_depends_on_the_pictures_it_is_encoded_with(encoder: PictureEncoder) -> None:
    many = [*pictures(38), *pictures(1, 64, 32), *pictures(1, 32, 90)]
    together = encoder.encode(many)
    np.testing.assert_array_equal(together, encoder.encode(many))
    alone = np.concatenate([encoder.encode([picture]) for picture in many])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_prepare_asks_for_the_input_size_of_the_model(encoder: PictureEncoder) -> None:
    frame = StubFrame()
    assert encoder.prepare(frame).shape == (32, 56, 3)
    assert frame.asked_short_side == 32


def test_rows_are_the_features_of_the_model(folder: Path, encoder: PictureEncoder) -> None:
    """Preprocessing written out by hand for a picture that is already of the model's size."""
    library, torch = require("open_clip", "openclip"), require("torch", "openclip")
    model = library.create_model(MODEL, pretrained=str(folder / "open_clip_model.safetensors")).eval()
    picture = pictures(1, 32, 32)[0]
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    pixels = torch.tensor(((picture / 255 - mean) / std).transpose(2, 0, 1)[None], dtype=torch.float32)
    with torch.inference_mode():
        features = model.encode_image(pixels)
    np.testing.assert_allclose(encoder.encode([picture]), (features / features.norm()).numpy(), atol=1e-5)


def test_name_holds_a_digest_of_the_weights_and_no_folder(encoder: PictureEncoder, folder: Path) -> None:
    label, _, digest = encoder.name.partition("@")
    assert label in (f"open_clip:{MODEL}", f"open_clip:{folder.name}")
    assert len(digest) == 8


def test_known_weights_are_read_from_the_cache_with_their_preprocessing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, encoder: PictureEncoder
) -> None:
    library, hub = require("open_clip", "openclip"), require("huggingface_hub", "openclip")
    entry = {"hf_hub": "owner/tiny/", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "resize_mode": "squash"}
    monkeypatch.setattr(library, "list_pretrained_tags_by_model", lambda model: ["tagged"])
    monkeypatch.setattr(library, "get_pretrained_cfg", lambda model, tag: entry)
    asked: list[tuple[str, str]] = []

    def cached(repository: str, file: str) -> str:
        asked.append((repository, file))
        return str(folder / file)

    monkeypatch.setattr(hub, "try_to_load_from_cache", cached)
    tagged = picture_encoder(f"open_clip:{MODEL}@tagged")
    assert asked == [("owner/tiny", "open_clip_model.safetensors")]
    assert tagged.name == f"open_clip:{MODEL}@tagged"
    assert not np.allclose(tagged.encode(pictures(2)), encoder.encode(pictures(2)), atol=1e-3)


def test_weights_that_are_not_in_the_cache_are_an_error_that_names_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = require("huggingface_hub", "openclip")
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda repository, file: None)
    wanted = "hf download laion/CLIP-ViT-B-32-laion2B-s34B-b79K open_clip_model.safetensors"
    with pytest.raises(BackendUnavailableError, match=wanted):
        picture_encoder("open_clip:ViT-B-32@laion2b_s34b_b79k")


def test_model_without_weights_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"name the weights.*laion2b_s34b_b79k"):
        picture_encoder("open_clip:ViT-B-32")
    with pytest.raises(UsageError, match="name the weights"):
        picture_encoder(f"open_clip:{MODEL}@")


def test_wrong_names_and_files_are_usage_errors(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="no model 'ViT-Z'"):
        picture_encoder("open_clip:ViT-Z@openai")
    with pytest.raises(UsageError, match=r"\.safetensors file"):
        picture_encoder(f"open_clip:{MODEL}@{tmp_path / 'weights.pt'}")
    with pytest.raises(UsageError, match="no such weights file"):
        picture_encoder(f"open_clip:{MODEL}@{tmp_path / 'weights.safetensors'}")


def test_folder_without_its_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError, match=r"open_clip_config\.json"):
        picture_encoder(f"open_clip:{tmp_path}")


def test_folder_with_a_text_tower_from_elsewhere_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "open_clip_model.safetensors").write_bytes((folder / "open_clip_model.safetensors").read_bytes())
    config = {**CONFIG, "text_cfg": {"hf_model_name": "roberta-base"}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    with pytest.raises(UsageError, match="would download its text tower"):
        picture_encoder(f"open_clip:{tmp_path}")


@pytest.mark.parametrize("damage", ["truncated", "other shapes", "no weights"])
def test_weights_that_do_not_fit_are_a_clear_error(tmp_path: Path, folder: Path, damage: str) -> None:
    torch = require("torch", "openclip")
    path = tmp_path / "weights.safetensors"
    if damage == "truncated":
        path.write_bytes((folder / "open_clip_model.safetensors").read_bytes()[:500])
    else:
        state = {"visual.proj": torch.zeros(3, 3)} if damage == "other shapes" else {"nothing": torch.zeros(1)}
        require("safetensors.torch", "openclip").save_file(state, path)
    with pytest.raises(BackendUnavailableError, match="cannot be loaded"):
        picture_encoder(f"open_clip:{MODEL}@{path}")
