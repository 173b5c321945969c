"""The vectors of all names that tags are chosen from: made once, kept for the process and on this machine.

Thousands of sentences take a text tower half a minute on a laptop, and every video has a process of its own. What is
kept is only believed if a few names, encoded anew, come out the same: weights may have changed under one name.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fdvs.captioners import vocabulary as names
from fdvs.captioners.vocabulary import KINDS

if TYPE_CHECKING:
    from fdvs.encoders.image_text import ImageTextModel

NUM_CHECKED = 8  # names that are encoded anew, spread over all kinds
SAME = 1e-3  # by which a coordinate of a unit vector may differ between machines and batches

_KNOWN: dict[tuple[str, str], dict[str, NDArray[np.float32]]] = {}
_log = logging.getLogger(__name__)


def text_vectors(model: ImageTextModel) -> dict[str, NDArray[np.float32]]:
    """The vectors `[names + rivals, D]` of every kind."""
    key = (model.name, names.fingerprint())
    if key not in _KNOWN:
        prompts = [names.vocabulary(kind).prompts() for kind in KINDS]
        rows = _kept_or_made(model, [sentences for of_kind in prompts for sentences in of_kind], _file(*key))
        ends = np.cumsum([len(of_kind) for of_kind in prompts])[:-1]
        _KNOWN[key] = dict(zip(KINDS, np.split(rows, ends), strict=True))
    return _KNOWN[key]


def ensembled(model: ImageTextModel, prompts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    """`[N, D]`: for each name the unit mean of the vectors of its sentences; equal sentences go to the model once, and
    those of about one length together."""
    distinct = sorted({text for texts in prompts for text in texts}, key=lambda text: (len(text), text))
    at = {text: row for row, text in enumerate(distinct)}
    vectors = model.encode_texts(distinct)
    means = np.stack([vectors[[at[text] for text in texts]].mean(axis=0) for texts in prompts])
    unit: NDArray[np.float32] = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return unit


def _kept_or_made(model: ImageTextModel, prompts: Sequence[Sequence[str]], file: Path) -> NDArray[np.float32]:
    kept = _read(file)
    if kept is not None and kept.shape == (len(prompts), model.dimension):
        checked = np.linspace(0, len(prompts) - 1, NUM_CHECKED).astype(int)
        anew = ensembled(model, [prompts[index] for index in checked])
        if np.abs(kept[checked] - anew).max() <= SAME:
            return kept
        _log.info("tags: the vectors kept for %s are those of other weights; made anew", model.name)
    rows = ensembled(model, prompts)
    _write(file, rows)
    return rows


def _file(model: str, fingerprint: str) -> Path:
    """Where vectors are kept: in the user's folder for what can be made again."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fdvs" / "tags"
    return folder / f"{hashlib.sha256(f'{model} {fingerprint}'.encode()).hexdigest()[:32]}.npy"


def _read(file: Path) -> NDArray[np.float32] | None:
    """The rows in a file; None where there is none that can be used."""
    try:
        rows = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return rows if rows.dtype == np.float32 and rows.ndim == 2 else None


def _write(file: Path, rows: NDArray[np.float32]) -> None:
    """Put the rows there as one, for all processes; where that is not possible, they are made again next time."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
            np.save(part, rows, allow_pickle=False)
        Path(part.name).replace(file)
    except OSError as error:
        _log.info("tags: vectors of names are not kept (%s)", error)
