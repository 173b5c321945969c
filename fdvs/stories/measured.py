"""What was measured of consecutive clips, as sentences: one for each passage, in time order.

A passage says until when it lasts, what leads in it, what else happens and when, and how the picture looks where that
is new. Every claim is taken from the facts of the clips that it cites; what stands out was compared with the others.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from fdvs.captioners.builtin import compare, ends_alike, facts_phrase, place_phrase
from fdvs.captioners.facts import Change, Light, PictureFacts
from fdvs.captioners.wording import (
    OWN_MOVEMENT,
    STRONG_FROM,
    camera_clause,
    capital,
    is_fast,
    light_word,
    mean_change,
    number,
    short_colour_words,
)
from fdvs.records import Caption, CaptionKind, Span, clock, clock_after
from fdvs.stories.clauses import (
    camera_moves,
    colour_names,
    first_run,
    leading_colours,
    light_clauses,
    mean_colours,
    movement,
    places,
    single_cut,
    size,
    steps_clause,
)
from fdvs.stories.evidence import MEASURED, ClipEvidence
from fdvs.stories.lines import Line
from fdvs.stories.returns import Returns
from fdvs.stories.standouts import Standout
from fdvs.stories.stretches import STILL_NAMED_MS, Kind, Passage, Stretch, black_inside, cuts_are_sure, passages

_OTHER_PICTURE = 0.12  # `compare` of neighbours from which two still pictures are two
_ONE_COLOUR = 0.6  # share of the clips that one colour leads
_TOLD_RETURNS = 2  # a picture that comes back more often is counted where it first stands
_DETAILS = 3  # what else is told of a passage

# What a second of each tells, beside the others: events more than rest.
_TELLS = {Kind.BLACK: 0.2, Kind.BACK: 0.4, Kind.STILL: 0.4, Kind.MOVES: 1.0, Kind.CAMERA: 1.2, Kind.CUTS: 1.2}
_STANDS_OUT = 3.0  # how much more a passage tells of which something is said to stand out


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
        self._counted: set[int] = set()
        self.visits: set[int] = set()  # first clips of what was told as coming into the picture and leaving it

    def lines(self, clips: range, standouts: Mapping[int, Standout]) -> list[Line]:
        """One line for each passage among `clips`. A picture that often comes back is counted where it first stands,
        and told again only where nothing else is.

        Args:
            standouts: what marks scenes out in the whole video, by index of their first clip.
        """
        stretches = list(self._stretches(clips))
        new = [stretch for stretch in stretches if not self._is_counted(stretch)]
        told = passages(new or stretches, self._returns.departures)
        longest = max(told, key=lambda passage: passage.whole.duration_ms, default=None)
        return [
            self._line(one, standouts[clips.start].clause if one is longest and clips.start in standouts else "")
            for one in told
        ]

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
        yield from found

    def _stretch(self, clip: int) -> Stretch | None:
        evidence = self._clips[clip]
        caption = measured_caption(evidence)
        if caption is None or evidence.facts is None:
            return None
        kind = self._kind(clip, evidence.facts)
        if self._is_told(clip) and kind is not Kind.CUTS and mean_change(evidence.facts) < STRONG_FROM:
            return None  # text that appears is a change, too
        often = len(self._returns.showings_of(clip)) - 1 > _TOLD_RETURNS
        parted = kind is Kind.STILL and black_inside(evidence.facts) is not None
        joins = kind not in (Kind.BLACK, Kind.BACK) and not often and not parted
        return Stretch(kind, range(clip, clip + 1), (caption,), (evidence.facts,), joins)

    def _kind(self, clip: int, facts: PictureFacts) -> Kind:
        if facts.is_black:
            return Kind.BLACK
        if self._returns.is_back(clip):
            return Kind.BACK
        if facts.num_cuts and cuts_are_sure(facts):
            return Kind.CUTS
        if Change.MOTION not in facts.kinds:
            return Kind.STILL
        return Kind.CAMERA if camera_clause(facts) else Kind.MOVES

    def _goes_on(self, stretch: Stretch, later: Stretch) -> bool:
        if stretch.kind is not later.kind or stretch.joins != later.joins:
            return False
        if stretch.kind is Kind.BACK:
            return self._returns.picture(stretch.clips[-1]) == self._returns.picture(later.clips.start)
        if stretch.kind is Kind.STILL:
            return compare(stretch.facts[-1], later.facts[0]) < _OTHER_PICTURE
        return stretch.kind is not Kind.CAMERA or camera_clause(stretch.facts[0]) == camera_clause(later.facts[0])

    def _line(self, passage: Passage, standout: str) -> Line:
        whole = passage.whole
        clauses = [self._visit(passage) or self._lead(passage), *self._details(passage)[:_DETAILS]]
        look = self._new_look(whole)
        if look:
            clauses.append(f"the picture is {look}")
        if standout:
            clauses.append(standout)
        text = capital("; ".join(clauses)) + "."
        back = self._told_once(whole)
        weight = sum(_TELLS[part.kind] * part.duration_ms / 1000 for part in passage.parts)
        return Line(
            text=text,
            plain=text,
            kind=CaptionKind.VISUAL,
            backend=MEASURED,
            sources=tuple(caption.id for caption in whole.captions),
            start_ms=whole.start_ms,
            end_ms=whole.end_ms,
            returns=tuple(map(self._time_and_source, back)) if len(back) > _TOLD_RETURNS else (),
            weight=weight * (1 + 2 * max(map(mean_change, whole.facts))) * (_STANDS_OUT if standout else 1),
        )

    def _told_once(self, stretch: Stretch) -> tuple[Span, ...]:
        """When a still picture comes back, said only where it stands first."""
        picture = self._returns.picture(stretch.clips.start)
        if stretch.kind is not Kind.STILL or picture is None or picture in self._counted:
            return ()
        self._counted.add(picture)
        return self._returns.showings[picture][1:]

    def _time_and_source(self, showing: Span) -> tuple[int, str]:
        evidence = self._clips[bisect_right(self._starts, showing.start_ms) - 1]
        caption = measured_caption(evidence)
        return showing.start_ms, evidence.clip.id if caption is None else caption.id

    def _visit(self, passage: Passage) -> str:
        """`something comes into the picture at the bottom and is gone again by 0:20`: what happens before a camera that
        stands, between two times of a picture that often comes back; empty elsewhere."""
        whole = passage.whole
        moving = [part for part in passage.parts if part.kind is Kind.MOVES]
        before, after = whole.clips.start - 1, whole.clips.stop
        picture = self._returns.picture(before)
        enters = whole.clips.start in self._returns.departures and picture is not None
        stands = all(facts.camera == ("still",) for part in moving for facts in part.facts)
        if not (enters and moving and stands and not whole.num_cuts):
            return ""
        self.visits.add(whole.clips.start)
        comes, leaves = places(moving[0].facts[:1]), places(moving[-1].facts[-1:])
        text = "something comes into the picture" + (f" {comes[0]}" if comes else "")
        if self._returns.picture(after) != picture:
            return f"{text} and is there {_until(whole)}"
        showings = self._returns.showings_of(after)
        gone_ms = next(one.start_ms for one in showings if one.end_ms > self._starts[after])
        where = f", last {leaves[-1]}" if leaves and len(moving) > 1 else ""
        return f"{text} and is gone again by {clock(gone_ms)}{where}"

    def _lead(self, passage: Passage) -> str:
        telling: Callable[[Passage], str] = getattr(self, f"_tell_{passage.whole.kind}")
        return telling(passage)

    def _tell_black(self, passage: Passage) -> str:
        return f"the picture is black {_until(passage.whole)}"

    def _tell_back(self, passage: Passage) -> str:
        first = self._returns.showings_of(passage.whole.clips.start)[0]
        self._look = colour_names(passage.whole.facts[-1])
        return f"the picture of {clock(first.start_ms)} is back {_until(passage.whole)}"

    def _tell_still(self, passage: Passage) -> str:
        whole = passage.whole
        black_ms = black_inside(whole.facts[0])
        if black_ms is not None and len(whole.clips) == 1:
            other = not ends_alike(whole.facts[0])
            comes = "another one comes out of it and stands" if other else "comes back"
            return f"the picture goes to black around {clock(black_ms)}, and {comes} {_until(whole)}"
        if len(passage.parts) > 1:
            return f"the picture is mostly still {_until(whole)}"
        look = self._new_look(whole)
        picture = "a still picture" if look or not self._look else "the picture is still"
        return f"{picture} {_until(whole)}{look and f', {look}'}"

    def _tell_moves(self, passage: Passage) -> str:
        whole = passage.whole
        moving = [facts for part in passage.parts if part.kind is Kind.MOVES for facts in part.facts]
        return movement(moving, _until(whole))

    def _tell_camera(self, passage: Passage) -> str:
        moves = camera_moves(passage)
        if len(moves) > 1:
            return f"the camera {', then '.join(f'{verb} at {clock(start_ms)}' for verb, start_ms in moves)}"
        first = first_run(passage.parts, Kind.CAMERA)
        text = f"{camera_clause(first.facts[0])} {_until(first)}"
        share = max(map(mean_change, first.facts))
        if share >= OWN_MOVEMENT and not text.startswith("The picture scrolls"):
            text += f"; besides, there is movement {size(share)}"
        return text

    def _tell_cuts(self, passage: Passage) -> str:
        whole = passage.whole
        fast = any(is_fast(facts) and mean_change(facts) >= STRONG_FROM for facts in whole.facts)
        wild = ", with fast movement all over the picture" if fast else ""
        self._look = colour_names(whole.facts[-1])
        if whole.num_cuts == 1:
            return f"{single_cut(whole)}{wild}"
        # Two cuts between the same two samples are measured as one, and a cut between two clips not at all.
        return f"at least {number(whole.num_cuts)} cuts {_until(whole)}{leading_colours(whole.facts)}{wild}"

    def _details(self, passage: Passage) -> list[str]:
        """What else happens, in the order of what it tells."""
        whole = passage.whole
        found = light_clauses(whole, () if whole.kind is not Kind.CUTS else (Light.BRIGHTER, Light.DARKER))
        found += map(single_cut, passage.others(Kind.CUTS))
        if whole.kind is Kind.MOVES:
            found += [f"the camera {verb} at {clock(start_ms)}" for verb, start_ms in camera_moves(passage)]
        rests = [part for part in passage.others(Kind.STILL) if part.duration_ms >= STILL_NAMED_MS]
        if rests and whole.kind is not Kind.CUTS:
            times = " and ".join(f"from {clock(rest.start_ms)} to {clock(rest.end_ms)}" for rest in rests[:2])
            found.append(f"it is still {times}")
        if whole.kind is Kind.CAMERA:
            parts = [one for one in passage.others(Kind.MOVES) if one.duration_ms >= STILL_NAMED_MS][:2]
            times = " and ".join(f"from {clock(one.start_ms)} to {clock(one.end_ms)}" for one in parts)
            found.append(times and f"something moves {times}")
        if whole.kind is Kind.STILL:
            times = " and ".join(f"at {clock(one.start_ms)}" for one in passage.others(Kind.MOVES))
            found.append(times and f"something moves {times}")
        if len(passage.parts) == 1 and whole.kind in (Kind.STILL, Kind.MOVES):
            found.append(steps_clause(whole))
        return [clause for clause in found if clause]

    def _new_look(self, stretch: Stretch) -> str:
        """How the picture looks, where its leading colours are other than was last said; empty where they are not, and
        where the colours of cuts or of what is back are told."""
        if stretch.kind in (Kind.CUTS, Kind.BACK, Kind.BLACK):
            return ""
        facts = stretch.facts[-1]
        lights = set(map(light_word, stretch.facts))
        facts = replace(facts, colours=mean_colours(stretch.facts))
        words = [word for word in (lights.pop() if len(lights) == 1 else "", short_colour_words(facts.colours)) if word]
        look = colour_names(facts)
        if look == self._look:
            return ""
        self._look = look
        return ", ".join(words)


def _until(stretch: Stretch) -> str:
    return f"until {clock_after(stretch.end_ms, stretch.start_ms)}"


def comings_and_goings(num_visits: int, end_ms: int) -> list[str]:
    """The title of a node in which something comes into the picture and leaves it, so often."""
    if num_visits > 1:
        return [f"Something comes and goes {number(num_visits)} times"]
    return [f"Something comes and goes until {clock(end_ms)}"] if num_visits else []


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
