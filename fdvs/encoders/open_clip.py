"""`open_clip:MODEL@WEIGHTS` or `open_clip:FOLDER`: as the picture encoder, and with both towers (extra `openclip`)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdvs.encoders._local_models import device, fitting, in_batches, loading, not_here, require, stored_name
from fdvs.encoders.pictures import Picture
from fdvs.errors import UsageError

WEIGHTS_FILE = "open_clip_model.safetensors"  # open_clip's own name for them in a repository or a folder
CONFIG_FILE = "open_clip_config.json"
PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


class OpenClipImageText:
    """`ImageTextModel` over an open_clip model that is already on this machine.

    WEIGHTS is one of open_clip's names for MODEL, read from the Hugging Face cache, or a `.safetensors` file. A FOLDER
    holds `open_clip_config.json` and `open_clip_model.safetensors`. Without weights open_clip would build a model of
    random numbers; that is refused here. The tokenizer is loaded with the first text.

    Raises:
        BackendUnavailableError: the package is missing, or the weights are not here or do not fit the model.
        UsageError: an unknown model or weights name, no weights, or weights in a format that can carry code.
    """

    def __init__(self, model: str) -> None:
        self._library = require("open_clip", "openclip")
        self._torch = require("torch", "openclip")
        self._device = device(self._torch)
        name, at, weights = model.partition("@")
        if not at and Path(name).is_dir():
            self._source = f"local-dir:{name}"
            self.name, network = _from_folder(self._library, Path(name), self._device)
        else:
            self._source = name
            self.name, network = _from_name(self._library, name, weights, self._device)
        self._network = network.eval()
        preprocessing = self._library.transform.PreprocessCfg(**network.visual.preprocess_cfg)
        self._transform = self._library.transform.image_transform_v2(preprocessing, is_train=False)
        self.short_side = max(preprocessing.input_size[1:])
        self.dimension = int(self._pictures([np.zeros((8, 8, 3), np.uint8)]).shape[1])
        self.scale = math.exp(network.logit_scale.item())
        self.is_sigmoid = network.logit_bias is not None
        self.bias = network.logit_bias.item() if self.is_sigmoid else 0.0
        self._tokenize: Any = None

    def encode_pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """`[N, D]` float32 unit rows from N RGB pictures of any sizes."""
        return in_batches(self._pictures, pictures, self.dimension)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[N, D]` float32 unit rows."""
        if self._tokenize is None:
            self._tokenize = _tokenizer(self._library, self._source)
        return in_batches(self._texts, texts, self.dimension)

    def _pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        from PIL import Image

        pixels = self._torch.stack([self._transform(Image.fromarray(picture)) for picture in pictures])
        with self._torch.inference_mode():
            unit = self._network.encode_image(pixels.to(self._device), normalize=True)
        return np.asarray(unit.float().cpu().numpy(), np.float32)

    def _texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        tokens = self._tokenize(list(texts))
        with self._torch.inference_mode():
            unit = self._network.encode_text(tokens.to(self._device), normalize=True)
        return np.asarray(unit.float().cpu().numpy(), np.float32)


class OpenClipEncoder(OpenClipImageText):
    """`PictureEncoder` over the image tower of such a model."""

    def prepare(self, frame: Picture) -> NDArray[np.uint8]:
        """`[H, W, 3]` RGB whose short side is the model's input size."""
        return frame.rgb(self.short_side)

    def encode(self, prepared: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """`[N, D]` float32 unit rows from N RGB pictures of any sizes."""
        return self.encode_pictures(prepared)


def _tokenizer(library: Any, source: str) -> Any:
    """The tokenizer of `source`: open_clip's own, or one of transformers that is in the folder or in the cache."""
    folder = source.removeprefix("local-dir:")
    if folder != source:
        config = json.loads((Path(folder) / CONFIG_FILE).read_text(encoding="utf-8"))["model_cfg"]
    else:
        config = library.get_model_config(source)
    named = str(config["text_cfg"].get("hf_tokenizer_name", ""))
    if not named and folder == source and "siglip" in source.lower():
        raise UsageError(f"{source}: open_clip would download its tokenizer; name a folder or a transformers model")
    if not named:
        return library.get_tokenizer(source)
    with loading(named):
        found = library.get_tokenizer(source, local_files_only=True, trust_remote_code=False)
        fitting(found.tokenizer, named, config["text_cfg"]["vocab_size"])
        return found


def _from_name(library: Any, model: str, weights: str, target: str) -> tuple[str, Any]:
    """The stored name and the network of `MODEL@WEIGHTS`."""
    config = library.get_model_config(model)
    if config is None:
        raise UsageError(f"open_clip has no model {model!r}, and no folder has that name")
    tags = library.list_pretrained_tags_by_model(model)
    if not weights:
        known = f"; known: {', '.join(tags)}" if tags else ""
        raise UsageError(f"name the weights: open_clip:{model}@WEIGHTS_OR_FILE{known}")
    _refuse_text_download(config, model)
    if weights in tags:
        source = library.get_pretrained_cfg(model, weights)
        path = _cached(source.get("hf_hub", ""), f"open_clip {model}@{weights}")
        preprocessing = {key: source[key] for key in PREPROCESSING if key in source}
        options = {"force_quick_gelu": bool(source.get("quick_gelu")), "force_preprocess_cfg": preprocessing}
        return f"open_clip:{model}@{weights}", _load(library, model, path, target, options)
    path = Path(weights)
    if path.suffix != ".safetensors":
        raise UsageError(f"weights must be one of {', '.join(tags) or '(none known)'} or a .safetensors file: {path}")
    if not path.is_file():
        raise UsageError(f"no such weights file: {path}")
    return stored_name(f"open_clip:{model}", path), _load(library, model, path, target, {})


def _from_folder(library: Any, folder: Path, target: str) -> tuple[str, Any]:
    """The stored name and the network of a folder as open_clip publishes them."""
    path = folder / WEIGHTS_FILE
    if not path.is_file() or not (folder / CONFIG_FILE).is_file():
        raise not_here(f"{folder} (wanted in it: {CONFIG_FILE} and {WEIGHTS_FILE})")
    with loading(str(folder)):
        _refuse_text_download(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["model_cfg"], str(folder))
    network = _load(library, f"local-dir:{folder}", None, target, {})
    return stored_name(f"open_clip:{folder.resolve().name}", path), network


def _refuse_text_download(config: Mapping[str, Any], model: str) -> None:
    if "hf_model_name" in config["text_cfg"]:
        raise UsageError(f"{model}: open_clip would download its text tower; name a model with a text tower of its own")


def _cached(repository: str, what: str) -> Path:
    """The safetensors file of an `OWNER/NAME/[FILE]` entry of open_clip's table, from the local cache alone."""
    cache = require("huggingface_hub", "openclip")
    owner_and_name, _, file = repository.rpartition("/")
    file = str(Path(file).with_suffix(".safetensors")) if file else WEIGHTS_FILE
    found = cache.try_to_load_from_cache(owner_and_name, file) if owner_and_name else None
    if not isinstance(found, str):  # None: unknown; a sentinel object: known not to exist
        raise not_here(what, f"{owner_and_name} {file}" if owner_and_name else "")
    return Path(found)


def _load(library: Any, model: str, weights: Path | None, target: str, options: Mapping[str, Any]) -> Any:
    with loading(model):
        return library.create_model(
            model,
            pretrained=None if weights is None else str(weights),
            device=target,
            require_pretrained=True,
            **options,
        )
