"""The sentence encoder in the package: all-MiniLM-L6-v2 in 8 bits, on onnxruntime and tokenizers alone.

`model.onnx` is written by `tools/export_minilm.py`; NOTICE says where the weights come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_TOKENS = 256  # what the model was used with by its authors; what follows is cut
MAX_CHARS = 32_768  # bounds the tokeniser on hostile text; 256 words of ordinary text have about 1,500


class MiniLM:
    """`TextEncoder` over the shipped weights. The model loads on first use, in about 40 ms of CPU time.

    Each text is its own run of the network, so a row is bit-equal whatever it is encoded with; the integer kernels of
    onnxruntime do not promise that of batches. It costs a tenth (idle machine) to a third (busy one) more time than
    batches of equal length (benchmarks/results/text_encoder.md). Kinds of CPU and versions of onnxruntime round
    activations differently; between them the vectors of a text agree to a cosine of about 0.9998.
    """

    name = "minilm"
    dimension = 384

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[N, 384]` float32, unit rows. A text that occurs several times is computed once.

        A text counts up to its 256th token (of at most 32,768 characters); unpaired surrogates count as `?`.
        """
        vectors = np.empty((len(texts), self.dimension), np.float32)
        first: dict[str, int] = {}
        for row, text in enumerate(texts):
            seen = first.setdefault(text, row)
            vectors[row] = vectors[seen] if seen != row else self._encode_one(text)
        return vectors

    def _encode_one(self, text: str) -> NDArray[np.float32]:
        clean = text[:MAX_CHARS].encode("utf-8", "replace").decode("utf-8")
        ids = np.array([self._tokenizer.encode(clean).ids], np.int64)  # [1, T]
        vector: NDArray[np.float32] = self._session.run(None, {"ids": ids})[0][0]
        return vector

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str((resources.files(__name__) / "tokenizer.json").read_text(encoding="utf-8"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # videos run in parallel processes; threads inside only cost
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The stored graph is already the fast one: fusing Add and LayerNormalization would make it slower.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        with resources.as_file(resources.files(__name__) / "model.onnx") as path:
            return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
