"""Lines: sentences with their time and sources, as the writer picks and merges them.

Here are those that stand in one clip's captions, and speech; what is composed over several clips is in `shown` (text
on the screen) and `measured` (picture facts). A quoted line is verbatim between its quotes. Speech is read as one
stream through the whole video, so that a sentence that runs over several cues, or over a clip border, is quoted whole.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from fdvs.records import Caption, CaptionKind, Sentence, clock
from fdvs.stories.evidence import MEASURED, ClipEvidence
from fdvs.stories.words import ENDS, one_line, same_text_key, split_sentences

SEEN = (CaptionKind.VISUAL, CaptionKind.ACTION, CaptionKind.OBJECTS, CaptionKind.SCREEN_TEXT)
GUESSED = "Guessed: "
SHOWN, OVERLAID = "shown", "overlaid"  # what `Line.backend` says of pages, which are composed from several captions
_PAUSE_MS = 2000  # a longer silence ends an utterance
_RUN_CUES = 60  # speech without a pause or a full stop is read in stretches of so many cues
_SENTENCE_CHARS = 320  # a longer sentence is most likely speech without full stops
_PIECE_CHARS = 160  # and is told in pieces of about so much
_QUOTE_CHARS = 240  # sentences of one clip's speech share a quote up to this much
_GAP_MS = 500  # a shorter gap between two lines that say the same does not end what continues
_TIMES_NAMED = 8  # returns of a line that are named one by one; more are counted
_BULLETS = "•‣▪■●○◦➢▶"
_FULL = 0.85  # letters differ in width: a line is full from this share of the longest line's letters on
_ADDRESS = re.compile(r"[@/_]|\w\.\w")
_NOTES = (
    "This continues until ",
    "Both continue until ",
    "All of this continues until ",
    "This returns ",
    "This picture returns ",
    "The same is measured ",
)


@dataclass(frozen=True, slots=True)
class Line:
    """One told sentence.

    Attributes:
        text: as written into the story, quotes included.
        plain: the same without quotes and lead-in: what titles and comparisons read.
        sources: ids of the captions it was made from.
        start_ms, end_ms: the time it speaks of; grows while later clips say the same.
        same: ids of captions that say the same, right after it.
        returns: (start_ms, source id) of later times it came back.
        heading: what a title is made of in place of `plain`.
        weight: how much it tells, for lines without words to weigh; compared within one node only.
        brief: what is told above the scenes in place of `text`.
        part_of: first source of the line of which `brief` says this, too.
    """

    text: str
    plain: str
    kind: CaptionKind
    backend: str
    sources: tuple[str, ...]
    start_ms: int
    end_ms: int
    same: tuple[str, ...] = field(default=())
    returns: tuple[tuple[int, str], ...] = field(default=())
    heading: str = ""
    weight: float = 0.0
    brief: str = ""
    part_of: str = ""

    @property
    def is_said(self) -> bool:
        return self.kind is CaptionKind.SPEECH

    @property
    def is_measured(self) -> bool:
        return self.backend == MEASURED

    @property
    def is_list(self) -> bool:
        """Whether it only lists what a model recognised: names without a sentence around them."""
        return lists_names(self.kind, self.plain)

    @property
    def key(self) -> str:
        return same_text_key(self.plain)

    def sentences(self) -> list[Sentence]:
        """The line itself, then what is known of its repeats."""
        told = [Sentence(self.text, self.sources)]
        if self.same:
            verb = "The same is measured" if self.is_measured else "This continues"
            told.append(Sentence(f"{verb} until {clock(self.end_ms)}.", self.same))
        if self.returns:
            verb = "This picture returns" if self.weight else "The same is measured again"
            verb = verb if self.is_measured else "This returns"
            told.append(Sentence(f"{verb} {times_of(self.returns)}.", tuple(source for _, source in self.returns)))
        return told


def sentences_of(lines: Sequence[Line]) -> tuple[Sentence, ...]:
    """The sentences of consecutive lines, none twice: lines that go on equally long are told so together."""
    told: dict[str, Sentence] = {}
    at = 0
    while at < len(lines):
        stop = at + 1
        while stop < len(lines) and _go_on_together(lines[stop - 1], lines[stop]):
            stop += 1
        for sentence in _sentences_together(lines[at:stop]):
            told.setdefault(sentence.text, sentence)
        at = stop
    return tuple(told.values())


def _go_on_together(a: Line, b: Line) -> bool:
    both = a.same and b.same and not (a.returns or b.returns or a.is_measured or b.is_measured)
    return bool(both) and clock(a.end_ms) == clock(b.end_ms)


def _sentences_together(lines: Sequence[Line]) -> list[Sentence]:
    if len(lines) == 1:
        return lines[0].sentences()
    lead = "Both continue" if len(lines) == 2 else "All of this continues"
    sources = tuple(dict.fromkeys(source for line in lines for source in line.same))
    own = [Sentence(line.text, line.sources) for line in lines]
    return [*own, Sentence(f"{lead} until {clock(lines[0].end_ms)}.", sources)]


def is_note(sentence: str) -> bool:
    """Whether a sentence of a story is the writer's note on the sentence before it."""
    return sentence.startswith(_NOTES)


