"""Plain words for measured picture facts: sentences and a title phrase. Nothing is named that was not measured."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from fdvs.captioners.facts import Change, Light, PictureFacts
from fdvs.captioners.measures import BLACK_LIGHT
from fdvs.records import clock

# Light words by mean luma, 0..1.
DARK_BELOW, DIM_BELOW, BRIGHT_FROM = 0.17, 0.32, 0.6

# Movement words by the share of the picture that changes between samples.
SMALL_BELOW, SOME_BELOW, STRONG_FROM = 0.02, 0.15, 0.4
OWN_MOVEMENT = 0.03  # while the camera moves, less than this is leaves, water and warp error
FAST_RATE = 0.6  # share of the picture per second

SLOW_BELOW, FAST_FROM = 0.06, 0.35  # camera speed in picture widths per second

SHARES = (
    (0.03, "a small part"),
    (0.075, "about a twentieth"),
    (0.15, "about a tenth"),
    (0.22, "about a fifth"),
    (0.29, "about a quarter"),
    (0.42, "about a third"),
    (0.58, "about half"),
    (1.01, "most"),
)
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

MAIN_COLOUR, ALMOST_ALL = 0.5, 0.8  # one colour leads or fills the picture
SECOND_COLOUR, SOME_COLOUR = 0.18, 0.08  # a second colour is named beside the first, a third as "some"

PLACES = {  # column and row of the 3×3 regions, from the centre
    (-1, -1): "at the top left",
    (0, -1): "at the top",
    (1, -1): "at the top right",
    (-1, 0): "at the left",
    (0, 0): "in the centre",
    (1, 0): "at the right",
    (-1, 1): "at the bottom left",
    (0, 1): "at the bottom",
    (1, 1): "at the bottom right",
}
ONE_REGION, ONE_LINE = 0.5, 0.62  # share of all change that one region must exceed, that one row or column must hold
TRAIL_SHARE = 0.01  # steps that change less do not count for where things move
MAX_TRAIL = 3

MAX_SENTENCES, MAX_WORDS = 3, 40


def light_word(facts: PictureFacts) -> str:
    """`black`, `dark`, `dim`, `` (ordinary light) or `bright`; the median of the samples that are not black decides."""
    if not facts.light:
        return ""
    if facts.is_black:
        return "black"
    levels = sorted(level for level in facts.light if level >= BLACK_LIGHT) or sorted(facts.light)
    level = levels[len(levels) // 2]
    if level < DARK_BELOW:
        return "dark"
    if level < DIM_BELOW:
        return "dim"
    return "bright" if level >= BRIGHT_FROM else ""


def number(count: int) -> str:
    """A count in words up to twelve, above in digits."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def share_words(share: float) -> str:
    """A share of the picture, 0..1, in words."""
    return next(words for limit, words in SHARES if share < limit)


def colour_words(colours: Sequence[tuple[str, float]]) -> str:
    """Names of the leading colours: `mostly white with some blue`, `green and brown`; empty without colours."""
    if not colours:
        return ""
    (first, share), rest = colours[0], colours[1:]
    if share >= ALMOST_ALL:
        return f"almost all {first}"
    some = [name for name, part in rest if part >= SOME_COLOUR][:2]
    if share >= MAIN_COLOUR:
        return f"mostly {first}" + (f" with some {' and '.join(some)}" if some else "")
    if rest and rest[0][1] >= SECOND_COLOUR:
        third = [name for name, part in rest[1:2] if part >= SECOND_COLOUR]
        return f"{first}, {rest[0][0]} and {third[0]}" if third else f"{first} and {rest[0][0]}"
    return f"{first} with {' and '.join(some)}" if some else f"{first} and other colours"


def short_colour_words(colours: Sequence[tuple[str, float]]) -> str:
    """The same in at most three words: `mostly white`, `green and brown`, `green`; empty without colours."""
    if not colours:
        return ""
    if colours[0][1] >= MAIN_COLOUR:
        return f"mostly {colours[0][0]}"
    return " and ".join([colours[0][0], *(name for name, share in colours[1:2] if share >= SECOND_COLOUR)])


def _spot(regions: Sequence[float]) -> tuple[int, int] | None:
    """Column and row (-1, 0, 1) in which most of the change is, from nine region shares; None when it is all over."""
    total = sum(regions)
    if total <= 0:
        return None
    best = max(range(9), key=lambda index: (regions[index], -index))
    if round(regions[best] / total, 3) > ONE_REGION:
        return best % 3 - 1, best // 3 - 1
    columns = [sum(regions[column::3]) / total for column in range(3)]
    rows = [sum(regions[3 * row : 3 * row + 3]) / total for row in range(3)]
    column, row = columns.index(max(columns)) - 1, rows.index(max(rows)) - 1
    in_column, in_row = round(max(columns), 3) >= ONE_LINE, round(max(rows), 3) >= ONE_LINE
    if not in_column and not in_row:
        return None
    return (column if in_column else 0), (row if in_row else 0)


