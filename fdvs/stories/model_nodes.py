"""One node of a story asked of a model: its requests, its replies, and a second try where the first gives nothing."""

from __future__ import annotations

from collections.abc import Generator, Sequence
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
    story_request,
)
from fdvs.records import Sentence, Span
from fdvs.settings import StorySettings
from fdvs.stories.asking import Asking
from fdvs.stories.budget import Cut, Item, fits, sections, shortened
from fdvs.stories.model_text import ReadReply, read_paragraph, read_reply, refuses
from fdvs.stories.words import safe_text

_LEAST_ROOM = 200  # tokens for lines, below which no story can be told
_LEAST_REPLY = 32
_REASON_CHARS = 200
_CHAPTER_SENTENCES = 8
_REMINDERS = (REMINDER, REMINDER_SHORTER)
_NOTHING = ReadReply("", (), ())


@dataclass(slots=True)
class Tally:
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
class Written:
    """A node as the model wrote it; without a sentence where nothing usable came."""

    title: str
    sentences: tuple[Sentence, ...]
    names: tuple[KnownName, ...]
    tally: Tally


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """How many tokens requests and replies may have.

    Attributes:
        context: of both together; 0: no bound is known.
        reply: of a node's reply.
        chapter: of a chapter in the profile `paper`.
    """

    context: int
    reply: int
    chapter: int

    @staticmethod
    def of(settings: StorySettings, model: ChatModel) -> TokenLimits:
        """The smaller of what is set and what the model takes; a reply gets a third of it at most.

        Raises:
            InputError: that is too little to write a story.
        """
        context = min(filter(None, (settings.writer_context_tokens, model.context_tokens)), default=0)
        reply = min(settings.writer_max_tokens, context // 3) if context else settings.writer_max_tokens
        limits = TokenLimits(context, reply, min(settings.chapter_tokens, reply))
        if limits.chapter < _LEAST_REPLY:
            raise InputError(f"a story needs replies of at least {_LEAST_REPLY} tokens, got {limits.chapter}")
        if limits.room() < _LEAST_ROOM:
            raise InputError(
                f"a context of {context} tokens is too small to write a story: with the rules and a reply of "
                f"{reply} tokens there is no room for text"
            )
        return limits

    def room(self, known: Sequence[KnownName] = (), stretch: Stretch | None = None) -> int:
        """Tokens that the lines of one request may have."""
        if not self.context:
            return 1 << 30
        stretch = stretch or Stretch("chapter", 9999, 9999, Span(0, 1 << 26), 1 << 27, 99, in_order=True)
        empty = story_request(
            replace(stretch, section=99, of_sections=99), [], known, max_tokens=1, reminder=max(_REMINDERS, key=len)
        )
        words = [part for part in empty.parts if isinstance(part, str)]
        return self.context - self.reply - estimated_message_tokens(empty.system, *words)


def ask_story(
    stretch: Stretch, items: Sequence[Item], known: Sequence[KnownName], limits: TokenLimits
) -> Asking[Written]:
    """One node from its lines: at once where they fit, else from summaries of their sections."""
    tally = Tally()
    names: list[KnownName] = []
    while items and not fits(items, room := limits.room(known, stretch)):
        groups, cuts = sections(items, room)
        tally.cuts += cuts
        before = sum(item.tokens for item in items)
        tally.num_sections = max(tally.num_sections, len(groups))
        parts = [replace(stretch, section=i, of_sections=len(groups)) for i in range(1, len(groups) + 1)]
        read = yield from _read_all(parts, groups, known, limits, tally)
        if any(not one.sentences for one in read):
            return Written("", (), (), tally)
        names += [name for one in read for name in one.names]
        items = [item for one, group in zip(read, groups, strict=True) for item in _summary_items(one, group)]
        if not fits(items, room) and sum(item.tokens for item in items) > before * 3 // 4:
            items, cuts = shortened(items, room)
            tally.cuts += cuts
    if not items:
        return Written("", (), (), tally)
    (last,) = yield from _read_all([stretch], [items], known, limits, tally)
    sentences = tuple(
        Sentence(one.text, tuple(dict.fromkeys(node for at in one.lines for node in items[at].nodes)))
        for one in last.sentences
    )
    return Written(last.title, sentences, (*names, *last.names), tally)


def _read_all(
    stretches: Sequence[Stretch],
    groups: Sequence[Sequence[Item]],
    known: Sequence[KnownName],
    limits: TokenLimits,
    tally: Tally,
) -> Generator[list[ChatRequest], list[ChatReply], list[ReadReply]]:
    """The replies on each group of lines; what cannot be used is asked once more, with a reminder."""

    def request(i: int, reminder: str = "") -> ChatRequest:
        lines = [item.line for item in groups[i]]
        return story_request(stretches[i], lines, known, max_tokens=limits.reply, reminder=reminder)

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


def ask_chapter(items: Sequence[Item], limits: TokenLimits) -> Asking[Written]:
    """The paper's chapter: one clip's perception, told in a short paragraph."""
    tally = Tally()
    if not items:
        return Written("", (), (), tally)
    items, tally.cuts = shortened(items, limits.room())
    source = items[0].nodes
    facts = [item.line for item in items]
    result = _NOTHING
    for reminder in ("", REMINDER_PLAIN):
        (reply,) = yield [chapter_request(facts, max_tokens=limits.chapter, reminder=reminder)]
        if refuses(reply.text):
            reply = replace(reply, text="", finish=Finish.REFUSED, reason="it says so in its reply")
        is_cut_off = reply.finish is Finish.LENGTH
        read = read_paragraph(reply.text, _CHAPTER_SENTENCES, is_cut_off=is_cut_off)
        result = _judged(reply, read if read.sentences else None, tally)
        if not _ask_again(reply, result):
            break
    return Written(result.title, tuple(Sentence(one.text, source) for one in result.sentences), (), tally)


def _judged(reply: ChatReply, read: ReadReply | None, tally: Tally) -> ReadReply:
    """What a reply gives, counted; nothing where nothing can be used, with the reason in the tally."""
    if reply.finish in (Finish.REFUSED, Finish.FAILED):
        why = safe_text(reply.reason)[:_REASON_CHARS]
        tally.reason = f"the model {reply.finish}: {why}" if why else f"the model {reply.finish}"
        return _NOTHING
    tally.truncated += reply.finish is Finish.LENGTH
    if read is None:
        tally.unparsable += 1
        tally.reason = "the model's reply was cut off" if reply.finish is Finish.LENGTH else "no readable reply"
        return _NOTHING
    tally.count(read)
    if not read.sentences:
        tally.reason = "no sentence of the reply names a line it was given"
    return read


def _ask_again(reply: ChatReply, result: ReadReply) -> bool:
    """Whether a second request can help: not where the model refused, or the server failed after its own retries."""
    return not result.sentences and reply.finish in (Finish.STOP, Finish.LENGTH)


def _reminder(reply: ChatReply) -> str:
    return REMINDER_SHORTER if reply.finish is Finish.LENGTH else REMINDER


def _summary_items(read: ReadReply, group: Sequence[Item]) -> list[Item]:
    """A section's sentences as lines of their own; each stands for the nodes of the lines it was made from."""
    items: list[Item] = []
    for sentence in read.sentences:
        of = [group[at] for at in sentence.lines]
        line = NumberedLine(Span.union([one.line.span for one in of]), "told", sentence.text, of[0].line.phrase)
        items.append(Item(line, tuple(dict.fromkeys(node for one in of for node in one.nodes))))
    return items
