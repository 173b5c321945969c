"""The writer with a language model: it rewrites what stands above the clips, level by level from the bottom up.

The built-in writer has written the whole tree before, and its text stays wherever nothing usable comes of the model:
refused, failed, unreadable twice, or without a sentence that names a line it was given. Borders, ids and clip nodes
are never the model's. Every sentence it writes carries the ids of the child nodes whose lines it names; lines have
numbers of ours, so an id cannot be forged.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fdvs.chat.base import ChatModel, ChatReply, ChatRequest, Finish
from fdvs.errors import InputError
from fdvs.prompts.tokens import estimated_message_tokens
from fdvs.prompts.writer import (
    REMINDER,
    REMINDER_PLAIN,
    REMINDER_SHORTER,
    KnownName,
    NumberedLine,
    Stretch,
    chapter_request,
    fingerprint,
    story_request,
)
from fdvs.records import Caption, CaptionKind, DuplicateGroup, Level, Sentence, Span, StoryNode, clock
from fdvs.settings import StorySettings
from fdvs.stories.asking import Asker, Asking, Replies
from fdvs.stories.budget import Cut, Item, fits, sections, shortened
from fdvs.stories.evidence import MEASURED, ClipEvidence
from fdvs.stories.glossary import Glossary
from fdvs.stories.lines import SEEN, Line
from fdvs.stories.model_text import TITLE_CHARS, ReadReply, read_paragraph, read_reply, refuses
from fdvs.stories.phases import phase_phrase
from fdvs.stories.words import one_line, safe_text, same_text_key
from fdvs.stories.writing_report import FellBack, LeftOut, Sectioned, WriterReport

CHAPTER_TOKENS = 100
"""Tokens of a chapter in the profile `paper`, as published."""

_LEAST_ROOM = 200  # tokens for lines, below which no story can be told
_LEAST_REPLY = 32
_REASON_CHARS = 200
_MS_PER_SCENE_SENTENCE = 20_000
_GAP_MS = 500  # a shorter gap does not end what goes on
_CHAPTER_SENTENCES = 8
_REMINDERS = (REMINDER, REMINDER_SHORTER)
_GLOSSARY_SHARE = 8  # names get one eighth of the room at most
_LABELS = {
    CaptionKind.VISUAL: "seen",
    CaptionKind.ACTION: "action",
    CaptionKind.OBJECTS: "objects",
    CaptionKind.SCREEN_TEXT: "on screen",
    CaptionKind.SPEECH: "said",
}
_PAPER_ORDER = (
    CaptionKind.ACTION,
    CaptionKind.OBJECTS,
    CaptionKind.VISUAL,
    CaptionKind.SCREEN_TEXT,
    CaptionKind.SPEECH,
)


@dataclass(slots=True)
class _Tally:
    """What came of one node, while it is written."""

    invented_sources: int = 0
    dropped_sentences: int = 0
    cleaned_sentences: int = 0
    dropped_names: int = 0
    unparsable: int = 0
    truncated: int = 0
    cuts: list[Cut] = field(default_factory=list)
    num_sections: int = 0
    reason: str = ""

    def count(self, read: ReadReply) -> None:
        self.invented_sources += read.invented_sources
        self.dropped_sentences += read.dropped_sentences
        self.cleaned_sentences += read.cleaned_sentences
        self.dropped_names += read.dropped_names


@dataclass(frozen=True, slots=True)
class _Written:
    """A node as the model wrote it; without a sentence where nothing usable came."""

    title: str
    sentences: tuple[Sentence, ...]
    names: tuple[KnownName, ...]
    tally: _Tally


class ModelWriter:
    """Writes the nodes of one video above its clips with a model.

    Args:
        clips: in time order.
        lines: of each clip, what the built-in writer tells of it.
        settings: limits of requests and replies; how many sentences a node gets.
        duplicates: captions that a textual group names as members are not told again where there is anything else;
            in the profile `paper`, chapters made of nothing else are left out of what stands above them.
        replies: those that are there already, and where new ones go.
        chapter_tokens: of a chapter in the profile `paper`.

    Raises:
        InputError: the model's context is too small for a request.
    """

    def __init__(
        self,
        clips: Sequence[ClipEvidence],
        lines: Sequence[Sequence[Line]],
        settings: StorySettings,
        model: ChatModel,
        *,
        duplicates: Sequence[DuplicateGroup] = (),
        replies: Replies | None = None,
        chapter_tokens: int = CHAPTER_TOKENS,
    ) -> None:
        self._clips = clips
        self._lines = {one.clip.id: of_clip for one, of_clip in zip(clips, lines, strict=True)}
        self._evidence = {one.clip.id: one for one in clips}
        self._settings = settings
        self._is_paper = settings.levels == "paper"
        self._duration_ms = clips[-1].clip.span.end_ms
        self._asker = Asker(model, replies, fingerprint())
        self.name = f"{model.name}:{model.model}"
        context = min(filter(None, (settings.writer_context_tokens, model.context_tokens)), default=0)
        self._reply_tokens = min(settings.writer_max_tokens, context // 3) if context else settings.writer_max_tokens
        self._chapter_tokens = min(chapter_tokens, self._reply_tokens)
        self._context = context
        if self._reply_tokens < _LEAST_REPLY or self._chapter_tokens < _LEAST_REPLY:
            raise InputError(f"a story needs replies of at least {_LEAST_REPLY} tokens, got {self._chapter_tokens}")
        if context and self._room([]) < _LEAST_ROOM:
            raise InputError(
                f"a context of {context} tokens is too small to write a story: with the rules and a reply of "
                f"{self._reply_tokens} tokens there is no room for text"
            )
        self._members = {member.id for one in duplicates if one.kind == "textual" for member in one.members}
        self._set_aside = _clips_set_aside(clips, self._members) if self._is_paper else frozenset()
        self._glossary = Glossary()
        self._used_titles: dict[Level, set[str]] = {}

    def write(self, levels: Sequence[Sequence[StoryNode]]) -> tuple[list[list[StoryNode]], WriterReport]:
        """The levels of a tree, clips first, with all above these written by the model where it can.

        Raises:
            ServerError: the model's server does not answer.
        """
        began = time.monotonic()
        spans = {node.id: node.span for level in levels for node in level}
        spans.update((one.id, one.span) for evidence in self._clips for one in evidence.captions)
        done = [list(levels[0])]
        tallies: list[tuple[StoryNode, _Tally, bool]] = []
        for above in levels[1:]:
            known = {node.id: node for level in done for node in level}
            written = self._asker.run([self._work(i, above, known, spans) for i in range(len(above))])
            done.append([self._taken(node, one) for node, one in zip(above, written, strict=True)])
            for node, one in zip(above, written, strict=True):
                self._glossary.add(node.span, one.names)
                tallies.append((node, one.tally, bool(one.sentences)))
        return done, self._report(tallies, time.monotonic() - began)

    def _taken(self, node: StoryNode, written: _Written) -> StoryNode:
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

    def _work(
        self, index: int, level: Sequence[StoryNode], known: Mapping[str, StoryNode], spans: Mapping[str, Span]
    ) -> Asking[_Written]:
        node = level[index]
        if self._is_paper and node.level is Level.CHAPTER:
            return self._chapter_of_clip(node)
        items = self._items(node, known, spans)
        stretch = Stretch(
            what=str(node.level),
            number=index + 1,
            of=len(level),
            span=node.span,
            duration_ms=self._duration_ms,
            max_sentences=self._num_sentences(node),
            in_order=self._is_paper or node.level is Level.VIDEO,
        )
        return self._story(stretch, items, self._glossary.told(node.span, self._glossary_room()))

    def _num_sentences(self, node: StoryNode) -> int:
        """As set; a long scene gets more, up to three times as many."""
        set_to = {
            Level.SCENE: self._settings.sentences_per_scene,
            Level.VIDEO: self._settings.sentences_per_video,
        }.get(node.level, self._settings.sentences_per_chapter)
        if node.level is not Level.SCENE:
            return max(1, set_to)
        return max(1, set_to, min(node.span.duration_ms // _MS_PER_SCENE_SENTENCE, 3 * set_to))

    # What a node is told from

    def _items(self, node: StoryNode, known: Mapping[str, StoryNode], spans: Mapping[str, Span]) -> list[Item]:
        """The lines of a node's children, in time order."""
        children = [known[child] for child in node.children]
        if children[0].level is Level.CLIP:
            return self._of_clips(node)
        if self._is_paper and node.level is Level.VIDEO:
            # The published story is told from all kept chapters at once; parts only hold the tree together.
            children = [one for one in known.values() if one.level is Level.CHAPTER]
        if self._is_paper:
            children = [one for one in children if not self._set_aside.issuperset(one.children)] or children
        with_phrases = self._is_paper or node.level is Level.VIDEO
        items: list[Item] = []
        for child in children:
            phrase = phase_phrase(child.span.start_ms, self._duration_ms) if with_phrases else ""
            items += [Item(replace(line, phrase=phrase), (child.id,)) for line in _told_lines(child, spans)]
        return items

    def _of_clips(self, node: StoryNode) -> list[Item]:
        """The lines of clips. What textual redundancy has set aside is told again only where nothing else is; what
        was measured says a few things in a few words and is told as long as it lasts."""
        lines = [(clip, line) for clip in node.children for line in self._lines[clip]]
        new = [(clip, line) for clip, line in lines if line.is_measured or not self._members.issuperset(line.sources)]
        items = [Item(_numbered(line), (clip,)) for clip, line in new or lines]
        return _folded(items)

    # Asking

    def _story(self, stretch: Stretch, items: Sequence[Item], known: Sequence[KnownName]) -> Asking[_Written]:
        """One node from its lines: at once where they fit, else from summaries of their sections."""
        tally = _Tally()
        names: list[KnownName] = []
        while items and not fits(items, room := self._room(known, stretch)):
            groups, cuts = sections(items, room)
            tally.cuts += cuts
            before = sum(item.tokens for item in items)
            tally.num_sections = max(tally.num_sections, len(groups))
            parts = [replace(stretch, section=i, of_sections=len(groups)) for i in range(1, len(groups) + 1)]
            read = yield from self._read_all(parts, groups, known, tally)
            if any(not one.sentences for one in read):
                return _Written("", (), (), tally)
            names += [name for one in read for name in one.names]
            items = [item for one, group in zip(read, groups, strict=True) for item in _summary_items(one, group)]
            if not fits(items, room) and sum(item.tokens for item in items) > before * 3 // 4:
                items, cuts = shortened(items, room)
                tally.cuts += cuts
        if not items:
            return _Written("", (), (), tally)
        (last,) = yield from self._read_all([stretch], [items], known, tally)
        sentences = tuple(
            Sentence(one.text, tuple(dict.fromkeys(node for at in one.lines for node in items[at].nodes)))
            for one in last.sentences
        )
        return _Written(last.title, sentences, (*names, *last.names), tally)

    def _read_all(
        self, stretches: Sequence[Stretch], groups: Sequence[Sequence[Item]], known: Sequence[KnownName], tally: _Tally
    ) -> Generator[list[ChatRequest], list[ChatReply], list[ReadReply]]:
        """The replies on each group of lines; what cannot be used is asked once more, with a reminder."""

        def request(i: int, reminder: str = "") -> ChatRequest:
            lines = [item.line for item in groups[i]]
            return story_request(stretches[i], lines, known, max_tokens=self._reply_tokens, reminder=reminder)

        def read(i: int, reply: ChatReply) -> ReadReply | None:
            given = [item.line.text for item in groups[i]]
            return read_reply(reply.text, given, stretches[i].max_sentences, known)

        replies = yield [request(i) for i in range(len(groups))]
        results = [_judged(reply, read(i, reply), tally) for i, reply in enumerate(replies)]
        again = [i for i, (reply, result) in enumerate(zip(replies, results, strict=True)) if _ask_again(reply, result)]
        if again:
            replies_again = yield [request(i, _reminder(replies[i])) for i in again]
            for i, reply in zip(again, replies_again, strict=True):
                results[i] = _judged(reply, read(i, reply), tally)
        return results

    def _chapter_of_clip(self, node: StoryNode) -> Asking[_Written]:
        """The paper's chapter: one clip's perception, told in a short paragraph."""
        tally = _Tally()
        (clip_id,) = node.children
        told = sorted(
            self._evidence[clip_id].told(*_PAPER_ORDER),
            key=lambda one: (one.span.start_ms, _PAPER_ORDER.index(one.kind)),
        )
        action_first = sorted(told, key=lambda one: one.kind is not CaptionKind.ACTION)
        items = [
            Item(NumberedLine(one.span, _perception_label(one), one_line(one.text)), (clip_id,)) for one in action_first
        ]
        if not items:
            return _Written("", (), (), tally)
        items, tally.cuts = shortened(items, self._room([]))
        facts = [item.line for item in items]
        result = EMPTY
        for reminder in ("", REMINDER_PLAIN):
            (reply,) = yield [chapter_request(facts, max_tokens=self._chapter_tokens, reminder=reminder)]
            if refuses(reply.text):
                reply = replace(reply, text="", finish=Finish.REFUSED, reason="it says so in its reply")
            is_cut_off = reply.finish is Finish.LENGTH
            read = read_paragraph(reply.text, _CHAPTER_SENTENCES, is_cut_off=is_cut_off)
            result = _judged(reply, read if read.sentences else None, tally)
            if not _ask_again(reply, result):
                break
        return _Written(result.title, tuple(Sentence(one.text, (clip_id,)) for one in result.sentences), (), tally)

    def _room(self, known: Sequence[KnownName], stretch: Stretch | None = None) -> int:
        """Tokens that the lines of one request may have."""
        if not self._context:
            return 1 << 30
        stretch = stretch or Stretch("chapter", 9999, 9999, Span(0, 1 << 26), 1 << 27, 99, in_order=True)
        empty = story_request(
            replace(stretch, section=99, of_sections=99), [], known, max_tokens=1, reminder=max(_REMINDERS, key=len)
        )
        words = [part for part in empty.parts if isinstance(part, str)]
        return self._context - self._reply_tokens - estimated_message_tokens(empty.system, *words)

    def _glossary_room(self) -> int:
        return self._room([]) // _GLOSSARY_SHARE

    def _report(self, tallies: Sequence[tuple[StoryNode, _Tally, bool]], seconds: float) -> WriterReport:
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