def trail(facts: PictureFacts) -> list[str]:
    """The places where the picture changes, in time order.

    More than one place is told only for one thing that goes its way: steps of at least half the strongest change, from
    each place to a neighbouring one, none of them twice. Otherwise the place of all changes together, or nothing when
    that is all over the picture.
    """
    steps = [i for i, kind in enumerate(facts.kinds) if kind == Change.MOTION]
    if not steps:
        return []
    least = max(TRAIL_SHARE, max(facts.changed[i] for i in steps) / 2)
    spots = [_spot(facts.regions[i]) for i in steps if facts.changed[i] >= least]
    path = [spot for i, spot in enumerate(spots) if i == 0 or spots[i - 1] != spot]
    known = [spot for spot in path if spot is not None]
    near = all(max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= 1 for a, b in pairwise(known))
    if known and len(known) == len(path) == len(set(known)) <= MAX_TRAIL and near:
        return [PLACES[spot] for spot in known]
    overall = _spot([sum(facts.regions[i][region] for i in steps) for region in range(9)])
    return [PLACES[overall]] if overall else []


def _when(facts: PictureFacts, index: int) -> str:
    """When step `index` happens, to about the second: somewhere between two samples."""
    return f"around {clock((facts.times_ms[index] + facts.times_ms[index + 1]) // 2)}"


def mean_change(facts: PictureFacts) -> float:
    """Mean share that changes over the steps that are motion."""
    shares = [share for share, kind in zip(facts.changed, facts.kinds, strict=True) if kind == Change.MOTION]
    return round(sum(shares) / len(shares), 3) if shares else 0.0


def is_fast(facts: PictureFacts) -> bool:
    """Whether what moves, in a fair part of the picture, moves fast."""
    return mean_change(facts) >= SOME_BELOW and _rate(facts) >= FAST_RATE


def _rate(facts: PictureFacts) -> float:
    """Share of the picture that changes per second, over the steps that are motion."""
    share = seconds = 0.0
    for i, kind in enumerate(facts.kinds):
        if kind == Change.MOTION:
            share += facts.changed[i]
            seconds += max(1, facts.times_ms[i + 1] - facts.times_ms[i]) / 1000
    return round(share / seconds, 3) if seconds else 0.0


def _speed_word(speed: float) -> str:
    if speed < SLOW_BELOW:
        return " slowly"
    return " fast" if speed >= FAST_FROM else ""


_VERBS = {"pan": "pans", "tilt": "tilts", "zoom": "zooms"}


def camera_clause(facts: PictureFacts) -> str:
    """`The camera pans left slowly and zooms in`; empty when it stands, or nothing is known."""
    moves = [move for move in facts.camera if move != "still"]
    if not moves:
        return ""
    if moves[0] == "shake":
        return "The camera shakes" if facts.camera_speed >= SLOW_BELOW else "The camera sways a little"
    if moves == ["tilt down"] and facts.colours[0][0] == "black" and facts.colours[0][1] >= MAIN_COLOUR:
        return f"The picture scrolls up{_speed_word(facts.camera_speed)}"  # credits: nothing but text moves on black
    words = [f"{_VERBS[kind]} {direction}" for kind, direction in (move.split() for move in moves)]
    words[0] += _speed_word(facts.camera_speed)
    return "The camera " + " and ".join(words)


def _movement(facts: PictureFacts, share: float, places: Sequence[str]) -> str:
    """`fast movement in about a third of the picture, at the left`: what moves beside the camera."""
    where = f"first {', then '.join(places)}" if len(places) > 1 else "".join(places)
    if share < SMALL_BELOW:
        return f"small movements {where}".rstrip()
    kind = "fast movement" if _rate(facts) >= FAST_RATE else "movement"
    if share >= STRONG_FROM and not where:
        return f"{kind} all over the picture"
    return f"{kind} in {share_words(share)} of the picture" + (f", {where}" if where else "")


def _motion_sentence(facts: PictureFacts) -> str:
    """How the camera moves and what moves beside it; empty when nothing moves."""
    if Change.MOTION not in facts.kinds:
        return ""
    share = mean_change(facts)
    camera = camera_clause(facts)
    movement = _movement(facts, share, [] if camera and facts.num_cuts else trail(facts))  # enough is said then
    if camera:
        return f"{camera}." if share < OWN_MOVEMENT else f"{camera}; {movement}."
    if facts.camera == ("still",) and share < STRONG_FROM:
        return f"The camera is still; {movement}."
    return f"{capital(movement)}."


def _cut_sentence(facts: PictureFacts) -> str:
    cuts = [i for i, kind in enumerate(facts.kinds) if kind == Change.CUT]
    if not cuts:
        return ""
    if len(cuts) > 1:
        return f"{capital(number(len(cuts)))} cuts."
    before, after = (short_colour_words(colours) for colours in facts.cut_colours)
    change = f", from {before} to {after}" if before != after else ""
    return f"A cut to another picture {_when(facts, cuts[0])}{change}."


