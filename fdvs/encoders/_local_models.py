"""What the encoders that run real models share: optional imports, weights that are already here, unit rows.

Nothing is downloaded at run time. A model is a folder, a file, or a name whose files are in the user's Hugging Face
cache; weights are safetensors, which carry no code.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fdvs.encoders import _torchvision_shim
from fdvs.errors import BackendUnavailableError, FdvsError

BATCH = 32
_Item = TypeVar("_Item")
_REPOSITORY = re.compile(r"([\w-][\w.-]*/)?[\w-][\w.-]*", re.ASCII)  # OWNER/NAME or NAME


def require(module: str, extra: str) -> Any:
    """Import `module`, which the named extra of fdvs installs, with torchvision made harmless first.

    Raises:
        BackendUnavailableError: it cannot be imported; the message names the extra.
    """
    try:
        _torchvision_shim.install()
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendUnavailableError(f"{module} cannot be imported ({error}); pip install 'fdvs[{extra}]'") from error


def not_here(model: str, download: str = "") -> BackendUnavailableError:
    """The error for a model without usable files here; `download` is what `hf download` would have to be given."""
    hint = f"; to get it once: hf download {download}" if download else ""
    return BackendUnavailableError(
        f"{model} is neither a folder with safetensors weights nor in the local Hugging Face cache, and fdvs downloads "
        f"nothing by itself{hint}"
    )


@contextmanager
def loading(model: str) -> Iterator[None]:
    """Turns what the libraries raise for missing, damaged or ill-fitting files into BackendUnavailableError."""
    if "transformers" in sys.modules:
        sys.modules["transformers"].utils.logging.disable_progress_bar()  # stderr belongs to fdvs's own progress
    damaged = require("safetensors", "models").SafetensorError
    try:
        yield
    except FdvsError:
        raise
    except OSError as error:
        named = _REPOSITORY.fullmatch(model) and not Path(model).exists()
        raise not_here(repr(model), model if named else "") from error
    except (RuntimeError, ValueError, KeyError, TypeError, ImportError, damaged) as error:
        raise BackendUnavailableError(f"{model} cannot be loaded: {error}") from error


def device(torch: Any) -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def stored_name(model: str, weights: Path) -> str:
    """`model@digest`, the digest being 8 hex digits over all safetensors bytes in `weights` (a file or a folder).

    Vectors carry it, so that two fine-tunings kept under one file name are never compared, and so that no folder of
    this machine ends up in a library or an export.
    """
    files = sorted(weights.rglob("*.safetensors")) if weights.is_dir() else [weights]
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as handle:
            total.update(hashlib.file_digest(handle, "sha256").digest())
    return f"{model}@{total.hexdigest()[:8]}"


def in_batches(
    encode: Callable[[Sequence[_Item]], NDArray[np.float32]], items: Sequence[_Item], dimension: int
) -> NDArray[np.float32]:
    """`[N, dimension]`: the rows that `encode` gives for all items, `BATCH` of them at a time."""
    rows = [np.empty((0, dimension), np.float32)]
    rows += [encode(items[start : start + BATCH]) for start in range(0, len(items), BATCH)]
    return np.concatenate(rows)


def pretrained(model_class: Any, model: str, target: str, dtype: Any) -> Any:
    """A network of `model_class` with the weights of `model`, ready to be used on the device `target`."""
    network = model_class.from_pretrained(
        model, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=dtype
    )
    return network.to(target).eval()


def tokenizer_of(transformers: Any, model: str, vocabulary_size: int) -> Any:
    """The tokenizer of `model`, whose network knows `vocabulary_size` tokens."""
    found = transformers.AutoTokenizer.from_pretrained(model, local_files_only=True, trust_remote_code=False)
    return fitting(found, model, vocabulary_size)


def fitting(tokenizer: Any, model: str, vocabulary_size: int) -> Any:
    """The tokenizer itself, if it can be that of `model`.

    Where its files are missing transformers makes up an empty one, which turns every text into the same few tokens.

    Raises:
        BackendUnavailableError: it knows less than half of the tokens that the network knows.
    """
    if 2 * len(tokenizer) < vocabulary_size:
        raise BackendUnavailableError(
            f"{model}: no tokenizer here that fits it ({len(tokenizer)} tokens of {vocabulary_size}); get all its files"
        )
    return tokenizer
