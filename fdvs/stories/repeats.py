"""Captions, or chapters, of one video that say what an earlier one said: found, and recorded as groups.

Speech is left alone: what is said twice is meant twice. What was measured says a few things in a few words, so only
equal captions repeat there; captions of a model or a person, and text on the screen, are compared by the mode that is
set, each distinct one once.

In the paper's modes a unit is a chapter: everything that is told of a clip, speech included; it goes as a whole. Where
a model has written the chapters, these are what is compared (papers: FDVS section 5.3), in any mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fdvs.languages.detect import detect
from fdvs.languages.families import stemmer
from fdvs.languages.terms import terms
from fdvs.records import Caption, CaptionKind, DuplicateGroup, DuplicateMember, StoryNode
from fdvs.redundancy.textual import PAPER_MODES, Reduction, TextRule, reduce_units
from fdvs.settings import StorySettings
from fdvs.store.postings import WRITTEN
from fdvs.stories.evidence import MEASURED, ClipEvidence
from fdvs.stories.lines import SEEN, closed
from fdvs.stories.words import one_line, split_sentences

if TYPE_CHECKING:
    from fdvs.encoders.text import TextEncoder

Unit = Sequence[Caption] | Sequence[StoryNode]  # what stays or goes together: captions, or one chapter; at least one


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
        return tuple(_groups(video_id, chapters, _by_meaning([told_text(unit) for unit in chapters], rule, encoder)))
    seen = sorted((c for one in clips for c in one.told(*SEEN)), key=lambda c: (c.span, c.id))
    measured: list[list[Caption]] = [[caption] for caption in seen if caption.backend == MEASURED]
    worded: list[list[Caption]] = [[caption] for caption in seen if caption.backend != MEASURED]
    equal = TextRule("exact")
    found = [
        *_groups(
            video_id, measured, reduce_units(_stems([told_text(unit) for unit in measured], WRITTEN), None, equal)
        ),
        *_groups(video_id, worded, _by_words_and_meaning([told_text(unit) for unit in worded], rule, encoder)),
    ]
    return tuple(sorted(found, key=lambda group: (group.representative_span, group.representative_id)))


def chapter_repeats(
    video_id: str, chapters: Sequence[StoryNode], settings: StorySettings, encoder: TextEncoder
) -> tuple[DuplicateGroup, ...]:
    """Groups (kind `textual`, ids of nodes) of chapters that say the same, in the order of their representatives.

    Args:
        chapters: of this video, in time order, as they are written; one without text says nothing and takes no part.
        settings, encoder: as for `text_repeats`.
    """
    rule = TextRule(settings.text_redundancy, settings.text_threshold, settings.text_memory)
    told = [node for node in chapters if node.text.strip()]
    if rule.mode == "none" or not told:
        return ()
    reduce = _by_meaning if rule.mode in PAPER_MODES else _by_words_and_meaning
    return tuple(_groups(video_id, [[node] for node in told], reduce([node.text for node in told], rule, encoder)))


def multiplicities(groups: Sequence[DuplicateGroup]) -> dict[str, int]:
    """{caption id: how many captions it stands for, itself included} of the representatives of textual groups; any
    other caption that stayed stands for itself."""
    return {group.representative_id: 1 + len(group.members) for group in groups if group.kind == "textual"}


def _by_words_and_meaning(texts: Sequence[str], rule: TextRule, encoder: TextEncoder) -> Reduction:
    """Equal texts first, so that only distinct ones are encoded; then the mode, on what is left."""
    stems = _stems(texts, _language(texts))
    equal = reduce_units(stems, None, TextRule("exact"))
    if rule.mode == "exact" or not texts:
        return equal
    vectors = encoder.encode([texts[i] for i in equal.kept])
    further = reduce_units([stems[i] for i in equal.kept], vectors, rule, weights=equal.multiplicity)
    return equal.then(further)


def _by_meaning(texts: Sequence[str], rule: TextRule, encoder: TextEncoder) -> Reduction:
    if not texts:
        return reduce_units([], None, TextRule("none"))
    return reduce_units([[text] for text in texts], encoder.encode(texts), rule)


def _stems(texts: Sequence[str], language: str) -> list[list[str]]:
    stem = stemmer(language)
    return [[stem(term) for term in terms(text)] or [text] for text in texts]


def _language(texts: Sequence[str]) -> str:
    """The language that most of the texts are in: one language's stemmer for all, or none."""
    return detect("\n".join(dict.fromkeys(texts)))


def told_text(unit: Sequence[Caption]) -> str:
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
            DuplicateMember(one.id, video_id, one.span, removal.similarity, removal.rule) for one in units[removal.unit]
        )
    for unit, gone in sorted(members.items()):
        first = units[unit][0]
        yield DuplicateGroup("textual", first.id, video_id, first.span, tuple(gone))
