"""Pictures in, unit vectors out: the seam that visual redundancy and the story tree share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from fdvs.encoders.registry import build

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PLAIN = {"builtin": "fdvs.encoders.builtin_picture:BuiltinPictureEncoder"}
WITH_ARGUMENT = {
    "open_clip": "fdvs.encoders.open_clip:OpenClipEncoder",
    "transformers": "fdvs.encoders.transformers_clip:TransformersPictureEncoder",
}


class Picture(Protocol):
    """What an encoder may ask of a decoded frame (`fdvs.media.frame.Frame`)."""

    def small(self) -> NDArray[np.uint8]:
        """`[64, 64, 3]` full-range YUV 4:4:4 of the displayed picture."""

    def rgb(self, short_side: int | None = None) -> NDArray[np.uint8]:
        """`[H, W, 3]` RGB of the displayed picture, reduced to the given short side."""


class PictureEncoder(Protocol):
    """Turns pictures into unit vectors whose dot product is their similarity.

    The vector of a picture never depends on the pictures it is encoded with (models on a GPU: to about 1e-6).
    """

    @property
    def name(self) -> str:
        """Stored beside every vector; vectors of different names are never compared."""

    @property
    def dimension(self) -> int: ...

    def prepare(self, frame: Picture) -> NDArray[np.uint8]:
        """What `encode` needs of a frame, taken while the frame is alive; small enough to keep for a whole clip."""

    def encode(self, prepared: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """`[N, D]` float32, one unit row per prepared picture, in order. No picture gives `[0, D]`."""


def picture_encoder(spec: str) -> PictureEncoder:
    """The encoder that `spec` names.

    `builtin`; `open_clip:MODEL[@WEIGHTS]`, where WEIGHTS is one of open_clip's names or a `.safetensors` file;
    `transformers:NAME_OR_FOLDER` for CLIP and SigLIP.

    Raises:
        UnknownBackendError: no such name.
        UsageError: a model name is missing or superfluous.
        BackendUnavailableError: the packages or the weights it needs are not here.
    """
    return cast(PictureEncoder, build("picture encoder", spec, PLAIN, WITH_ARGUMENT))
