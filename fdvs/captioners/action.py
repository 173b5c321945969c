"""What is done in a clip by a video classifier of Kinetics labels through transformers (extra `models`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fdvs.captioners.guesses import Guess, listed
from fdvs.captioners.perception import Seen, decoded
from fdvs.encoders._local_models import device, loading, pretrained, require
from fdvs.errors import BackendUnavailableError, UsageError
from fdvs.models.table import default_for
from fdvs.records import CaptionKind, TimedPicture

DEFAULT_MODEL = default_for("action", "paper").name
RULE_VERSION = 1  # of how its findings become words; another number, other captions
FAMILIES = ("videomae", "timesformer", "vivit")


class ActionNamer:
    """`Perceiver` that gives all samples of a clip one label with its score, as one `action` caption.

    Args:
        model: a folder or a name in the local Hugging Face cache; empty: `DEFAULT_MODEL`.

    Raises:
        BackendUnavailableError: the packages are missing, the model is not here as safetensors, or has no names for
            its classes.
        UsageError: the model is of another family.
    """

    backend = "video_classifier"
    kind = CaptionKind.ACTION
    sees_all_samples = True

    def __init__(self, model: str = "") -> None:
        model = model or DEFAULT_MODEL
        transformers, self._torch = require("transformers", "models"), require("torch", "models")
        self._device = device(self._torch)
        with loading(model):
            config = transformers.AutoConfig.from_pretrained(model, local_files_only=True, trust_remote_code=False)
            if config.model_type not in FAMILIES:
                raise UsageError(f"{model} is of type {config.model_type!r}; wanted one of {', '.join(FAMILIES)}")
            self._network = pretrained(
                transformers.AutoModelForVideoClassification, model, self._device, self._torch.float32
            )
            self._processor = _processor(transformers, model, config.model_type)
        self._labels = [str(config.id2label[index]) for index in range(config.num_labels)]
        if all(label == f"LABEL_{index}" for index, label in enumerate(self._labels)):
            raise BackendUnavailableError(f"{model} has no names for what it tells apart; it is no finished classifier")
        self.num_frames = int(config.num_frames)

    def see(self, pictures: Sequence[TimedPicture]) -> Seen:
        """The label with the highest score over all pictures."""
        frames = decoded(pictures)
        chosen = [frames[index] for index in resampled(len(frames), self.num_frames)]
        pixels = self._processor(chosen, input_data_format="channels_last", return_tensors="pt")["pixel_values"]
        with self._torch.inference_mode():
            scores = self._network(pixel_values=pixels.to(self._device)).logits[0].float().softmax(0).cpu().numpy()
        best = int(np.round(scores, 3).argmax())  # of equal ones the first: the last digits differ between machines
        return Seen(listed([Guess(self._labels[best], round(float(scores[best]), 3))]))


def _processor(transformers: Any, model: str, family: str) -> Any:
    """The model's preprocessing in PIL and NumPy. That of all families is the same but for ViViT, which shifts pixel
    values by one before it takes the mean away."""
    made = transformers.VideoMAEImageProcessorPil
    stored, _ = made.get_image_processor_dict(model, local_files_only=True)
    if family == "vivit" and stored.get("offset", True):
        mean = stored.get("image_mean") or made.image_mean
        return made.from_pretrained(model, local_files_only=True, image_mean=[value + 1 for value in mean])
    return made.from_pretrained(model, local_files_only=True)


def resampled(num_pictures: int, num_frames: int) -> list[int]:
    """Which picture stands for each of `num_frames` frames at even distances from the first picture to the last."""
    last = num_pictures - 1
    steps = max(1, num_frames - 1)
    return [(2 * index * last + steps) // (2 * steps) for index in range(num_frames)]
