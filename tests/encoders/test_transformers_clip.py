"""CLIP and SigLIP through transformers, on tiny models of random numbers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.encoders._local_models import require
from fdvs.encoders.pictures import PictureEncoder, picture_encoder
from fdvs.errors import BackendUnavailableError, UsageError
from tests.encoders.models import StubFrame, needs, pictures

pytestmark = [pytest.mark.model, needs("torch", "transformers", "safetensors")]

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION = {**TOWER, "image_size": 32, "patch_size": 8}
TEXT = {**TOWER, "vocab_size": 100, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2}
DIMENSION = {"clip": 24, "siglip": 32}


def save_tiny(folder: Path, family: str, seed: int = 0) -> Any:
    """Save a tiny model and its image processor; returns the model."""
    transformers, torch = require("transformers", "models"), require("torch", "models")
    torch.manual_seed(seed)
    if family == "clip":
        config = transformers.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=DIMENSION[family])
        model = transformers.CLIPModel(config)
        processor = transformers.CLIPImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        )
    else:
        model = transformers.SiglipModel(transformers.SiglipConfig(vision_config=VISION, text_config=TEXT))
        processor = transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32})
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model.eval()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for family in DIMENSION:
        made[family] = tmp_path_factory.mktemp("models") / family
        save_tiny(made[family], family)
    return made


@pytest.fixture(params=list(DIMENSION))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def encoder(folders: dict[str, Path], family: str) -> PictureEncoder:
    return picture_encoder(f"transformers:{folders[family]}")


def test_unit_rows_that_tell_pictures_apart(encoder: PictureEncoder, family: str) -> None:
    vectors = encoder.encode(pictures(5))
    assert vectors.shape == (5, DIMENSION[family]) == (5, encoder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    cosines = (vectors @ vectors.T)[np.triu_indices(5, 1)]
    assert cosines.max() < 0.9999  # random weights: not far apart, but far beyond rounding
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_row_hardly_depends_on_the_pictures_it_is_encoded_with(encoder: PictureEncoder) -> None:
    many = pictures(40)  # more than one batch
    together = encoder.encode(many)
    np.testing.assert_array_equal(together, encoder.encode(many))
    alone = np.concatenate([encoder.encode([picture]) for picture in many])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_pictures_of_several_sizes_in_one_call(encoder: PictureEncoder) -> None:
    wide, tall = pictures(1, 32, 60)[0], pictures(1, 90, 32)[0]
    np.testing.assert_allclose(encoder.encode([wide, tall])[1:], encoder.encode([tall]), atol=1e-6)


def test_prepare_asks_for_the_input_size_of_the_model(encoder: PictureEncoder) -> None:
    frame = StubFrame()
    assert encoder.prepare(frame).shape == (32, 56, 3)
    assert frame.asked_short_side == 32


def test_rows_are_the_features_of_the_model(folders: dict[str, Path], family: str, encoder: PictureEncoder) -> None:
    """Preprocessing written out by hand for a picture that is already of the model's size."""
    transformers, torch = require("transformers", "models"), require("torch", "models")
    class_name = {"clip": "CLIPModel", "siglip": "SiglipModel"}[family]
    model = getattr(transformers, class_name).from_pretrained(folders[family]).eval()
    mean, std = {
        "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        "siglip": ((0.5,) * 3, (0.5,) * 3),
    }[family]
    picture = pictures(1, 32, 32)[0]
    pixels = torch.tensor(((picture / 255 - mean) / std).transpose(2, 0, 1)[None], dtype=torch.float32)
    with torch.inference_mode():
        features = model.vision_model(pixel_values=pixels).pooler_output
        if family == "clip":
            features = model.visual_projection(features)
    wanted = (features / features.norm()).numpy()
    np.testing.assert_allclose(encoder.encode([picture]), wanted, atol=1e-5)


def test_name_follows_the_weights(
    tmp_path: Path, folders: dict[str, Path], encoder: PictureEncoder, family: str
) -> None:
    save_tiny(tmp_path / family, family, seed=1)
    other = picture_encoder(f"transformers:{tmp_path / family}")
    assert encoder.name.startswith(f"transformers:{family}@")
    assert encoder.name != other.name
    assert encoder.name == picture_encoder(f"transformers:{folders[family]}").name


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    model, torch = save_tiny(tmp_path, "clip"), require("torch", "models")
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(BackendUnavailableError, match="safetensors"):
        picture_encoder(f"transformers:{tmp_path}")


def test_damaged_weights_are_a_clear_error(tmp_path: Path) -> None:
    save_tiny(tmp_path, "clip")
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BackendUnavailableError, match="cannot be loaded"):
        picture_encoder(f"transformers:{tmp_path}")


def test_other_families_are_refused(tmp_path: Path) -> None:
    transformers = require("transformers", "models")
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="'bert'; wanted one of clip, siglip"):
        picture_encoder(f"transformers:{tmp_path}")


def test_model_that_is_not_here_is_an_error_that_names_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.ERROR), pytest.raises(BackendUnavailableError, match="hf download nobody/nothing"):
        picture_encoder("transformers:nobody/nothing")
    with pytest.raises(BackendUnavailableError) as absent:
        picture_encoder(f"transformers:{tmp_path / 'absent'}")
    assert "hf download" not in str(absent.value)
