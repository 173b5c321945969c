"""Specs: which names exist, and what a wrong one says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from fdvs.encoders.builtin_picture import BuiltinPictureEncoder
from fdvs.encoders.minilm import MiniLM
from fdvs.encoders.pictures import picture_encoder
from fdvs.encoders.text import text_encoder
from fdvs.errors import BackendUnavailableError, UnknownBackendError, UsageError
from fdvs.settings import FrameSettings, StorySettings


def test_default_settings_name_the_encoders_in_the_package() -> None:
    assert isinstance(text_encoder(StorySettings().text_embedder), MiniLM)
    assert isinstance(picture_encoder(FrameSettings().image_embedder), BuiltinPictureEncoder)


def test_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UnknownBackendError, match=r"unknown text encoder 'mini'.*minilm.*sentence-transformers:…"):
        text_encoder("mini")
    with pytest.raises(UnknownBackendError, match=r"unknown picture encoder ''.*builtin.*open_clip:….*transformers:…"):
        picture_encoder("")


@pytest.mark.parametrize("spec", ["minilm:large", "sentence-transformers", "sentence-transformers:"])
def test_argument_that_is_missing_or_not_taken_is_a_usage_error(spec: str) -> None:
    with pytest.raises(UsageError, match=spec.partition(":")[0]):
        text_encoder(spec)


@pytest.mark.parametrize(
    ("build", "spec", "extra"),
    [
        (text_encoder, "sentence-transformers:some/model", "models"),
        (picture_encoder, "transformers:some/model", "models"),
        (picture_encoder, "open_clip:ViT-B-32@openai", "openclip"),
    ],
)
@pytest.mark.parametrize("absent", ["torch", "the library"])
def test_missing_package_is_an_error_that_names_the_extra(
    build: Callable[[str], object], spec: str, extra: str, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "torch" if absent == "torch" else spec.partition(":")[0].replace("-", "_")
    monkeypatch.setitem(sys.modules, module, None)  # makes importing it fail
    with pytest.raises(BackendUnavailableError, match=rf"pip install 'fdvs\[{extra}\]'"):
        build(spec)


def test_encoders_import_nothing_heavy_before_they_are_used() -> None:
    code = (
        "import sys\n"
        "from fdvs.encoders.text import text_encoder\n"
        "from fdvs.encoders.pictures import picture_encoder\n"
        "text_encoder('minilm'), picture_encoder('builtin')\n"
        "print([name for name in ('onnxruntime', 'tokenizers', 'torch', 'PIL') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
