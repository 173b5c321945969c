"""A sentence on every kept frame by BLIP-2 through transformers (extra `models`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fdvs.captioners.guesses import plain
from fdvs.captioners.perception import Seen, decoded
from fdvs.encoders._local_models import device, loading, pretrained, require, tokenizer_of
from fdvs.errors import BackendUnavailableError, UsageError
from fdvs.models.table import default_for
from fdvs.records import CaptionKind, Outcome, TimedPicture, clock

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_MODEL = default_for("frame_captions", "paper").name
RULE_VERSION = 1  # of how its findings become words; another number, other captions
PROMPT = (
    "Question: What does this picture show in detail? Name the place, the people and things in it with their colours, "
    "and what is going on. Answer:"
)
MAX_TOKENS = 80  # of one frame
MAX_CHARS = 600
FRAMES_AT_ONCE = 8


class FrameCaptioner:
    """`Perceiver` that tells the kept frames in time order, one `visual` caption a clip.

    Args:
        model: a folder or a name in the local Hugging Face cache; empty: `DEFAULT_MODEL`.

    Raises:
        BackendUnavailableError: the packages are missing, or the model is not here as safetensors, or in a form that
            has no token for pictures.
        UsageError: the model is of another family.
    """

    backend = "blip2"
    kind = CaptionKind.VISUAL
    sees_all_samples = False

    def __init__(self, model: str = "") -> None:
        model = model or DEFAULT_MODEL
        transformers, self._torch = require("transformers", "models"), require("torch", "models")
        self._device = device(self._torch)
        self._dtype = self._torch.bfloat16 if self._device == "cuda" else self._torch.float32
        with loading(model):
            config = transformers.AutoConfig.from_pretrained(model, local_files_only=True, trust_remote_code=False)
            if config.model_type != "blip-2":
                raise UsageError(f"{model} is of type {config.model_type!r}; wanted blip-2")
            self._network = pretrained(transformers.Blip2ForConditionalGeneration, model, self._device, self._dtype)
            self._tokenizer = tokenizer_of(transformers, model, config.text_config.vocab_size)
            pictures = transformers.BlipImageProcessorPil.from_pretrained(model, local_files_only=True)
            self._processor = transformers.Blip2Processor(pictures, self._tokenizer, config.num_query_tokens)
        if config.image_token_index is None:
            raise BackendUnavailableError(f"{model} is an old copy without a token for pictures; get it anew")
        self._is_encoder_decoder = bool(config.use_decoder_only_language_model is False)

    def see(self, pictures: Sequence[TimedPicture]) -> Seen:
        """What the model says of each picture; truncated where one of its answers ended at the limit."""
        said: list[tuple[str, bool]] = []
        images = decoded(pictures)
        for start in range(0, len(images), FRAMES_AT_ONCE):
            said += self._say(images[start : start + FRAMES_AT_ONCE])
        texts = [plain(text, MAX_CHARS) for text, _ in said]
        if not any(texts):
            raise ValueError("the model said nothing of any picture")
        outcome = Outcome.OK if all(is_whole for _, is_whole in said) else Outcome.TRUNCATED
        return Seen(told([(picture.time_ms, text) for picture, text in zip(pictures, texts, strict=True)]), outcome)

    def _say(self, pictures: Sequence[NDArray[np.uint8]]) -> list[tuple[str, bool]]:
        """The model's answer on each picture, and whether it came to its end."""
        given: Any = self._processor(
            images=list(pictures),
            text=[PROMPT] * len(pictures),
            input_data_format="channels_last",
            return_tensors="pt",
        ).to(self._device)
        given["pixel_values"] = given["pixel_values"].to(self._dtype)
        with self._torch.inference_mode():
            tokens = self._network.generate(**given, do_sample=False, num_beams=1, max_new_tokens=MAX_TOKENS)
        if not self._is_encoder_decoder:
            tokens = tokens[:, given["input_ids"].shape[1] :]
        texts = self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
        ends = self._ends()
        return [(text, bool(set(row) & ends)) for text, row in zip(texts, tokens.tolist(), strict=True)]

    def _ends(self) -> set[int]:
        """The tokens with which an answer ends."""
        named = self._network.language_model.generation_config.eos_token_id
        return set(named) if isinstance(named, list) else {named}


def told(frames: Sequence[tuple[int, str]]) -> str:
    """What was said of each frame (its time in ms first): `At 0:03: a man at a table. At 0:05: the same.`"""
    lines = []
    before = None
    for time_ms, text in frames:
        words = "the same" if text and text == before else text.rstrip(" .") or "nothing was said"
        lines.append(f"At {clock(time_ms)}: {words}{'' if words[-1] in '!?…' else '.'}")
        before = text
    return " ".join(lines)
