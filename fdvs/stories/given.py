"""What a writing model is given of each node: the lines of its children, in the order of time, and whose they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from fdvs.prompts.writer import NumberedLine
from fdvs.records import Caption, CaptionKind, DuplicateGroup, Level, Span, StoryNode
from fdvs.stories.budget import Item
from fdvs.stories.evidence import MEASURED, ClipEvidence
from fdvs.stories.lines import Line
from fdvs.stories.phases import phase_phrase
from fdvs.stories.words import one_line, same_text_key

_GAP_MS = 500  # a shorter gap does not end what goes on
_LABELS = {
    CaptionKind.VISUAL: "seen",
    CaptionKind.ACTION: "action",
    CaptionKind.OBJECTS: "objects",
    CaptionKind.SCREEN_TEXT: "on screen",
    CaptionKind.SPEECH: "said",
}
_PERCEPTION = (CaptionKind.ACTION, CaptionKind.OBJECTS, CaptionKind.VISUAL, CaptionKind.SCREEN_TEXT, CaptionKind.SPEECH)


class Given:
    """The lines of one video's nodes.

    Args:
        clips: in time order.
        lines: of each clip, what the built-in writer tells of it.
        duplicates: captions that a textual group names as members are not told again where there is anything else.
    """

    def __init__(
        self,
        clips: Sequence[ClipEvidence],
        lines: Sequence[Sequence[Line]],
        duplicates: Sequence[DuplicateGroup],
        *,
        is_paper: bool,
    ) -> None:
        self._lines = {one.clip.id: of_clip for one, of_clip in zip(clips, lines, strict=True)}
        self._evidence = {one.clip.id: one for one in clips}
        self._spans = {one.id: one.span for evidence in clips for one in evidence.captions}
        self._duration_ms = clips[-1].clip.span.end_ms
        self._is_paper = is_paper
        self._members = {member.id for one in duplicates if one.kind == "textual" for member in one.members}
        self._set_aside: Collection[str] = ()

    def set_aside(self, nodes: Collection[str]) -> None:
        """Leave these nodes out of what stands above them, where there is anything else."""
        self._set_aside = nodes

    def lines(self, node: StoryNode, known: Mapping[str, StoryNode]) -> list[Item]:
        """The lines of a node's children.

        Args:
            known: all nodes below it, as they are written now.
        """
        children = [known[child] for child in node.children]
        if children[0].level is Level.CLIP:
            return self._of_clips(node)
        if self._is_paper and node.level is Level.VIDEO:
            # The published story is told from all kept chapters at once; parts only hold the tree together.
            children = [one for one in known.values() if one.level is Level.CHAPTER]
        children = [one for one in children if one.id not in self._set_aside] or children
        with_phrases = self._is_paper or node.level is Level.VIDEO
        items: list[Item] = []
        for child in children:
            phrase = phase_phrase(child.span.start_ms, self._duration_ms) if with_phrases else ""
            items += [Item(replace(line, phrase=phrase), (child.id,)) for line in self._told(child, known)]
        return items

    def perception(self, clip_id: str) -> list[Item]:
        """What was recognised in one clip, value by value: the action, then the rest by time."""
        told = sorted(
            self._evidence[clip_id].told(*_PERCEPTION),
            key=lambda one: (one.kind is not CaptionKind.ACTION, one.span.start_ms, _PERCEPTION.index(one.kind)),
        )
        return [Item(NumberedLine(one.span, _perception_label(one), one_line(one.text)), (clip_id,)) for one in told]

    def _of_clips(self, node: StoryNode) -> list[Item]:
        """The lines of clips. What textual redundancy has set aside is told again only where nothing else is; what
        was measured says a few things in a few words and is told as long as it lasts."""
        lines = [(clip, line) for clip in node.children for line in self._lines[clip]]
        new = [(clip, line) for clip, line in lines if line.is_measured or not self._members.issuperset(line.sources)]
        return _folded([Item(_numbered(line), (clip,)) for clip, line in new or lines])

    def _told(self, node: StoryNode, known: Mapping[str, StoryNode]) -> list[NumberedLine]:
        """The sentences of a node above the clips, each with the time of what it was made from."""
        told = []
        for sentence in node.sentences:
            spans = [self._spans.get(source) or known[source].span for source in sentence.sources]
            told.append(NumberedLine(Span.union(spans), "told", sentence.text))
        return told


def _numbered(line: Line) -> NumberedLine:
    label = "measured" if line.is_measured else _LABELS[line.kind]
    return NumberedLine(Span(line.start_ms, max(line.end_ms, line.start_ms + 1)), label, line.plain)


def _perception_label(caption: Caption) -> str:
    if caption.kind is CaptionKind.VISUAL:
        return "measured" if caption.backend == MEASURED else "caption"
    return _LABELS[caption.kind]


def _folded(items: Sequence[Item]) -> list[Item]:
    """The items with a line that goes on saying the same in the next clip as one line of all these clips."""
    kept: list[Item] = []
    latest: dict[tuple[str, str], int] = {}
    for item in items:
        key = (item.line.label, same_text_key(item.line.text))
        before = kept[latest[key]] if key in latest else None
        if before is not None and item.line.span.start_ms <= before.line.span.end_ms + _GAP_MS:
            line = replace(before.line, span=Span.union([before.line.span, item.line.span]))
            kept[latest[key]] = Item(line, tuple(dict.fromkeys((*before.nodes, *item.nodes))))
        else:
            latest[key] = len(kept)
            kept.append(item)
    return kept
