"""What was measured of consecutive clips, as sentences: one for each stretch in which the picture behaves alike.

A stretch says until when it lasts, what moves and where, and how the picture looks where that is new. Every claim is
taken from the facts of the clips that it cites.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from fdvs.captioners.builtin import compare, facts_phrase, place_phrase
from fdvs.captioners.facts import Change, Light, PictureFacts
from fdvs.captioners.wording import (
    OWN_MOVEMENT,
    SMALL_BELOW,
    STRONG_FROM,
    camera_clause,
    capital,
    is_fast,
    light_word,
    mean_change,
    number,
    share_words,
    short_colour_words,
    trail,
)
from fdvs.records import Caption, CaptionKind, Span, clock
from fdvs.stories.evidence import MEASURED, ClipEvidence
from fdvs.stories.lines import Line
from fdvs.stories.returns import Returns

_NEAR_CLIPS = 2  # cuts so many clips apart belong to one stretch of cuts
_MANY_CUTS = 3  # from so many on, a stretch tells of its cuts and not of each
_COLOURS_NAMED = 3
_PLACES_NAMED = 3
_OTHER_PICTURE = 0.12  # `compare` of neighbours from which two still pictures are two
_ONE_COLOUR = 0.6  # share of the clips that one colour leads
_TOLD_RETURNS = 2  # a picture that comes back more often is counted where it first stands


class Kind(StrEnum):
    """How the picture behaves."""

    BLACK = "black"
    BACK = "back"  # shows again what was seen before
    STILL = "still"
    MOVES = "moves"
    CAMERA = "camera"
    CUTS = "cuts"


# What a second of each tells, beside the others: events more than rest.
_TELLS = {Kind.BLACK: 0.2, Kind.BACK: 0.4, Kind.STILL: 0.4, Kind.MOVES: 1.0, Kind.CAMERA: 1.2, Kind.CUTS: 1.2}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive clips of one kind: their indices, their measured captions and facts."""

    kind: Kind
    clips: range
    captions: tuple[Caption, ...]
    facts: tuple[PictureFacts, ...]

    @property
    def start_ms(self) -> int:
        return self.captions[0].span.start_ms

    @property
    def end_ms(self) -> int:
        return self.captions[-1].span.end_ms

    @property
    def num_cuts(self) -> int:
        return sum(facts.num_cuts for facts in self.facts)

    def joined(self, other: Stretch) -> Stretch:
        clips = range(self.clips.start, other.clips.stop)
        return replace(self, clips=clips, captions=self.captions + other.captions, facts=self.facts + other.facts)


