"""What came of having a model write a story: counts, and what people should know of it, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fdvs.chat.base import NO_USAGE, Usage
from fdvs.records import Level, Span, clock

_NAMED = 8  # lines of one kind that are said one by one; more are counted


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What of a node's children did not go into its request: `chars_left_out` of the `chars` that children over
    `span` have."""

    level: Level
    node_span: Span
    span: Span
    children: tuple[str, ...]
    chars: int
    chars_left_out: int


@dataclass(frozen=True, slots=True)
class FellBack:
    """A node that the built-in writer wrote because nothing usable came of the model."""

    level: Level
    span: Span
    reason: str


@dataclass(frozen=True, slots=True)
class Sectioned:
    """A node whose children did not fit into one request: told from summaries of so many sections."""

    level: Level
    span: Span
    num_sections: int


@dataclass(frozen=True, slots=True)
class WriterReport:
    """Attributes:
    nodes_written: by the model.
    nodes_fallen_back: written by the built-in writer instead; `fallbacks` has each with its reason.
    nodes_without_text: of which nothing was known that the model could have told.
    invented_sources: numbers of lines that do not exist, taken out of replies.
    dropped_sentences: without a source, without words, too long, or said twice.
    cleaned_sentences: from which mark-up, line numbers or ids were taken.
    dropped_names: names that stand nowhere in what the model was given.
    unparsable, truncated: replies that could not be read, and replies cut off at their length.
    left_out: what was shortened to fit, in the order of the story from the bottom up.
    sectioned: nodes told from summaries of their sections; nothing is left out by that.
    replies_reused: replies that were there already from an earlier run.
    usage: what the requests of this run took, those that came to nothing included.
    seconds: of wall-clock time.
    """

    nodes_written: int = 0
    nodes_fallen_back: int = 0
    nodes_without_text: int = 0
    invented_sources: int = 0
    dropped_sentences: int = 0
    cleaned_sentences: int = 0
    dropped_names: int = 0
    unparsable: int = 0
    truncated: int = 0
    left_out: tuple[LeftOut, ...] = ()
    sectioned: tuple[Sectioned, ...] = ()
    fallbacks: tuple[FellBack, ...] = ()
    replies_reused: int = 0
    usage: Usage = NO_USAGE
    seconds: float = 0.0

    def warnings(self) -> list[str]:
        """What a reader of the story should know, a line each; nothing where all went well."""
        return [
            *_listed(list(self._fallback_lines()), "more nodes were written by the built-in writer"),
            *_listed(list(self._left_out_lines()), "more nodes were told from shortened text"),
            *_listed(list(self._section_lines()), "more nodes were told from summaries of sections"),
            *self._count_lines(),
        ]

    def _fallback_lines(self) -> Iterator[str]:
        for one in self.fallbacks:
            yield f"{_node(one.level, one.span)} was written by the built-in writer: {one.reason}"

    def _left_out_lines(self) -> Iterator[str]:
        by_node: dict[tuple[Level, Span], list[LeftOut]] = {}
        for one in self.left_out:
            by_node.setdefault((one.level, one.node_span), []).append(one)
        for (level, span), cuts in by_node.items():
            gone, of = sum(one.chars_left_out for one in cuts), sum(one.chars for one in cuts)
            ranges = _listed([_range(one.span) for one in cuts], "more")
            yield (
                f"{_node(level, span)} was told from shortened text: {gone:,} of {of:,} characters did not fit "
                f"the writer's model ({', '.join(ranges)})"
            )

    def _section_lines(self) -> Iterator[str]:
        for one in self.sectioned:
            yield (
                f"{_node(one.level, one.span)} was told from summaries of {one.num_sections} sections, because its "
                "text did not fit the writer's model at once"
            )

    def _count_lines(self) -> Iterator[str]:
        if self.truncated:
            yield f"{_counted(self.truncated, 'reply', 'replies')} of the writer's model cut off at the limit"
        if self.unparsable:
            yield f"{_counted(self.unparsable, 'reply', 'replies')} of the writer's model could not be read"
        if self.invented_sources:
            yield f"{_counted(self.invented_sources, 'source', 'sources')} invented by the writer's model, left out"
        if self.dropped_sentences:
            yield f"{_counted(self.dropped_sentences, 'sentence', 'sentences')} of the writer's model dropped"


def _node(level: Level, span: Span) -> str:
    return "the video" if level is Level.VIDEO else f"{level} {_range(span)}"


def _range(span: Span) -> str:
    return f"{clock(span.start_ms)}–{clock(span.end_ms)}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _listed(lines: Sequence[str], more: str) -> list[str]:
    return [*lines[:_NAMED], *([f"{len(lines) - _NAMED} {more}"] if len(lines) > _NAMED else [])]
