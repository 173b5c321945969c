"""One model that looks at the frames of a clip, and its words as a caption: what the paper's three have in common."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fdvs.captioners.base import ClipInput
from fdvs.captioners.guesses import plain
from fdvs.records import Caption, CaptionKind, Outcome, TimedPicture, content_id

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NO_PICTURE = "no picture was decoded"
# What models raise on one clip that they cannot work on: out of memory, shapes that do not fit, damaged pictures.
TROUBLE = (RuntimeError, ValueError, OSError)
MAX_REASON_CHARS = 200


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model says of a clip; `outcome` is `TRUNCATED` where its words ended at a limit."""

    text: str
    outcome: Outcome = Outcome.OK


class Perceiver(Protocol):
    """A model that looks at one clip.

    Attributes:
        backend: goes into `Caption.backend`.
        kind: of its captions.
        sees_all_samples: whether it gets all samples of a clip, or those that visual redundancy kept.
    """

    backend: str
    kind: CaptionKind
    sees_all_samples: bool

    def see(self, pictures: Sequence[TimedPicture]) -> Seen:
        """What is to be said of the pictures (at least one, in time order). Raises one of `TROUBLE` for a clip that it
        cannot work on."""
        ...


def decoded(pictures: Sequence[TimedPicture]) -> list[NDArray[np.uint8]]:
    """Each picture as RGB `[H, W, 3]`; OSError where one is no readable JPEG file."""
    import numpy as np
    from PIL import Image

    found = []
    for picture in pictures:
        with Image.open(io.BytesIO(picture.jpeg), formats=("JPEG",)) as image:
            found.append(np.asarray(image.convert("RGB"), np.uint8))
    return found


def kept_of(clip: ClipInput) -> tuple[TimedPicture, ...]:
    """The pictures of a clip that visual redundancy kept; all where nothing is said of that."""
    if not clip.kept_ms:
        return clip.pictures
    kept = set(clip.kept_ms)
    return tuple(picture for picture in clip.pictures if picture.time_ms in kept)


def perceived(clip: ClipInput, by: Perceiver, settings_hash: str) -> Caption:
    """The caption that `by` writes of a clip; trouble with this clip is its outcome."""
    pictures = clip.pictures if by.sees_all_samples else kept_of(clip)
    if not pictures:
        return caption_of(clip, by.kind, by.backend, settings_hash, failed=NO_PICTURE)
    try:
        seen = by.see(pictures)
    except TROUBLE as error:
        reason = plain(f"{type(error).__name__}: {error}", MAX_REASON_CHARS)
        return caption_of(clip, by.kind, by.backend, settings_hash, failed=reason)
    return caption_of(clip, by.kind, by.backend, settings_hash, seen)


def caption_of(
    clip: ClipInput, kind: CaptionKind, backend: str, settings_hash: str, seen: Seen | None = None, *, failed: str = ""
) -> Caption:
    """A caption of the whole clip with an id of its own: what was `seen`, or why that `failed`."""
    return Caption(
        id=content_id("cap", clip.clip.id, kind, backend, settings_hash),
        clip_id=clip.clip.id,
        span=clip.clip.span,
        kind=kind,
        text=seen.text if seen else "",
        outcome=seen.outcome if seen else Outcome.FAILED,
        reason=failed,
        backend=backend,
        settings_hash=settings_hash,
    )
