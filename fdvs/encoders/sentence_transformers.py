"""`sentence-transformers:NAME_OR_FOLDER` and `angle:NAME_OR_FOLDER` as the sentence encoder (extra `models`).

How token vectors become one (their mean, the first, the last) is the checkpoint's own business; so are prompts. A
checkpoint may name a prompt for queries, and one for what is searched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fdvs.encoders._local_models import BATCH, device, loading, require, stored_name

# What models of the AnglE family were trained to see before a query; what is searched stands without a prompt. Used
# where a checkpoint names none.
ANGLE_QUERY_PROMPT = "Represent this sentence for searching relevant passages: "
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


class SentenceTransformersEncoder:
    """`QueryEncoder` over any sentence-transformers model that is already on this machine.

    Queries get the checkpoint's own prompt for queries, where it has one; all other text is encoded as the checkpoint
    does it by itself.

    Raises:
        BackendUnavailableError: the packages are missing, or the model is not here as safetensors.
    """

    family = "sentence-transformers"

    def __init__(self, model: str) -> None:
        library = require("sentence_transformers", "models")
        torch = require("torch", "models")
        with loading(model):
            self._model = library.SentenceTransformer(
                model,
                device=device(torch),
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        folder = Path(model)
        label = stored_name(folder.resolve().name, folder) if folder.is_dir() else model
        self.name = f"{self.family}:{label}"
        self._query_prompt, self._document_prompt = self._prompts(self._model.prompts)
        self.dimension = int(self.encode([""]).shape[1])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[N, D]` float32 unit rows. Rows depend on the texts they are encoded with by about 1e-7."""
        return self._encode(texts, self._document_prompt)

    def encode_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The same for what is searched with, after the prompt for queries."""
        return self._encode(texts, self._document_prompt if self._query_prompt is None else self._query_prompt)

    def _prompts(self, own: Mapping[str, str]) -> tuple[str | None, str | None]:
        """What stands before queries and before all other text, given the checkpoint's own prompts; None: what the
        checkpoint does by itself."""
        return own.get("query") or None, None

    def _encode(self, texts: Sequence[str], prompt: str | None) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        vectors = self._model.encode(
            clean,
            prompt=prompt,
            batch_size=BATCH,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return np.asarray(vectors, np.float32)


class AngleEncoder(SentenceTransformersEncoder):
    """`QueryEncoder` over a model of the AnglE family: a query has a prompt, what is searched has none, unless the
    checkpoint itself says otherwise."""

    family = "angle"

    def _prompts(self, own: Mapping[str, str]) -> tuple[str | None, str | None]:
        documents = next((own[name] for name in _DOCUMENT_PROMPTS if own.get(name)), "")
        return own.get("query") or ANGLE_QUERY_PROMPT, documents