class MeasuredTeller:
    """Tells what was measured, node after node in time order; how the picture looks only where it looks new.

    Args:
        clips: the video's clips.
        returns: which of them come back.
        is_told: whether a clip's picture is told by other means (a slide stands over it), so that of what is measured
            only cuts and strong movement say more.
    """

    def __init__(
        self, clips: Sequence[ClipEvidence], returns: Returns, is_told: Callable[[int], bool] = lambda _: False
    ) -> None:
        self._clips = clips
        self._returns = returns
        self._is_told = is_told
        self._starts = [evidence.clip.span.start_ms for evidence in clips]
        self._look: frozenset[str] = frozenset()

    def lines(self, clips: range) -> list[Line]:
        """One line for each stretch among `clips`. A picture that often comes back is counted where it first stands,
        and told again only where nothing else is."""
        stretches = list(self._stretches(clips))
        new = [stretch for stretch in stretches if not self._is_counted(stretch)]
        return [self._line(stretch) for stretch in new or stretches]

    def _is_counted(self, stretch: Stretch) -> bool:
        showings = self._returns.showings_of(stretch.clips.start)
        return stretch.kind is Kind.BACK and len(showings) - 1 > _TOLD_RETURNS

    def _stretches(self, clips: range) -> Iterator[Stretch]:
        found: list[Stretch] = []
        for i in clips:
            stretch = self._stretch(i)
            if stretch is None:
                continue
            if found and found[-1].clips.stop == i and self._goes_on(found[-1], stretch):
                found[-1] = found[-1].joined(stretch)
            else:
                found.append(stretch)
        yield from _with_cuts_joined(found)

    def _stretch(self, clip: int) -> Stretch | None:
        evidence = self._clips[clip]
        caption = measured_caption(evidence)
        if caption is None or evidence.facts is None:
            return None
        kind = self._kind(clip, evidence.facts)
        if self._is_told(clip) and kind is not Kind.CUTS and mean_change(evidence.facts) < STRONG_FROM:
            return None  # text that appears is a change, too
        return Stretch(kind, range(clip, clip + 1), (caption,), (evidence.facts,))

    def _kind(self, clip: int, facts: PictureFacts) -> Kind:
        if facts.is_black:
            return Kind.BLACK
        if self._returns.is_back(clip):
            return Kind.BACK
        if facts.num_cuts:
            return Kind.CUTS
        if Change.MOTION not in facts.kinds:
            return Kind.STILL
        return Kind.CAMERA if camera_clause(facts) else Kind.MOVES

    def _goes_on(self, stretch: Stretch, later: Stretch) -> bool:
        if stretch.kind is not later.kind:
            return False
        if stretch.kind is Kind.BACK:
            return self._returns.by_clip[stretch.clips[-1]] == self._returns.by_clip[later.clips.start]
        if stretch.kind is Kind.STILL:
            return compare(stretch.facts[-1], later.facts[0]) < _OTHER_PICTURE
        return stretch.kind is not Kind.CAMERA or camera_clause(stretch.facts[0]) == camera_clause(later.facts[0])

    def _line(self, stretch: Stretch) -> Line:
        telling: Callable[[Stretch], str] = getattr(self, f"_tell_{stretch.kind}")
        text = capital(telling(stretch)) + "."
        back = self._returns.showings_of(stretch.clips.start)[1:] if stretch.kind is Kind.STILL else ()
        seconds = (stretch.end_ms - stretch.start_ms) / 1000
        return Line(
            text=text,
            plain=text,
            kind=CaptionKind.VISUAL,
            backend=MEASURED,
            sources=tuple(caption.id for caption in stretch.captions),
            start_ms=stretch.start_ms,
            end_ms=stretch.end_ms,
            returns=tuple(map(self._time_and_source, back)) if len(back) > _TOLD_RETURNS else (),
            weight=_TELLS[stretch.kind] * seconds * (1 + 2 * max(map(mean_change, stretch.facts))),
        )

    def _time_and_source(self, showing: Span) -> tuple[int, str]:
        evidence = self._clips[bisect_right(self._starts, showing.start_ms) - 1]
        caption = measured_caption(evidence)
        return showing.start_ms, evidence.clip.id if caption is None else caption.id

    def _tell_black(self, stretch: Stretch) -> str:
        return f"the picture is black until {clock(stretch.end_ms)}"

    def _tell_back(self, stretch: Stretch) -> str:
        first = self._returns.showings_of(stretch.clips.start)[0]
        self._look = _colour_names(stretch.facts[-1])
        return f"the picture of {clock(first.start_ms)} is back until {clock(stretch.end_ms)}"

    def _tell_still(self, stretch: Stretch) -> str:
        look = self._new_look(stretch.facts[0])
        picture = "a still picture" if look or not self._look else "the picture is still"
        text = f"{picture} until {clock(stretch.end_ms)}{look and f', {look}'}"
        return text + _steps_clause(stretch) + _light_clause(stretch)

    def _tell_moves(self, stretch: Stretch) -> str:
        text = f"{_movement_verb(stretch)} until {clock(stretch.end_ms)}{_movement_place(stretch)}"
        return text + self._look_clause(stretch.facts[-1]) + _steps_clause(stretch) + _light_clause(stretch)

    def _tell_camera(self, stretch: Stretch) -> str:
        facts = stretch.facts[0]
        text = f"{camera_clause(facts)} until {clock(stretch.end_ms)}"
        share = max(map(mean_change, stretch.facts))
        if share >= OWN_MOVEMENT and not camera_clause(facts).startswith("The picture scrolls"):
            text += f"; besides, there is movement {_size(share)}"
        return text + self._look_clause(stretch.facts[-1]) + _light_clause(stretch)

    def _tell_cuts(self, stretch: Stretch) -> str:
        fast = any(is_fast(facts) and mean_change(facts) >= STRONG_FROM for facts in stretch.facts)
        movement = ", with fast movement all over the picture" if fast else ""
        colours = _colours_in_order(stretch.facts)
        self._look = _colour_names(stretch.facts[-1])
        change = f"from {colours[0]} to {', then '.join(colours[1:])}" if len(colours) > 1 else ""
        if stretch.num_cuts == 1:
            return f"the picture cuts {change or 'to another'} around {_cut_time(stretch)}{movement}"
        # Two cuts between the same two samples are measured as one, and a cut between two clips not at all.
        text = f"at least {number(stretch.num_cuts)} cuts until {clock(stretch.end_ms)}"
        return f"{text}, {change}{movement}" if change else text + movement

    def _new_look(self, facts: PictureFacts) -> str:
        """How the picture looks, where its leading colours are other than was last said; empty where they are not."""
        words = [word for word in (light_word(facts), short_colour_words(facts.colours)) if word]
        look = _colour_names(facts)
        if look == self._look:
            return ""
        self._look = look
        return ", ".join(words)

    def _look_clause(self, facts: PictureFacts) -> str:
        look = self._new_look(facts)
        return f"; the picture is {look}" if look else ""


