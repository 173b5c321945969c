"""Prompts before queries: checkpoints of the AnglE kind, tiny ones, as they are published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fdvs.encoders.sentence_transformers import ANGLE_QUERY_PROMPT
from fdvs.encoders.text import QueryEncoder, TextEncoder, encode_query, text_encoder
from fdvs.retrieval.pool import Query
from fdvs.retrieval.search import search
from tests.captioners.tiny_vision import TOWER, save_bert_tokenizer, seeded, transformers
from tests.encoders.models import needs
from tests.retrieval.stories import FakeEncoder, library

needed = needs("torch", "transformers", "sentence_transformers")
TEXTS = ["a dog runs", "two cats sleep on a sofa", "x"]
OWN = {"query": "find: ", "document": "text: "}


def save_checkpoint(folder: Path, pooling: str, prompts: dict[str, str] | None = None) -> Path:
    """A BERT of random numbers whose sentence vector is that of the first or the last token."""
    library, _ = transformers(), seeded()
    size = save_bert_tokenizer(folder)
    library.BertModel(library.BertConfig(**TOWER, vocab_size=size, max_position_embeddings=128)).save_pretrained(folder)
    kinds = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    modes = {f"pooling_mode_{kind}": kind == pooling for kind in kinds}
    (folder / "1_Pooling").mkdir()
    files = {
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
        "sentence_bert_config.json": {"max_seq_length": 100, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": 32, **modes},
        "config_sentence_transformers.json": {"prompts": prompts or {}, "default_prompt_name": None},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module", params=["cls_token", "lasttoken"])
def pooling(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def plain(pooling: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("encoders") / "tiny", pooling)


def by_hand(folder: Path, pooling: str, text: str) -> NDArray[np.float32]:
    """The unit vector of one text: the model, and one of its token vectors."""
    library: Any = transformers()
    tokens = library.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    rows = library.BertModel.from_pretrained(folder).eval()(**tokens).last_hidden_state[0].detach().numpy()
    row: NDArray[np.float32] = rows[0 if pooling == "cls_token" else -1]
    unit: NDArray[np.float32] = row / np.linalg.norm(row)
    return unit


@pytest.mark.model
@needed
def test_documents_of_an_angle_model_are_encoded_plainly(plain: Path, pooling: str) -> None:
    angle, usual = text_encoder(f"angle:{plain}"), text_encoder(f"sentence-transformers:{plain}")
    np.testing.assert_array_equal(angle.encode(TEXTS), usual.encode(TEXTS))
    for row, text in zip(angle.encode(TEXTS), TEXTS, strict=True):
        np.testing.assert_allclose(row, by_hand(plain, pooling, text), atol=1e-5)
    assert angle.name.startswith("angle:tiny@")
    assert angle.dimension == 32


@pytest.mark.model
@needed
def test_queries_of_an_angle_model_have_the_published_prompt(plain: Path, pooling: str) -> None:
    angle = text_encoder(f"angle:{plain}")
    for row, text in zip(encode_query(angle, TEXTS), TEXTS, strict=True):
        np.testing.assert_allclose(row, by_hand(plain, pooling, ANGLE_QUERY_PROMPT + text), atol=1e-5)
    assert encode_query(angle, []).shape == (0, 32)


@pytest.mark.model
@needed
def test_without_a_prompt_of_its_own_a_model_encodes_queries_like_all_text(plain: Path) -> None:
    usual = text_encoder(f"sentence-transformers:{plain}")
    np.testing.assert_array_equal(encode_query(usual, TEXTS), usual.encode(TEXTS))


@pytest.mark.model
@needed
def test_prompts_of_the_checkpoint_come_first(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "prompted", "cls_token", OWN)
    angle, usual = text_encoder(f"angle:{folder}"), text_encoder(f"sentence-transformers:{folder}")
    query, document, bare = (by_hand(folder, "cls_token", before + TEXTS[0]) for before in ("find: ", "text: ", ""))
    for encoder, of_document in ((angle, document), (usual, bare)):
        np.testing.assert_allclose(encode_query(encoder, TEXTS)[0], query, atol=1e-5)
        np.testing.assert_allclose(encoder.encode(TEXTS)[0], of_document, atol=1e-5)


class Asking(FakeEncoder):
    """A text encoder that takes every query for one about rain."""

    def encode_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode(["rain"] * len(texts))


def test_search_encodes_the_query_as_a_query() -> None:
    store, _, _ = library()
    asking: TextEncoder = Asking()
    assert isinstance(asking, QueryEncoder)
    assert not isinstance(FakeEncoder(), QueryEncoder)
    np.testing.assert_array_equal(Query(store, asking, "the cat").vector, FakeEncoder().encode(["rain"])[0])
    np.testing.assert_array_equal(Query(store, FakeEncoder(), "the cat").vector, FakeEncoder().encode(["the cat"])[0])
    (first, *_) = search(store, asking, "umbrella")
    assert first.similarity == pytest.approx(
        float(FakeEncoder().encode(["rain"])[0] @ asking.encode([first.text])[0]), abs=2e-6
    )
