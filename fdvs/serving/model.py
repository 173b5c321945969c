"""The model that is to be served: its files, its name, how much it can read, and whether it sees."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdvs.encoders._local_models import not_here, stored_name
from fdvs.errors import InputError


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model on this machine's disk.

    Attributes:
        name: what requests call it.
        folder: with its files; absolute.
        context_tokens: the most it can read and write together; 0 where its files do not say.
        sees: takes pictures.
    """

    name: str
    folder: Path
    context_tokens: int
    sees: bool


def find_model(model: str) -> tuple[str, Path]:
    """Name and folder of a model: a folder, or what the local Hugging Face cache has under its name.

    A folder's name carries a digest of its weights, as everywhere else in fdvs.

    Raises:
        BackendUnavailableError: it is not on this machine.
    """
    folder = Path(model)
    if folder.is_dir():
        return stored_name(folder.resolve().name, folder), folder
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise not_here(repr(model)) from None
    try:
        return model, Path(snapshot_download(model, local_files_only=True))
    except HFValidationError:
        raise not_here(repr(model)) from None
    except LocalEntryNotFoundError:
        raise not_here(repr(model), model) from None


def served_model(name: str, folder: Path) -> ServedModel:
    """What the files of a model say about it.

    Raises:
        InputError: the folder holds no model.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} holds no model: there is no config.json in it") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} is not the description of a model")
    return ServedModel(name, folder.resolve(), _context_tokens(config), "vision_config" in config)


def _context_tokens(config: dict[str, Any]) -> int:
    """Models that see keep the description of their language model in a part of their own."""
    for part in (config, config.get("text_config"), config.get("llm_config")):
        if isinstance(part, dict) and isinstance(part.get("max_position_embeddings"), int):
            return int(part["max_position_embeddings"])
    return 0