def _colour_names(facts: PictureFacts) -> frozenset[str]:
    """The colours that are said to lead, whichever is first."""
    return frozenset(short_colour_words(facts.colours).removeprefix("mostly ").split(" and ")) - {""}


def measured_caption(evidence: ClipEvidence) -> Caption | None:
    """The built-in captioner's caption of a clip, which stands for its facts as a source."""
    return next((c for c in evidence.told(CaptionKind.VISUAL) if c.backend == MEASURED), None)


def measured_phrases(clips: Sequence[ClipEvidence]) -> list[tuple[str, ...]]:
    """Short phrases for titles, of each clip: what moves and the colours; where one colour leads most of the video and
    so tells nothing, what moves and where, as far as that is known."""
    facts = [evidence.facts for evidence in clips]
    leading = Counter(one.colours[0][0] for one in facts if one is not None and one.colours)
    one_coloured = bool(leading) and max(leading.values()) >= _ONE_COLOUR * len(clips)
    phrases: list[tuple[str, ...]] = []
    for one in facts:
        phrase = "" if one is None else (place_phrase(one) if one_coloured else "") or facts_phrase(one)
        phrases.append((phrase,) if phrase else ())
    return phrases


def _with_cuts_joined(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Cuts that are few clips apart become one stretch, with what lies between them, when they are many."""
    joined: list[Stretch] = []
    at = 0
    while at < len(stretches):
        stop = at + 1
        if stretches[at].kind is Kind.CUTS:
            stop = _end_of_cuts(stretches, at)
        run = stretches[at:stop]
        if sum(stretch.num_cuts for stretch in run) >= _MANY_CUTS:
            whole = run[0]
            for stretch in run[1:]:
                whole = whole.joined(stretch)
            joined.append(whole)
        else:
            joined += [one for stretch in run for one in _single_cuts(stretch)]
        at = stop
    return joined


def _end_of_cuts(stretches: Sequence[Stretch], first: int) -> int:
    stop, gap = first + 1, 0
    for i in range(first + 1, len(stretches)):
        stretch = stretches[i]
        if stretch.clips.start != stretches[i - 1].clips.stop or stretch.kind in (Kind.BLACK, Kind.BACK):
            break
        if stretch.kind is Kind.CUTS:
            stop, gap = i + 1, 0
        else:
            gap += len(stretch.clips)
            if gap > _NEAR_CLIPS:
                break
    return stop


def _single_cuts(stretch: Stretch) -> Iterator[Stretch]:
    """A stretch of few cuts, clip by clip: each cut is told with its own time."""
    if stretch.kind is not Kind.CUTS:
        yield stretch
        return
    for i, clip in enumerate(stretch.clips):
        yield Stretch(Kind.CUTS, range(clip, clip + 1), stretch.captions[i : i + 1], stretch.facts[i : i + 1])


def _cut_time(stretch: Stretch) -> str:
    facts = stretch.facts[0]
    step = facts.kinds.index(Change.CUT)
    return clock((facts.times_ms[step] + facts.times_ms[step + 1]) // 2)


def _movement_verb(stretch: Stretch) -> str:
    """`something moves fast` before a camera that stands, `fast movement` where the camera itself may move."""
    if max(map(mean_change, stretch.facts)) < SMALL_BELOW:
        return "small movements"
    fast = any(map(is_fast, stretch.facts))
    if all(facts.camera == ("still",) for facts in stretch.facts):
        return f"something moves{' fast' if fast else ''}"
    return f"{'fast ' if fast else ''}movement"


def _movement_place(stretch: Stretch) -> str:
    """`, first in the centre, then at the right`; how much of the picture moves, where that has no place."""
    places = _places(stretch.facts)
    if len(places) > 1:
        return f", first {', then '.join(places)}"
    share = max(map(mean_change, stretch.facts))
    return f" {places[0]}" if places else f" {_size(share)}" if share >= SMALL_BELOW else ""


def _size(share: float) -> str:
    """How much of the picture moves at most: `in about a tenth of the picture at most`."""
    if share >= STRONG_FROM:
        return "all over the picture"
    return f"in {share_words(share)} of the picture at most"


def _places(facts: Sequence[PictureFacts]) -> list[str]:
    """Where things move, in time order; nothing where they move to and fro or all over."""
    places = [place for one in facts for place in trail(one)]
    path = [place for i, place in enumerate(places) if i == 0 or places[i - 1] != place]
    return path if len(path) == len(set(path)) <= _PLACES_NAMED else []


def _colours_in_order(facts: Sequence[PictureFacts]) -> list[str]:
    """The leading colours as they come up, at most `_COLOURS_NAMED` times; the same ones again are left out."""
    named: dict[frozenset[str], str] = {}
    for one in facts:
        for colours in one.cut_colours or (one.colours,):
            words = short_colour_words(colours)
            names = frozenset(words.removeprefix("mostly ").split(" and "))
            if words and not any(names <= other for other in named):
                named[names] = words
    return list(named.values())[:_COLOURS_NAMED]


def _steps_clause(stretch: Stretch) -> str:
    """`; about a third of it changes at once around 0:07`."""
    steps = [
        (share, (facts.times_ms[i] + facts.times_ms[i + 1]) // 2)
        for facts in stretch.facts
        for i, (kind, share) in enumerate(zip(facts.kinds, facts.changed, strict=True))
        if kind == Change.STEP
    ]
    if not steps:
        return ""
    if len(steps) == 1:
        return f"; {share_words(steps[0][0])} of the picture changes at once around {clock(steps[0][1])}"
    first, last = clock(steps[0][1]), clock(steps[-1][1])
    when = f"around {first}" if first == last else f"first around {first}, last around {last}"
    return f"; parts of the picture change at once {number(len(steps))} times, {when}"


_LIGHT = {
    Light.BRIGHTER: "it gets brighter",
    Light.DARKER: "it gets darker",
    Light.FADE_IN: "it comes out of black",
    Light.FADE_OUT: "it ends in black",
    Light.FLASH: "there is a flash of light",
}


def _light_clause(stretch: Stretch) -> str:
    """How the light goes in the first clip of the stretch whose light changes."""
    for caption, facts in zip(stretch.captions, stretch.facts, strict=True):
        change = Light(facts.light_change)
        if change in _LIGHT:
            ends = change is Light.FADE_OUT
            when = f"at {clock(caption.span.end_ms)}" if ends else f"after {clock(caption.span.start_ms)}"
            return f"; {_LIGHT[change]} {when}"
    return ""
