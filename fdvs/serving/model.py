"""The model that is to be served: its files, its name, how much it can read, and whether it sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdvs.chat.local import read_json


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


def served_model(name: str, folder: Path) -> ServedModel:
    """What the files of a model say about it.

    Raises:
        BackendUnavailableError: its config.json is missing or cannot be read.
    """
    config = read_json(folder / "config.json")
    return ServedModel(name, folder.resolve(), _context_tokens(config), "vision_config" in config)


def _context_tokens(config: Mapping[str, Any]) -> int:
    """Models that see keep the description of their language model in a part of their own."""
    for part in (config, config.get("text_config"), config.get("llm_config")):
        if isinstance(part, Mapping) and isinstance(part.get("max_position_embeddings"), int):
            return int(part["max_position_embeddings"])
    return 0
