"""What became of the captions of one video: those that failed, and those that say the same of different pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fdvs.captioners.outcomes import same_on_many
from fdvs.records import CaptionKind, Outcome, clock
from fdvs.stories.evidence import MEASURED, ClipEvidence
from fdvs.stories.words import same_text_key

ALIKE = 0.95  # cosine of two clips' mean pictures from which the same words about both are no wonder
_DIFFERENT_SHARE = 0.5  # of the clips with the same words: if so many look different, nobody has looked


def flag_same_words(evidence: Sequence[ClipEvidence], captioner: str) -> list[ClipEvidence]:
    """The evidence with a reason beside each caption of what is seen whose words stand on many different pictures.

    The text stays: it may be true. `--retry-failed` asks again for it.
    """
    texts = [_seen(one, captioner) for one in evidence]
    flagged = {
        key: count for key, count in same_on_many(texts).items() if _look_different(_with_key(evidence, texts, key))
    }
    if not flagged:
        return list(evidence)
    return [_flagged(one, captioner, flagged) for one in evidence]


def _seen(one: ClipEvidence, captioner: str) -> str:
    return " ".join(c.text for c in one.captions if c.backend == captioner and c.kind is CaptionKind.VISUAL)


def _with_key(evidence: Sequence[ClipEvidence], texts: Sequence[str], key: str) -> list[ClipEvidence]:
    return [one for one, text in zip(evidence, texts, strict=True) if text and same_text_key(text) == key]


def _look_different(clips: Sequence[ClipEvidence]) -> bool:
    pictures = [one.picture for one in clips if one.picture is not None]
    if len(pictures) < 2:
        return False
    rows = np.stack(pictures)
    return bool((rows[1:] @ rows[0] < ALIKE).mean() >= _DIFFERENT_SHARE)


def _flagged(one: ClipEvidence, captioner: str, flagged: dict[str, int]) -> ClipEvidence:
    def told(text: str) -> str:
        count = flagged.get(same_text_key(text), 0)
        return f"the same words on {count} clips" if count else ""

    captions = tuple(
        replace(c, reason=c.reason or told(c.text)) if c.backend == captioner and c.kind is CaptionKind.VISUAL else c
        for c in one.captions
    )
    return replace(one, captions=captions)


def outcome_warnings(evidence: Sequence[ClipEvidence]) -> list[str]:
    """A line for each back end and way in which a model's captions are not what they should be: how many, the first,
    and the most frequent reason."""
    found: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for one in evidence:
        for caption in one.captions:
            if caption.kind in _SEEN and caption.backend not in _NO_MODEL and (caption.reason or not caption.text):
                kind = "flagged" if caption.outcome is Outcome.OK else str(caption.outcome)
                found.setdefault((caption.backend, kind), []).append((caption.span.start_ms, caption.reason))
    lines = []
    for (backend, kind), places in sorted(found.items()):
        reason = Counter(reason for _, reason in places).most_common(1)[0][0]
        lines.append(
            f"{len(places)} of {len(evidence)} captions by {backend} {_SAID[kind]}, the first at "
            f"{clock(min(places)[0])}: {reason} (--retry-failed asks again)"
        )
    return lines


_SEEN = (CaptionKind.VISUAL, CaptionKind.ACTION, CaptionKind.OBJECTS)
_NO_MODEL = (MEASURED, "import")
_SAID = {
    "flagged": "say the same of different pictures",
    "failed": "failed",
    "refused": "were refused",
    "truncated": "were cut",
}
