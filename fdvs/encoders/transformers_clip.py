"""`transformers:NAME_OR_FOLDER` as the picture encoder: CLIP and SigLIP (extra `models`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdvs.encoders._local_models import BATCH, device, loading, require, stored_name
from fdvs.encoders.pictures import Picture
from fdvs.errors import UsageError

# model_type → model class, image processor class. The processors are the PIL ones by name: the default ones prefer
# torchvision, which gives other pixels and is not always loadable.
FAMILIES = {
    "clip": ("CLIPModel", "CLIPImageProcessorPil"),
    "siglip": ("SiglipModel", "SiglipImageProcessorPil"),
}


class TransformersPictureEncoder:
    """`PictureEncoder` over the image tower of a CLIP or SigLIP model that is already on this machine.

    Raises:
        BackendUnavailableError: the packages are missing, or the model is not here as safetensors.
        UsageError: the model is of another family.
    """

    def __init__(self, model: str) -> None:
        transformers = require("transformers", "models")
        self._torch = require("torch", "models")
        self._device = device(self._torch)
        with loading(model):
            config = transformers.AutoConfig.from_pretrained(model, local_files_only=True, trust_remote_code=False)
            if config.model_type not in FAMILIES:
                raise UsageError(f"{model} is of type {config.model_type!r}; wanted one of {', '.join(FAMILIES)}")
            model_class, processor_class = FAMILIES[config.model_type]
            network = getattr(transformers, model_class).from_pretrained(
                model, local_files_only=True, use_safetensors=True, dtype=self._torch.float32
            )
            self._processor = getattr(transformers, processor_class).from_pretrained(model, local_files_only=True)
        self._network = network.to(self._device).eval()
        folder = Path(model)
        label = stored_name(folder.resolve().name, folder) if folder.is_dir() else model
        self.name = f"transformers:{label}"
        vision = config.vision_config
        self.dimension = int(config.projection_dim if config.model_type == "clip" else vision.hidden_size)
        self._short_side = int(vision.image_size)

    def prepare(self, frame: Picture) -> NDArray[np.uint8]:
        """`[H, W, 3]` RGB whose short side is the model's input size."""
        return frame.rgb(self._short_side)

    def encode(self, prepared: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """`[N, D]` float32 unit rows from N RGB pictures of any sizes."""
        rows = [np.empty((0, self.dimension), np.float32)]
        rows += [self._encode_batch(prepared[start : start + BATCH]) for start in range(0, len(prepared), BATCH)]
        return np.concatenate(rows)

    def _encode_batch(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        pixels: Any = self._processor(images=list(pictures), input_data_format="channels_last", return_tensors="pt")
        with self._torch.inference_mode():
            features = self._network.get_image_features(pixel_values=pixels["pixel_values"].to(self._device))
            unit = self._torch.nn.functional.normalize(features.pooler_output.float(), dim=1)
        return np.asarray(unit.cpu().numpy(), np.float32)