def times_of(returns: Sequence[tuple[int, str]]) -> str:
    """`at 1:00 and 1:30`; from `_TIMES_NAMED` on counted: `5 times, last at 2:10`."""
    times = list(dict.fromkeys(clock(time) for time, _ in returns))
    if len(times) > _TIMES_NAMED:
        return f"{len(returns)} times, last at {times[-1]}"
    return "at " + " and ".join([", ".join(times[:-1]), times[-1]] if times[1:] else times)


def quote(text: str) -> str:
    """The text between quotation marks, untouched: curly ones where it has straight ones inside."""
    return f"“{text}”" if '"' in text else f'"{text}"'


def stopped(text: str) -> str:
    """A sentence with its full stop, which a quotation that ends a sentence has already."""
    return text if text[-1:] in '"”' and text[-2:-1] in ENDS else f"{text}."


def closed(text: str) -> str:
    """The text with a full stop where it ends in a word, so that joined sentences stay apart."""
    return text + "." if text[-1:].isalnum() or text[-1:] in "%)" else text


def lists_names(kind: CaptionKind, text: str) -> bool:
    """Whether a caption is a list: of objects, or of guesses at what is done (`captioners.guesses.listed`)."""
    return kind is CaptionKind.OBJECTS or (kind is CaptionKind.ACTION and text.startswith(GUESSED))


def seen_lines(evidence: ClipEvidence) -> list[Line]:
    """What is seen in a clip, one line per sentence.

    On-screen text is quoted, one line per caption; measured facts and lists of names are one line too, for their
    sentences lean on each other ("Otherwise still", "At 0:02: the same").
    """
    lines: list[Line] = []
    for caption in evidence.told(*SEEN):
        if caption.kind is CaptionKind.SCREEN_TEXT:
            plain = running_text(caption.text.splitlines())
            began_later = clock(caption.span.start_ms) != clock(evidence.clip.span.start_ms)
            since = f" from {clock(caption.span.start_ms)}" if began_later else ""
            lines.append(_line(caption, stopped(f"On screen{since}: {quote(plain)}"), plain))
        elif caption.backend == MEASURED or lists_names(caption.kind, caption.text):
            plain = one_line(caption.text)
            lines.append(_line(caption, closed(plain), plain))
        else:
            lines += [_line(caption, closed(text), text) for text in split_sentences(caption.text)]
    return lines


def running_text(lines: Sequence[str], count: int | None = None) -> str:
    """Lines of text from the screen as one: a blank where a line goes on in the next, " / " elsewhere. With `count`,
    only the first so many, joined as they are in the whole.

    It goes on where the next begins in small letters (an address does not) with a word for which the line had no room
    any more, judged by the longest of all lines. Bullets are left out: they part lines as " / " does, and a reader of
    pictures sees only some of them.
    """
    text, before = "", ""
    tidy = [one_line(line) for line in lines]
    room = _FULL * max(map(len, tidy), default=0)
    for line in tidy[:count]:
        first_word = line.split(" ", 1)[0]
        goes_on = line[:1].islower() and not _ADDRESS.search(first_word) and len(before) + 1 + len(first_word) > room
        words_only = line.lstrip(_BULLETS).lstrip() or line
        text += ((" " if goes_on else " / ") if text and line else "") + words_only
        before = line
    return text


def _line(caption: Caption, text: str, plain: str) -> Line:
    return Line(
        text=text,
        plain=plain,
        kind=caption.kind,
        backend=caption.backend,
        sources=(caption.id,),
        start_ms=caption.span.start_ms,
        end_ms=caption.span.end_ms,
    )


def clip_sentences(evidence: ClipEvidence) -> tuple[Sentence, ...]:
    """The sentences of a clip node: what is seen, then what is said while it lasts."""
    told = [Sentence(line.text, line.sources) for line in _without_repeats(seen_lines(evidence))]
    return tuple(told + _quoted(evidence.told(CaptionKind.SPEECH)))


def _quoted(cues: Sequence[Caption]) -> list[Sentence]:
    """A clip's speech as quotes of whole sentences, each at most `_QUOTE_CHARS` unless one sentence is longer."""
    quotes: list[tuple[str, tuple[str, ...]]] = []
    for line in _utterances(cues):
        if quotes and len(quotes[-1][0]) + len(line.plain) < _QUOTE_CHARS:
            text, sources = quotes.pop()
            quotes.append((f"{text} {line.plain}", tuple(dict.fromkeys(sources + line.sources))))
        else:
            quotes.append((line.plain, line.sources))
    return [Sentence(quote(text), sources) for text, sources in quotes]


