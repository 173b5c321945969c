"""Sentences in, unit vectors out: the seam that search, the story tree and textual redundancy share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from fdvs.encoders.registry import build

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PLAIN = {"minilm": "fdvs.encoders.minilm:MiniLM"}
WITH_ARGUMENT = {
    "sentence-transformers": "fdvs.encoders.sentence_transformers:SentenceTransformersEncoder",
    "angle": "fdvs.encoders.sentence_transformers:AngleEncoder",
}

# Languages a text encoder was trained on, by the name stored with its vectors. Of models from elsewhere nothing is
# known, and they are taken at the user's word.
_TRAINED_ON = {"minilm": frozenset({"en"})}


class TextEncoder(Protocol):
    """Turns texts into unit vectors whose dot product is their similarity.

    The vector of a text never depends on the texts it is encoded with (models outside the package: to about 1e-6),
    because resumed builds must give what uninterrupted ones give.
    """

    @property
    def name(self) -> str:
        """Stored beside every vector; vectors of different names are never compared."""

    @property
    def dimension(self) -> int: ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[N, D]` float32, one unit row per text, in order. An empty text has a vector; no text gives `[0, D]`."""


@runtime_checkable
class QueryEncoder(TextEncoder, Protocol):
    """A text encoder that looks at a query in another way than at what is searched."""

    def encode_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `encode`, for texts to search with; their vectors are compared with those that `encode` gives."""


def encode_query(encoder: TextEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
    """`[N, D]`: the vectors of `texts` to search with, by an encoder of either kind."""
    return encoder.encode_query(texts) if isinstance(encoder, QueryEncoder) else encoder.encode(texts)


def trained_on(name: str) -> frozenset[str] | None:
    """Languages (ISO 639-1) that the encoder of this name was trained on; None where that is not known here."""
    return _TRAINED_ON.get(name.partition("@")[0])


def text_encoder(spec: str) -> TextEncoder:
    """The encoder that `spec` names: `minilm` (in the package), `sentence-transformers:NAME_OR_FOLDER`, or
    `angle:NAME_OR_FOLDER` for models that want a prompt before queries.

    Raises:
        UnknownBackendError: no such name.
        UsageError: a model name is missing or superfluous.
        BackendUnavailableError: the packages or the weights it needs are not here.
    """
    return cast(TextEncoder, build("text encoder", spec, PLAIN, WITH_ARGUMENT))
