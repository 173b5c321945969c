"""Pictures and texts in one space: the seam of zero-shot tags, over models with a tower for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from fdvs.encoders.registry import build

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WITH_ARGUMENT = {
    "open_clip": "fdvs.encoders.open_clip:OpenClipImageText",
    "transformers": "fdvs.encoders.transformers_clip:TransformersImageText",
}


class ImageTextModel(Protocol):
    """A model that says how well a text fits a picture.

    Attributes:
        name: as stored with what is made of it; no folder of this machine.
        dimension: D of all its vectors.
        short_side: of its input pictures in pixels.
        scale, bias: `scale * cosine + bias` is the model's logit that a text fits a picture.
        is_sigmoid: what a logit means: on its own through the logistic function (SigLIP), or against the logits of
            other texts through softmax (CLIP).
    """

    name: str
    dimension: int
    short_side: int
    scale: float
    bias: float
    is_sigmoid: bool

    def encode_pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """`[N, D]` unit rows from N RGB pictures `[H, W, 3]` of any sizes."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[N, D]` unit rows. Text beyond what the model reads is cut by its tokenizer.

        Raises:
            BackendUnavailableError: the model's tokenizer is not here.
        """
        ...


def image_text_model(spec: str) -> ImageTextModel:
    """The model that `spec` names: `open_clip:MODEL@WEIGHTS`, `open_clip:FOLDER` or `transformers:NAME_OR_FOLDER`.

    Raises:
        UnknownBackendError: no such name.
        UsageError: a model name is missing, or the model is of another family.
        BackendUnavailableError: the packages or the weights it needs are not here.
    """
    return cast(ImageTextModel, build("image-text model", spec, {}, WITH_ARGUMENT))
