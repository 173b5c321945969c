"""`sentence-transformers:NAME_OR_FOLDER` as the sentence encoder (extra `models`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fdvs.encoders._local_models import BATCH, device, loading, require, stored_name


class SentenceTransformersEncoder:
    """`TextEncoder` over any sentence-transformers model that is already on this machine.

    Raises:
        BackendUnavailableError: the packages are missing, or the model is not here as safetensors.
    """

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
        self.name = f"sentence-transformers:{label}"
        self.dimension = int(self.encode([""]).shape[1])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[N, D]` float32 unit rows. Rows depend on the texts they are encoded with by about 1e-7."""
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        vectors = self._model.encode(
            clean, batch_size=BATCH, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)
