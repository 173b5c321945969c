"""How values become columns and come back: paths, JSON, vectors, text."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fdvs.errors import InputError, StoreError
from fdvs.records import DuplicateGroup, DuplicateMember, FrameSelection, Probe, Sentence, Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SPACES = re.compile(r"\s+")
_SURROGATES = re.compile("[\ud800-\udfff]")


def path_column(path: str) -> str | bytes:
    """A file name is bytes on Linux: where they are not UTF-8, store the bytes."""
    if path.isascii() or not _SURROGATES.search(path):
        return path
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:  # never came from a file name
        return text_column(path)


def path_value(column: str | bytes) -> str:
    return os.fsdecode(column) if isinstance(column, bytes) else column


def text_column(text: str) -> str:
    """Text that SQLite can hold: a lone surrogate (from broken JSON or subtitles) becomes U+FFFD."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def json_column(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def vector_column(vector: NDArray[np.float32]) -> bytes:
    """float32, little-endian, whatever the machine."""
    import numpy as np

    if vector.ndim != 1 or not vector.size or not np.isfinite(vector).all():
        raise InputError(f"a vector is one row of finite numbers, got shape {vector.shape}")
    return vector.astype("<f4").tobytes()


def vector_value(column: bytes) -> NDArray[np.float32]:
    import numpy as np

    return np.frombuffer(column, dtype="<f4").astype(np.float32)


def layouts_column(layouts: NDArray[np.uint8]) -> bytes:
    return layouts.tobytes()


def layouts_value(column: bytes, count: int) -> NDArray[np.uint8]:
    """`[count, size]`, read-only."""
    import numpy as np

    size, rest = divmod(len(column), count) if count else (0, len(column))
    if rest:
        raise StoreError(f"the layouts of a clip with {count} samples have {len(column)} bytes")
    return np.frombuffer(column, np.uint8).reshape(count, size)


def normalised(text: str) -> str:
    """What makes two texts the same to a reader: case, spaces and a final stop do not count."""
    return _SPACES.sub(" ", text).strip().rstrip(".!").casefold()


def text_key(text: str) -> str:
    """Equal for texts that are the same once normalised; empty for no text."""
    same = normalised(text)
    return hashlib.sha256(same.encode("utf-8", "replace")).hexdigest()[:16] if same else ""


def probe_value(column: str | None) -> Probe | None:
    if column is None:
        return None
    data = json.loads(column)
    return Probe(**{**data, "streams": tuple(data["streams"]), "warnings": tuple(data["warnings"])})


def selection_column(selection: FrameSelection | None) -> str | None:
    if selection is None:
        return None
    # Flat: `asdict` would copy every number of every clip.
    return json_column({item.name: getattr(selection, item.name) for item in dataclasses.fields(selection)})


def selection_value(column: str | None) -> FrameSelection | None:
    if column is None:
        return None
    data = json.loads(column)
    return FrameSelection(
        clip_id=data["clip_id"],
        sampled_ms=tuple(data["sampled_ms"]),
        kept_ms=tuple(data["kept_ms"]),
        similarities=tuple(data["similarities"]),
        rule=data["rule"],
        reference_ms=tuple(data["reference_ms"]),
    )


def sentences_value(column: str) -> tuple[Sentence, ...]:
    return tuple(Sentence(text, tuple(sources)) for text, sources in json.loads(column))


def group_column(group: DuplicateGroup) -> str:
    return json_column(dataclasses.asdict(group))


def group_value(column: str) -> DuplicateGroup:
    data = json.loads(column)
    members = tuple(DuplicateMember(**{**m, "span": _span(m["span"])}) for m in data["members"])
    span = _span(data["representative_span"])
    return DuplicateGroup(**{**data, "representative_span": span, "members": members})


def _span(data: Mapping[str, Any]) -> Span:
    return Span(data["start_ms"], data["end_ms"])
