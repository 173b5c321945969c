"""Captions of one video that say what an earlier one said: found, and recorded as groups.

Speech is left alone: what is said twice is meant twice. What was measured says a few things in a few words, so only
equal captions repeat there; captions of a model or a person, and text on the screen, are compared by the mode that is
set, each distinct one once.

In the paper's modes a unit is a chapter: everything that is told of a clip, speech included; it goes as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fdvs.languages.detect import detect
from fdvs.languages.families import stemmer
from fdvs.languages.terms import terms
from fdvs.records import Caption, CaptionKind, DuplicateGroup, DuplicateMember
from fdvs.redundancy.textual import PAPER_MODES, Reduction, TextRule, reduce_units
from fdvs.settings import StorySettings
from fdvs.store.postings import WRITTEN
from fdvs.stories.evidence import MEASURED, ClipEvidence
from fdvs.stories.lines import SEEN, closed
from fdvs.stories.words import one_line, split_sentences

if TYPE_CHECKING:
    from fdvs.encoders.text import TextEncoder

Unit = Sequence[Caption]  # the captions that stay or go together, at least one


def text_repeats(
    video_id: str, clips: Sequence[ClipEvidence], settings: StorySettings, encoder: TextEncoder
) -> tuple[DuplicateGroup, ...]:
    """Groups (kind `textual`) of captions that say the same, in the order of their representatives.

    Args:
        clips: of this video, in time order.
        settings: `text_redundancy`, `text_threshold`, `text_memory`.
        encoder: called with each distinct text once at most, and not at all for `none` and `exact`.
    """
    rule = TextRule(settings.text_redundancy, settings.text_threshold, settings.text_memory)
    if rule.mode == "none":
        return ()
    if rule.mode in PAPER_MODES:
        chapters = [told for one in clips if (told := one.told(*SEEN, CaptionKind.SPEECH))]
        return tuple(_groups(video_id, chapters, _by_meaning(chapters, rule, encoder)))
    seen = sorted((c for one in clips for c in one.told(*SEEN)), key=lambda c: (c.span, c.id))
    measured: list[Unit] = [[caption] for caption in seen if caption.backend == MEASURED]
    worded: list[Unit] = [[caption] for caption in seen if caption.backend != MEASURED]
    equal = TextRule("exact")
    found = [
        *_groups(video_id, measured, reduce_units(_stems(measured, WRITTEN), None, equal)),
        *_groups(video_id, worded, _by_words_and_meaning(worded, rule, encoder)),
    ]
    return tuple(sorted(found, key=lambda group: (group.representative_span, group.representative_id)))


def multiplicities(groups: Sequence[DuplicateGroup]) -> dict[str, int]:
    """{caption id: how many captions it stands for, itself included} of the representatives of textual groups; any
    other caption that stayed stands for itself."""
    return {group.representative_id: 1 + len(group.members) for group in groups if group.kind == "textual"}


def _by_words_and_meaning(units: Sequence[Unit], rule: TextRule, encoder: TextEncoder) -> Reduction:
    """Equal captions first, so that only distinct ones are encoded; then the mode, on what is left."""
    stems = _stems(units, _language(units))
    equal = reduce_units(stems, None, TextRule("exact"))
    if rule.mode == "exact" or not units:
        return equal
    vectors = encoder.encode([told_text(units[i]) for i in equal.kept])
    further = reduce_units([stems[i] for i in equal.kept], vectors, rule, weights=equal.multiplicity)
    return equal.then(further)


def _by_meaning(units: Sequence[Unit], rule: TextRule, encoder: TextEncoder) -> Reduction:
    texts = [told_text(unit) for unit in units]
    if not texts:
        return reduce_units([], None, TextRule("none"))
    return reduce_units([[text] for text in texts], encoder.encode(texts), rule)


def _stems(units: Sequence[Unit], language: str) -> list[list[str]]:
    stem = stemmer(language)
    texts = [told_text(unit) for unit in units]
    return [[stem(term) for term in terms(text)] or [text] for text in texts]


def _language(units: Sequence[Unit]) -> str:
    """The language that most of the captions are in: one language's stemmer for all, or none."""
    return detect("\n".join(dict.fromkeys(told_text(unit) for unit in units)))


def told_text(unit: Unit) -> str:
    """A unit's text as its clip tells it, so that most texts are encoded for the clip's node anyway."""
    return " ".join(closed(sentence) for caption in unit for sentence in _sentences(caption))


def _sentences(caption: Caption) -> list[str]:
    if caption.backend == MEASURED or caption.kind in (CaptionKind.SCREEN_TEXT, CaptionKind.SPEECH):
        return [one_line(caption.text)]
    return split_sentences(caption.text)


def _groups(video_id: str, units: Sequence[Unit], reduction: Reduction) -> Iterator[DuplicateGroup]:
    members: dict[int, list[DuplicateMember]] = {}
    for removal in reduction.removed:
        members.setdefault(removal.neighbour, []).extend(
            DuplicateMember(caption.id, video_id, caption.span, removal.similarity, removal.rule)
            for caption in units[removal.unit]
        )
    for unit, gone in sorted(members.items()):
        first = units[unit][0]
        yield DuplicateGroup("textual", first.id, video_id, first.span, tuple(gone))