EMPTY = ReadReply("", (), ())


def _judged(reply: ChatReply, read: ReadReply | None, tally: _Tally) -> ReadReply:
    """What a reply gives, counted; `EMPTY` where nothing can be used, with the reason in the tally."""
    if reply.finish in (Finish.REFUSED, Finish.FAILED):
        why = safe_text(reply.reason)[:_REASON_CHARS]
        tally.reason = f"the model {reply.finish}: {why}" if why else f"the model {reply.finish}"
        return EMPTY
    tally.truncated += reply.finish is Finish.LENGTH
    if read is None:
        tally.unparsable += 1
        tally.reason = "the model's reply was cut off" if reply.finish is Finish.LENGTH else "no readable reply"
        return EMPTY
    tally.count(read)
    if not read.sentences:
        tally.reason = "no sentence of the reply names a line it was given"
    return read


def _ask_again(reply: ChatReply, result: ReadReply) -> bool:
    """Whether a second request can help: not where the model refused, or the server failed after its own retries."""
    return not result.sentences and reply.finish in (Finish.STOP, Finish.LENGTH)


def _reminder(reply: ChatReply) -> str:
    return REMINDER_SHORTER if reply.finish is Finish.LENGTH else REMINDER


def _told_lines(node: StoryNode, spans: Mapping[str, Span]) -> list[NumberedLine]:
    """The sentences of a node above the clips, each with the time of what it was made from."""
    return [
        NumberedLine(Span.union([spans[source] for source in sentence.sources]), "told", sentence.text)
        for sentence in node.sentences
    ]


def _summary_items(read: ReadReply, group: Sequence[Item]) -> list[Item]:
    """A section's sentences as lines of their own; each stands for the nodes of the lines it was made from."""
    items: list[Item] = []
    for sentence in read.sentences:
        of = [group[at] for at in sentence.lines]
        line = NumberedLine(Span.union([one.line.span for one in of]), "told", sentence.text, of[0].line.phrase)
        items.append(Item(line, tuple(dict.fromkeys(node for one in of for node in one.nodes))))
    return items


def _clips_set_aside(clips: Sequence[ClipEvidence], members: Collection[str]) -> frozenset[str]:
    """Clips of which textual redundancy has set aside everything that is told."""
    told = {one.clip.id: [caption.id for caption in one.told(*SEEN, CaptionKind.SPEECH)] for one in clips}
    return frozenset(clip for clip, captions in told.items() if captions and all(one in members for one in captions))


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
