"""`transformers:NAME_OR_FOLDER`: CLIP and SigLIP as the picture encoder, and with both towers (extra `models`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdvs.encoders._local_models import device, in_batches, loading, require, stored_name, tokenizer_of
from fdvs.encoders.pictures import Picture
from fdvs.errors import UsageError

# model_type → model class, image processor class. The processors are the PIL ones by name: the default ones prefer
# torchvision, which gives other pixels and is not always loadable.
FAMILIES = {
    "clip": ("CLIPModel", "CLIPImageProcessorPil"),
    "siglip": ("SiglipModel", "SiglipImageProcessorPil"),
}


class TransformersImageText:
    """`ImageTextModel` over a CLIP or SigLIP model that is already on this machine.

    Its tokenizer is loaded with the first text: whoever only looks at pictures needs none.

    Raises:
        BackendUnavailableError: the packages are missing, or the model is not here as safetensors.
        UsageError: the model is of another family.
    """

    def __init__(self, model: str) -> None:
        self._library = require("transformers", "models")
        self._torch = require("torch", "models")
        self._device = device(self._torch)
        self._model = model
        with loading(model):
            config = self._library.AutoConfig.from_pretrained(model, local_files_only=True, trust_remote_code=False)
            if config.model_type not in FAMILIES:
                raise UsageError(f"{model} is of type {config.model_type!r}; wanted one of {', '.join(FAMILIES)}")
            model_class, processor_class = FAMILIES[config.model_type]
            network = getattr(self._library, model_class).from_pretrained(
                model, local_files_only=True, use_safetensors=True, dtype=self._torch.float32
            )
            self._processor = getattr(self._library, processor_class).from_pretrained(model, local_files_only=True)
        self._network = network.to(self._device).eval()
        folder = Path(model)
        label = stored_name(folder.resolve().name, folder) if folder.is_dir() else model
        self.name = f"transformers:{label}"
        self.is_sigmoid = config.model_type == "siglip"
        vision = config.vision_config
        self.dimension = int(vision.hidden_size if self.is_sigmoid else config.projection_dim)
        self.short_side = int(vision.image_size)
        self.scale = math.exp(network.logit_scale.item())
        self.bias = network.logit_bias.item() if self.is_sigmoid else 0.0
        self._max_tokens = int(config.text_config.max_position_embeddings)
        self._vocabulary_size = int(config.text_config.vocab_size)
        self._tokenizer: Any = None

    def encode_pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """`[N, D]` float32 unit rows from N RGB pictures of any sizes."""
        return in_batches(self._pictures, pictures, self.dimension)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[N, D]` float32 unit rows."""
        if self._tokenizer is None:
            with loading(self._model):
                self._tokenizer = tokenizer_of(self._library, self._model, self._vocabulary_size)
        return in_batches(self._texts, texts, self.dimension)

    def _pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        pixels: Any = self._processor(images=list(pictures), input_data_format="channels_last", return_tensors="pt")
        with self._torch.inference_mode():
            return self._unit(self._network.get_image_features(pixel_values=pixels["pixel_values"].to(self._device)))

    def _texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        # CLIP looks back from the end of a text, so padding changes nothing and short is fast; SigLIP has no mask and
        # was trained on texts of full length.
        tokens: Any = self._tokenizer(
            list(texts),
            padding="max_length" if self.is_sigmoid else True,
            truncation=True,
            max_length=self._max_tokens,
            return_tensors="pt",
        )
        given = {"input_ids": tokens["input_ids"].to(self._device)}
        if not self.is_sigmoid:
            given["attention_mask"] = tokens["attention_mask"].to(self._device)
        with self._torch.inference_mode():
            return self._unit(self._network.get_text_features(**given))

    def _unit(self, features: Any) -> NDArray[np.float32]:
        unit = self._torch.nn.functional.normalize(features.pooler_output.float(), dim=1)
        return np.asarray(unit.cpu().numpy(), np.float32)


class TransformersPictureEncoder(TransformersImageText):
    """`PictureEncoder` over the image tower of such a model."""

    def prepare(self, frame: Picture) -> NDArray[np.uint8]:
        """`[H, W, 3]` RGB whose short side is the model's input size."""
        return frame.rgb(self.short_side)

    def encode(self, prepared: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """`[N, D]` float32 unit rows from N RGB pictures of any sizes."""
        return self.encode_pictures(prepared)
