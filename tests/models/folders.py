"""Folders that look like downloaded models: what finding one needs, and no more."""

from __future__ import annotations

import os
from pathlib import Path

from fdvs.models.here import repository_folder
from fdvs.models.table import Role, default_for


def model_folder(folder: Path, weights: bytes = b"weights") -> Path:
    """A folder with a configuration and weights."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def downloaded(role: Role, size: str) -> tuple[str, Path]:
    """The recommended model of a role, put into the cache at its revision; its label and its folder."""
    model = default_for(role, size)
    folder = model_folder(repository_folder(model.name, os.environ) / "snapshots" / model.revision)
    return f"{model.name}@{model.revision[:8]}", folder
