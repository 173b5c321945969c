"""Another sentence encoder than the bundled one, on German text: a tiny random model made on the spot."""

from __future__ import annotations

from pathlib import Path

import pytest

from fdvs.api import Library
from tests.cli.commands import done
from tests.encoders.models import needs

pytestmark = [pytest.mark.model, needs("torch", "transformers", "sentence_transformers")]

CUES = "1\n00:00:00,000 --> 00:00:02,000\nDer Tiger schläft heute unter den Bäumen am Fluss.\n"


def save_tiny(folder: Path) -> str:
    """A random BERT of two layers over single letters, as a sentence-transformers folder; returns its spec."""
    from fdvs.encoders import _torchvision_shim

    _torchvision_shim.install()
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyzäöüß"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "bert").mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder / "bert")
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt"), strip_accents=False).save_pretrained(folder / "bert")
    words = Transformer(str(folder / "bert"))
    SentenceTransformer(modules=[words, Pooling(16)], device="cpu").save(str(folder / "tiny"))
    return f"sentence-transformers:{folder / 'tiny'}"


def test_a_model_from_elsewhere_is_taken_at_its_word(tmp_path: Path) -> None:
    (tmp_path / "wald.srt").write_text(CUES, encoding="utf-8")
    spec = save_tiny(tmp_path / "models")
    rows = done("import", tmp_path / "wald.srt", "--text-embedder", spec, "-L", tmp_path / "library", "--json").json[
        "videos"
    ]
    assert rows[0]["warnings"] == []
    with Library(tmp_path / "library", create=False) as library:
        assert library.search("Tiger", k=1)[0].text.strip('"').startswith("Der Tiger")
        assert library.settings.story.text_embedder == "minilm"  # found by the name stored with the story
    plain = done("import", tmp_path / "wald.srt", "-L", tmp_path / "plain", "--json").json["videos"]
    assert "text in German" in plain[0]["warnings"][0]
