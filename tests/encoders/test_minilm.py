"""The sentence encoder in the package."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from fdvs.encoders.minilm import MAX_CHARS, MiniLM

SENTENCES = [
    "a man is playing a guitar on stage",
    "someone performs music with a guitar in front of an audience",
    "the woman pours batter into a baking pan",
    "two children chase a dog across a wet lawn",
    "",
]
# Cosines of SENTENCES under the same weights in float32, computed with sentence-transformers.
FLOAT32_COSINES = [
    [1, 0.6282, -0.0404, -0.1416, -0.0458],
    [0.6282, 1, 0.0190, -0.0879, 0.1263],
    [-0.0404, 0.0190, 1, -0.0820, -0.0376],
    [-0.1416, -0.0879, -0.0820, 1, 0.0333],
    [-0.0458, 0.1263, -0.0376, 0.0333, 1],
]


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    return MiniLM()


def test_cosines_are_those_of_the_float32_model(encoder: MiniLM) -> None:
    vectors = encoder.encode(SENTENCES)
    assert vectors.shape == (5, 384) == (len(SENTENCES), encoder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors @ vectors.T, FLOAT32_COSINES, atol=0.015)


def test_vector_does_not_depend_on_the_texts_it_is_encoded_with(encoder: MiniLM) -> None:
    texts = [*SENTENCES, "word " * 200, "x", *(f"caption number {i}" for i in range(30))]
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    backwards = encoder.encode(texts[::-1])[::-1]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, backwards)
    np.testing.assert_array_equal(together, MiniLM().encode(texts))


def test_repeated_text_is_computed_once(encoder: MiniLM, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []
    encode_one = encoder._encode_one

    def counted(text: str) -> NDArray[np.float32]:
        computed.append(text)
        return encode_one(text)

    monkeypatch.setattr(encoder, "_encode_one", counted)
    vectors = encoder.encode(["a", "b", "a", "a"])
    assert computed == ["a", "b"]
    np.testing.assert_array_equal(vectors[[0, 0, 0]], vectors[[0, 2, 3]])
    assert not np.array_equal(vectors[0], vectors[1])


def test_no_text_gives_no_row(encoder: MiniLM) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_text_counts_up_to_its_256th_token(encoder: MiniLM) -> None:
    within, at_the_end, beyond = encoder.encode(
        ["dog " * 253 + "cat", "dog " * 253 + "guitar", "dog " * 254 + "guitar"]
    )
    assert not np.array_equal(within, at_the_end)  # the 254th word still counts: [CLS] + 254 + [SEP] = 256
    np.testing.assert_array_equal(beyond, encoder.encode(["dog " * 300])[0])


@pytest.mark.parametrize(
    "text", ["   \n", "\x00\x01", "\ud800 lone surrogate", "日本語の字幕", "🎬🎬", "a" * 5000, "word " * MAX_CHARS]
)
def test_odd_text_has_a_finite_unit_vector(encoder: MiniLM, text: str) -> None:
    vector = encoder.encode([text])[0]
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_case_does_not_matter(encoder: MiniLM) -> None:
    lower, upper = encoder.encode(["a man plays the guitar", "A MAN PLAYS THE GUITAR"])
    np.testing.assert_array_equal(lower, upper)


def test_one_encoder_serves_several_threads() -> None:
    encoder, wanted = MiniLM(), MiniLM().encode(SENTENCES)
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(np.array_equal(encoder.encode(SENTENCES), wanted)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4
