"""The writer with a language model: it rewrites what stands above the clips, level by level from the bottom up.

The built-in writer has written the whole tree before, and its text stays wherever nothing usable comes of the model:
refused, failed, unreadable twice, or without a sentence that names a line it was given. Borders, ids and clip nodes
are never the model's. Every sentence it writes carries the ids of the child nodes whose lines it names; lines have
numbers of ours, so an id cannot be forged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from fdvs.chat.base import ChatModel
from fdvs.prompts.writer import Stretch, fingerprint
from fdvs.records import DuplicateGroup, Level, StoryNode, clock
from fdvs.settings import StorySettings
from fdvs.stories.asking import Asker, Asking, Replies
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.given import Given
from fdvs.stories.glossary import Glossary
from fdvs.stories.lines import Line
from fdvs.stories.model_nodes import Tally, TokenLimits, Written, ask_chapter, ask_story
from fdvs.stories.model_text import TITLE_CHARS
from fdvs.stories.words import same_text_key
from fdvs.stories.writing_report import FellBack, LeftOut, Sectioned, WriterReport

FindRepeats = Callable[[Sequence[StoryNode]], Sequence[DuplicateGroup]]
"""Chapters in time order to those among them that say what an earlier one said, by the ids of their nodes."""

_MS_PER_SCENE_SENTENCE = 20_000
_GLOSSARY_SHARE = 8  # names get one eighth of the room at most


class ModelWriter:
    """Writes the nodes of one video above its clips with a model.

    Args:
        clips: in time order.
        lines: of each clip, what the built-in writer tells of it.
        settings: limits of requests and replies; how many sentences a node gets.
        duplicates: captions that a textual group names as members are not told again where there is anything else.
        find_repeats: called once in the profile `paper`, with the chapters as they are written: those that repeat are
            left out of what stands above them.
        replies: those that are there already, and where new ones go.

    Attributes:
        repeats: what `find_repeats` found.

    Raises:
        InputError: the model's context is too small to write a story.
    """

    def __init__(
        self,
        clips: Sequence[ClipEvidence],
        lines: Sequence[Sequence[Line]],
        settings: StorySettings,
        model: ChatModel,
        *,
        duplicates: Sequence[DuplicateGroup] = (),
        find_repeats: FindRepeats | None = None,
        replies: Replies | None = None,
    ) -> None:
        self._settings = settings
        self._is_paper = settings.levels == "paper"
        self._duration_ms = clips[-1].clip.span.end_ms
        self._asker = Asker(model, replies, fingerprint())
        self.name = f"{model.name}:{model.model}"
        self._limits = TokenLimits.of(settings, model)
        self._given = Given(clips, lines, duplicates, is_paper=self._is_paper)
        self._glossary = Glossary()
        self._used_titles: dict[Level, set[str]] = {}
        self._find_repeats = find_repeats
        self.repeats: tuple[DuplicateGroup, ...] = ()

    def write(self, levels: Sequence[Sequence[StoryNode]]) -> tuple[list[list[StoryNode]], WriterReport]:
        """The levels of a tree, clips first, with all above these written by the model where it can.

        Raises:
            ServerError: the model's server does not answer.
        """
        began = time.monotonic()
        done = [list(levels[0])]
        tallies: list[tuple[StoryNode, Tally, bool]] = []
        for above in levels[1:]:
            known = {node.id: node for level in done for node in level}
            written = self._asker.run([self._work(i, above, known) for i in range(len(above))])
            done.append([self._taken(node, one) for node, one in zip(above, written, strict=True)])
            for node, one in zip(above, written, strict=True):
                self._glossary.add(node.span, one.names)
                tallies.append((node, one.tally, bool(one.sentences)))
            if self._is_paper and above[0].level is Level.CHAPTER and self._find_repeats is not None:
                self.repeats = tuple(self._find_repeats(done[-1]))
                self._given.set_aside({member.id for group in self.repeats for member in group.members})
        return done, self._report(tallies, time.monotonic() - began)

    def _taken(self, node: StoryNode, written: Written) -> StoryNode:
        """The node in the model's words, or as it was; titles are told apart by their time where they are equal."""
        title = written.title if written.sentences else node.title
        used = self._used_titles.setdefault(Level.CHAPTER if node.level is Level.PART else node.level, set())
        if same_text_key(title) in used:
            when = f" ({clock(node.span.start_ms)})"
            title = title if title.endswith(when) else title[: TITLE_CHARS - len(when)].rstrip() + when
        used.add(same_text_key(title))
        if not written.sentences:
            return replace(node, title=title)
        return replace(node, title=title, sentences=written.sentences, writer=self.name)

    def _work(self, index: int, level: Sequence[StoryNode], known: Mapping[str, StoryNode]) -> Asking[Written]:
        node = level[index]
        if self._is_paper and node.level is Level.CHAPTER:
            return ask_chapter(self._given.perception(node.children[0]), self._limits)
        stretch = Stretch(
            what=str(node.level),
            number=index + 1,
            of=len(level),
            span=node.span,
            duration_ms=self._duration_ms,
            max_sentences=self._num_sentences(node),
            in_order=self._is_paper or node.level is Level.VIDEO,
        )
        names = self._glossary.told(node.span, self._limits.room() // _GLOSSARY_SHARE)
        return ask_story(stretch, self._given.lines(node, known), names, self._limits)

    def _num_sentences(self, node: StoryNode) -> int:
        """As set; a long scene gets more, up to three times as many."""
        set_to = {
            Level.SCENE: self._settings.sentences_per_scene,
            Level.VIDEO: self._settings.sentences_per_video,
        }.get(node.level, self._settings.sentences_per_chapter)
        if node.level is not Level.SCENE:
            return max(1, set_to)
        return max(1, set_to, min(node.span.duration_ms // _MS_PER_SCENE_SENTENCE, 3 * set_to))

    def _report(self, tallies: Sequence[tuple[StoryNode, Tally, bool]], seconds: float) -> WriterReport:
        fallen = [(node, tally) for node, tally, is_written in tallies if not is_written and tally.reason]
        each = [tally for _, tally, _ in tallies]
        return WriterReport(
            nodes_written=sum(is_written for _, _, is_written in tallies),
            nodes_fallen_back=len(fallen),
            nodes_without_text=sum(not is_written and not tally.reason for _, tally, is_written in tallies),
            invented_sources=sum(one.invented_sources for one in each),
            dropped_sentences=sum(one.dropped_sentences for one in each),
            cleaned_sentences=sum(one.cleaned_sentences for one in each),
            dropped_names=sum(one.dropped_names for one in each),
            unparsable=sum(one.unparsable for one in each),
            truncated=sum(one.truncated for one in each),
            left_out=tuple(
                LeftOut(node.level, node.span, cut.span, cut.nodes, cut.chars, cut.chars_left_out)
                for node, tally, _ in tallies
                for cut in tally.cuts
            ),
            sectioned=tuple(
                Sectioned(node.level, node.span, tally.num_sections) for node, tally, _ in tallies if tally.num_sections
            ),
            fallbacks=tuple(FellBack(node.level, node.span, tally.reason) for node, tally in fallen),
            replies_reused=self._asker.reused,
            usage=self._asker.usage,
            seconds=seconds,
        )
