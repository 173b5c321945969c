"""Clauses about one stretch: what moves and where, cuts, colours and light, each with its time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from fdvs.captioners.facts import Change, Light, PictureFacts
from fdvs.captioners.wording import (
    SMALL_BELOW,
    STRONG_FROM,
    camera_clause,
    is_fast,
    mean_change,
    number,
    share_words,
    short_colour_words,
    trail,
)
from fdvs.records import clock
from fdvs.stories.stretches import Kind, Passage, Stretch, cuts_are_sure

_COLOURS_NAMED = 3
_MOVES_NAMED = 3  # camera moves of a passage
_COLOUR_SHARE = 0.15  # of the clips that a colour leads, to be named
_PLACES_NAMED = 3


def cut_time(stretch: Stretch) -> str:
    """When the first cut of a stretch is, to about the second."""
    facts = next(one for one in stretch.facts if one.num_cuts and cuts_are_sure(one))
    step = facts.kinds.index(Change.CUT)
    return clock((facts.times_ms[step] + facts.times_ms[step + 1]) // 2)


def movement(facts: Sequence[PictureFacts], until: str) -> str:
    """`something moves until 0:20, first in the centre, then at the right`, or how much of the picture moves where that
    has no place; `until` comes as it is told. Before a camera that stands something moves; where the camera itself may
    move, there is movement."""
    shares = list(map(mean_change, facts))
    share = max(shares)
    fast = 2 * sum(map(is_fast, facts)) >= len(facts)
    verb = f"{'fast ' if fast else ''}movement"
    if all(one.camera == ("still",) for one in facts):
        verb = f"something moves{' fast' if fast else ''}"
    if share < SMALL_BELOW:
        verb = "small movements"
    found = places(facts)
    if len(found) > 1:
        return f"{verb} {until}, first {', then '.join(found)}"
    if found:
        return f"{verb} {until} {found[0]}"
    if share >= STRONG_FROM:
        often = 2 * sum(one >= STRONG_FROM for one in shares) >= len(shares)
        return f"{verb}{'' if often else ', at times'} {size(share)} {until}"
    return f"{verb} {until} {size(share)}" if share >= SMALL_BELOW else f"{verb} {until}"


def size(share: float) -> str:
    """How much of the picture moves at most: `in about a tenth of the picture at most`."""
    if share >= STRONG_FROM:
        return "all over the picture"
    return f"in {share_words(share)} of the picture at most"


def places(facts: Sequence[PictureFacts]) -> list[str]:
    """Where things move, in time order; nothing where they move to and fro or all over."""
    found = [place for one in facts for place in trail(one)]
    path = [place for i, place in enumerate(found) if i == 0 or found[i - 1] != place]
    return path if len(path) == len(set(path)) <= _PLACES_NAMED else []


def colours_in_order(facts: Sequence[PictureFacts]) -> list[str]:
    """The leading colours as they come up, at most `_COLOURS_NAMED` times; the same ones again are left out."""
    named: dict[frozenset[str], str] = {}
    for one in facts:
        for colours in one.cut_colours or (one.colours,):
            words = short_colour_words(colours)
            names = frozenset(words.removeprefix("mostly ").split(" and "))
            if words and not any(names <= other for other in named):
                named[names] = words
    return list(named.values())[:_COLOURS_NAMED]


def steps_clause(stretch: Stretch) -> str:
    """`about a third of it changes at once around 0:07`; empty where nothing does."""
    steps = [
        (share, (facts.times_ms[i] + facts.times_ms[i + 1]) // 2)
        for facts in stretch.facts
        for i, (kind, share) in enumerate(zip(facts.kinds, facts.changed, strict=True))
        if kind == Change.STEP
    ]
    if not steps:
        return ""
    if len(steps) == 1:
        return f"{share_words(steps[0][0])} of the picture changes at once around {clock(steps[0][1])}"
    first, last = clock(steps[0][1]), clock(steps[-1][1])
    when = f"around {first}" if first == last else f"first around {first}, last around {last}"
    return f"parts of the picture change at once {number(len(steps))} times, {when}"


_LIGHT = {
    Light.BRIGHTER: "it gets brighter",
    Light.DARKER: "it gets darker",
    Light.FADE_IN: "it comes out of black",
    Light.FADE_OUT: "it goes to black",
    Light.FLASH: "there is a flash of light",
}


def light_clauses(stretch: Stretch, without: Collection[Light] = ()) -> list[str]:
    """How the light goes in each clip in which it changes, the first of each kind."""
    told: dict[Light, str] = {}
    for caption, facts in zip(stretch.captions, stretch.facts, strict=True):
        change = Light(facts.light_change)
        if change in _LIGHT and change not in told and change not in without:
            ends = change is Light.FADE_OUT
            when = f"at {clock(caption.span.end_ms)}" if ends else f"after {clock(caption.span.start_ms)}"
            told[change] = f"{_LIGHT[change]} {when}"
    return list(told.values())


def colour_names(facts: PictureFacts) -> frozenset[str]:
    """The colours that are said to lead, whichever is first."""
    return frozenset(short_colour_words(facts.colours).removeprefix("mostly ").split(" and ")) - {""}


def leading_colours(facts: Sequence[PictureFacts]) -> str:
    """`, mostly green` or `, in green, grey and blue`: which colours lead in turn, the most frequent first."""
    leading = Counter(one.colours[0][0] for one in facts if one.colours)
    named = [name for name, count in leading.most_common(_COLOURS_NAMED) if count >= _COLOUR_SHARE * leading.total()]
    if not named:
        return ""
    if len(named) == 1:
        return f", mostly {named[0]}"
    return f", in {', '.join(named[:-1])} and {named[-1]}"


def mean_colours(facts: Sequence[PictureFacts]) -> tuple[tuple[str, float], ...]:
    """The colours over several clips with their mean shares, largest first."""
    shares: Counter[str] = Counter()
    for one in facts:
        shares.update(dict(one.colours))
    ranked = sorted(shares.items(), key=lambda item: (-round(item[1], 3), item[0]))
    return tuple((name, round(share / len(facts), 3)) for name, share in ranked)


def first_run(parts: Sequence[Stretch], kind: Kind) -> Stretch:
    """The first stretches of a kind that follow each other, as one."""
    at = next(i for i, part in enumerate(parts) if part.kind is kind)
    run = parts[at]
    for part in parts[at + 1 :]:
        if part.kind is not kind:
            break
        run = run.joined(part)
    return run


def camera_moves(passage: Passage) -> list[tuple[str, int]]:
    """`pans left slowly` and where that begins, for each time the camera begins to move otherwise."""
    found: list[tuple[str, int]] = []
    for part in passage.parts:
        verb = camera_clause(part.facts[0]).removeprefix("The camera ") if part.kind is Kind.CAMERA else ""
        if verb.startswith("The"):
            verb = "tilts down"  # over text that scrolls
        if verb and (not found or found[-1][0].removesuffix(" slowly") != verb.removesuffix(" slowly")):
            found.append((verb, part.start_ms))
    return found[:_MOVES_NAMED]


def single_cut(stretch: Stretch) -> str:
    """`the picture cuts from blue to mostly green around 0:23`."""
    colours = colours_in_order(stretch.facts)
    change = f"from {colours[0]} to {', then '.join(colours[1:])}" if len(colours) > 1 else "to another"
    return f"the picture cuts {change} around {cut_time(stretch)}"