def utterances(clips: Iterable[ClipEvidence]) -> list[Line]:
    """All that is said in a video as whole sentences, by start."""
    cues = [cue for evidence in clips for cue in evidence.told(CaptionKind.SPEECH)]
    return _utterances(sorted(cues, key=lambda c: (c.span, c.id)))


def _utterances(cues: Sequence[Caption]) -> list[Line]:
    lines: list[Line] = []
    for run in _runs(cues):
        lines += _sentences_of(run)
    return lines


def _runs(cues: Sequence[Caption]) -> Iterator[list[Caption]]:
    """Cues that are read as one text: up to a pause, to a cue that ends a sentence, or to `_RUN_CUES`."""
    run: list[Caption] = []
    for cue in cues:
        if run and (cue.span.start_ms - run[-1].span.end_ms >= _PAUSE_MS or len(run) >= _RUN_CUES):
            yield run
            run = []
        run.append(cue)
        if cue.text.rstrip()[-1:] in ENDS and not cue.text.rstrip().endswith("..."):
            yield run
            run = []
    if run:
        yield run


def _sentences_of(cues: Sequence[Caption]) -> list[Line]:
    """Sentences of consecutive cues read as one text; each cites the cues whose characters it holds."""
    texts = [one_line(cue.text) for cue in cues]
    starts = list(accumulate((len(text) + 1 for text in texts), initial=0))
    joined = " ".join(texts)
    lines: list[Line] = []
    at = 0
    for sentence in split_sentences(joined):
        begin = joined.index(sentence, at)
        at = begin + len(sentence)
        first, last = bisect_right(starts, begin) - 1, bisect_right(starts, at - 1) - 1
        if len(sentence) > _SENTENCE_CHARS and first < last:
            lines += [_said(joined[a:b].strip(), cues[i : k + 1]) for a, b, i, k in _pieces(starts, begin, at)]
        else:
            lines.append(_said(sentence, cues[first : last + 1]))
    return lines


def _pieces(starts: Sequence[int], begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Speech without full stops in pieces of about `_PIECE_CHARS` that end with a cue: (from, to, first, last cue)."""
    while begin < end:
        first = bisect_right(starts, begin) - 1
        last = max(first + 1, bisect_right(starts, begin + _PIECE_CHARS) - 1)
        stop = end if end - starts[last] < _PIECE_CHARS // 3 else min(end, starts[last])
        yield begin, stop, first, bisect_right(starts, stop - 1) - 1
        begin = stop


def _said(text: str, cues: Sequence[Caption]) -> Line:
    return Line(
        text=quote(text),
        plain=text,
        kind=CaptionKind.SPEECH,
        backend=cues[0].backend,
        sources=tuple(dict.fromkeys(cue.id for cue in cues)),
        start_ms=cues[0].span.start_ms,
        end_ms=max(cue.span.end_ms for cue in cues),
    )


def _without_repeats(lines: Iterable[Line]) -> list[Line]:
    return list({line.key: line for line in reversed(list(lines))}.values())[::-1]


def told_once(lines: Iterable[Line]) -> list[Line]:
    """Lines by start, each said once: a repeat that follows on makes the earlier line last longer, a later one is
    noted as its return. What is said aloud again is not noted, only dropped."""
    kept: dict[str, Line] = {}
    for line in sorted(lines, key=lambda item: item.start_ms):
        earlier = kept.get(line.key)
        if earlier is None:
            kept[line.key] = line
        elif not line.is_said:
            kept[line.key] = _joined(earlier, line)
    return list(kept.values())


def in_short(lines: Sequence[Line]) -> list[Line]:
    """Lines as they are told above the scenes: those that have a short form in it, with what it says of others."""
    begun = {line.sources[0] for line in lines if line.brief}
    kept: list[Line] = []
    for line in lines:
        if line.brief:
            later = [source for other in lines if other.part_of == line.sources[0] for source in other.sources]
            kept.append(replace(line, text=line.brief, sources=tuple(dict.fromkeys([*line.sources, *later]))))
        elif line.part_of not in begun:
            kept.append(line)
    return kept


def _joined(earlier: Line, later: Line) -> Line:
    if later.sources == earlier.sources:
        return earlier
    if later.start_ms <= earlier.end_ms + _GAP_MS and not earlier.returns:
        same = tuple(dict.fromkeys(earlier.same + later.sources + later.same))
        return replace(earlier, end_ms=max(earlier.end_ms, later.end_ms), same=same, returns=later.returns)
    back = ((later.start_ms, later.sources[0]), *later.returns)
    return replace(earlier, returns=tuple(dict.fromkeys(earlier.returns + back)))
