"""Both towers of open_clip models, tiny ones with its own tokenizer and with one of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.captioners.tags import probabilities
from fdvs.encoders._local_models import require
from fdvs.encoders.image_text import ImageTextModel, image_text_model
from fdvs.encoders.open_clip import _tokenizer
from fdvs.errors import BackendUnavailableError, UnknownBackendError, UsageError
from tests.captioners.tiny_vision import save_tokenizer
from tests.encoders.models import needs, pictures

pytestmark = [pytest.mark.model, needs("torch", "open_clip", "transformers")]

TEXTS = ["a dog.", "a photo of a cat on a mat.", "night."]


def save_open_clip(folder: Path, *, sigmoid: bool) -> Path:
    """A folder as open_clip publishes them; the sigmoid one names a tokenizer of transformers, which lies beside it."""
    library, torch = require("open_clip", "openclip"), require("torch", "openclip")
    folder.mkdir(parents=True)
    text: dict[str, Any] = {"context_length": 32, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config: dict[str, Any] = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16},
        "text_cfg": text,
    }
    if sigmoid:
        text |= {"hf_tokenizer_name": "owner/elsewhere", "vocab_size": save_tokenizer(folder, "$A </s>")}
        config |= {"init_logit_scale": 4.0, "init_logit_bias": -10.0}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    torch.manual_seed(0)
    network = library.create_model(f"local-dir:{folder}", load_weights=False)
    require("safetensors.torch", "openclip").save_file(network.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["softmax", "sigmoid"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_open_clip(tmp_path_factory.mktemp("open_clip") / "tiny", sigmoid=request.param)


@pytest.fixture(scope="module")
def towers(folder: Path) -> ImageTextModel:
    return image_text_model(f"open_clip:{folder}")


def test_scores_are_the_probabilities_of_the_model_itself(folder: Path, towers: ImageTextModel) -> None:
    library, torch = require("open_clip", "openclip"), require("torch", "openclip")
    network = library.create_model(f"local-dir:{folder}").eval()
    preprocess = library.transform.image_transform_v2(
        library.transform.PreprocessCfg(**network.visual.preprocess_cfg), is_train=False
    )
    from PIL import Image

    images = pictures(2)
    pixels = torch.stack([preprocess(Image.fromarray(image)) for image in images])
    tokens = library.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    with torch.inference_mode():
        logits, _ = network.get_logits(pixels, tokens)
    wanted = logits.sigmoid() if towers.is_sigmoid else logits.softmax(dim=1)
    ours = towers.scale * (towers.encode_pictures(images) @ towers.encode_texts(TEXTS).T) + towers.bias
    np.testing.assert_allclose(probabilities(ours, is_sigmoid=towers.is_sigmoid), wanted.numpy(), atol=1e-4)


def test_text_rows_are_unit_tell_texts_apart_and_stand_alone(towers: ImageTextModel) -> None:
    rows = towers.encode_texts(TEXTS)
    assert rows.shape == (3, towers.dimension) == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert (rows @ rows.T)[np.triu_indices(3, 1)].max() < 0.9999
    np.testing.assert_allclose(rows[1:2], towers.encode_texts(TEXTS[1:2]), atol=1e-6)
    assert towers.encode_texts([]).shape == (0, 16)


def test_tokenizer_that_is_not_here_is_an_error_and_never_a_download(tmp_path: Path) -> None:
    folder = save_open_clip(tmp_path / "bare", sigmoid=True)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    towers = image_text_model(f"open_clip:{folder}")
    assert towers.encode_pictures(pictures(1)).shape == (1, 16)  # pictures need none
    with pytest.raises(BackendUnavailableError):
        towers.encode_texts(TEXTS)
    library = require("open_clip", "openclip")
    with pytest.raises(BackendUnavailableError, match="hf download timm/ViT-B-16-SigLIP"):
        _tokenizer(library, "ViT-B-16-SigLIP")


def test_unknown_names_are_usage_errors() -> None:
    with pytest.raises(UnknownBackendError, match="unknown image-text model 'clop'"):
        image_text_model("clop:x")
    with pytest.raises(UsageError, match="needs a model"):
        image_text_model("transformers")
