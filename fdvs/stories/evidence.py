"""What the tree knows of one clip before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fdvs.records import Caption, CaptionKind, Clip, Outcome, ShownPage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fdvs.captioners.measures import PictureFacts

MEASURED = "builtin"  # the back end whose captions are measured facts in words
TAGGER = "clip"  # the back end that picks names from a fixed list, with how sure it is
IMPORTED = "import"  # the back end of captions that another tool wrote


@dataclass(frozen=True, slots=True)
class ClipEvidence:
    """Everything the tree needs of one clip.

    Attributes:
        captions: of this clip, whatever their kind and outcome; a caption belongs to the clip in which it starts.
        picture: [D] mean picture vector, unit length; None where no picture was decoded.
        facts: what the built-in captioner measured; None where nothing was.
        pages: on-screen text that first appears in this clip, in time order; its captions are among `captions`.
    """

    clip: Clip
    captions: tuple[Caption, ...]
    picture: NDArray[np.float32] | None
    facts: PictureFacts | None
    pages: tuple[ShownPage, ...] = ()

    @property
    def is_worded(self) -> bool:
        """Whether any of its text was said, shown, or written by a model or a person, not only measured."""
        return any(caption.text and caption.backend != MEASURED for caption in self.captions)

    def told(self, *kinds: CaptionKind) -> list[Caption]:
        """The captions of these kinds that carry text, by kind in the order given, then by time."""
        usable = [c for c in self.captions if c.outcome in (Outcome.OK, Outcome.TRUNCATED) and c.text.strip()]
        return sorted((c for c in usable if c.kind in kinds), key=lambda c: (kinds.index(c.kind), c.span, c.id))