def _step_sentence(facts: PictureFacts) -> str:
    """`About a third of the picture changes at once around 0:07, at the left.`"""
    steps = [i for i, kind in enumerate(facts.kinds) if kind == Change.STEP]
    if not steps:
        return ""
    share = sum(facts.changed[i] for i in steps) / len(steps)
    spot = _spot([sum(facts.regions[i][region] for i in steps) for region in range(9)])
    where = f", {PLACES[spot]}" if spot else ""
    if len(steps) == 1:
        return f"{capital(share_words(share))} of the picture changes at once {_when(facts, steps[0])}{where}."
    return f"{capital(number(len(steps)))} times {share_words(share)} of the picture changes at once{where}."


_LIGHT_SENTENCES = {
    Light.BRIGHTER: "It gets brighter.",
    Light.DARKER: "It gets darker.",
    Light.FADE_IN: "It comes out of black.",
    Light.FADE_OUT: "It ends in black.",
    Light.FLASH: "A flash of light.",
}


def _light_sentence(facts: PictureFacts) -> str:
    sentence = _LIGHT_SENTENCES.get(Light(facts.light_change), "")
    inner = [run for run in facts.black_ms if facts.times_ms[0] < run[0] and run[1] < facts.times_ms[-1]]
    if inner and not sentence:
        return "Black in between."
    return sentence


def look_words(facts: PictureFacts) -> str:
    """`bright, mostly white with some blue`."""
    words = [word for word in (light_word(facts), colour_words(facts.colours)) if word]
    return ", ".join(words)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _fitting(sentences: Sequence[str]) -> str:
    """The first sentences that fit into `MAX_SENTENCES` and `MAX_WORDS`; the first one always does."""
    taken: list[str] = []
    words = 0
    for sentence in sentences:
        words += len(sentence.split())
        if not taken or (words <= MAX_WORDS and len(taken) < MAX_SENTENCES):
            taken.append(sentence)
    return " ".join(taken)


def describe(facts: PictureFacts) -> str:
    """One to three plain sentences about one clip, the most informative first.

    Args:
        facts: what was measured.

    Returns:
        Text of about 3 to 40 words; never empty.
    """
    if not facts.times_ms:
        return "No picture was measured."
    if facts.is_black:
        return "A black picture."
    look = look_words(facts)
    if len(facts.times_ms) == 1:
        return f"A single picture, {look}."
    cut, motion = _cut_sentence(facts), _motion_sentence(facts)
    step, light = _step_sentence(facts), _light_sentence(facts)
    if motion:
        colours_said = " from " in cut
        sentences = [cut, motion, step, light, "" if colours_said else f"{capital(look)}."]
    elif cut:
        still = "Otherwise still" if facts.num_cuts == 1 else "Still in between"
        sentences = [cut, f"{still}: {look}.", step, light]
    else:
        sentences = [f"A still picture, {look}.", step, light]
    return _fitting([sentence for sentence in sentences if sentence])


def facts_phrase(facts: PictureFacts) -> str:
    """Two to six words that can stand as a title: `Slow pan right, green and pink`."""
    if not facts.times_ms:
        return "No picture"
    if facts.is_black:
        return "Black picture"
    colours = short_colour_words(facts.colours)
    if facts.num_cuts > 1:
        return f"Cuts, {colours}"
    if Change.MOTION not in facts.kinds:
        light = light_word(facts)
        return f"Still, {light}, {colours}" if light else f"Still, {colours}"
    joined = f", {colours}" if facts.colours[0][1] >= MAIN_COLOUR else f" on {colours}"
    return _motion_phrase(facts, joined, f", {colours}")


def _motion_phrase(facts: PictureFacts, joined: str, listed: str) -> str:
    """`Slow pan left, mostly grey`; the colours come as `joined` (" on blue") or `listed` (", blue")."""
    moves = [move for move in facts.camera if move != "still"]
    share = mean_change(facts)
    if moves == ["shake"]:
        return f"Shaking camera{listed}"
    if moves:
        return capital(f"{'slow ' if facts.camera_speed < SLOW_BELOW else ''}{moves[0]}{listed}")
    if share < SMALL_BELOW:
        return f"Small movements{listed}"
    return f"{'Fast movement' if is_fast(facts) else 'Movement'}{joined}"


def place_phrase(facts: PictureFacts) -> str:
    """The same by place, in three to eight words: `Fast movement from the left to the centre`; empty where the camera
    moves, or what moves has no place."""
    places = [] if camera_clause(facts) or facts.num_cuts else trail(facts)
    if not places:
        return ""
    kind = "Small movements" if mean_change(facts) < SMALL_BELOW else "Movement"
    kind = "Fast movement" if is_fast(facts) else kind
    if len(places) == 1:
        return f"{kind} {places[0]}"
    first, last = (place.split(" ", 1)[1] for place in (places[0], places[-1]))
    return f"{kind} from {first} to {last}"
