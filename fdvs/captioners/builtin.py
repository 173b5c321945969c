"""The built-in captioner: plain sentences made of measured picture facts. It names nothing it did not measure."""

from __future__ import annotations

from collections.abc import Sequence

from fdvs.captioners.base import ClipInput
from fdvs.captioners.facts import Change, Light, PictureFacts
from fdvs.records import Caption, CaptionKind, Outcome, Span, content_id
from fdvs.settings import CaptionSettings

NAME = "builtin"

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
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven")

MAIN_COLOUR, ALMOST_ALL = 0.5, 0.8  # one colour leads or fills the picture
SECOND_COLOUR, SOME_COLOUR = 0.18, 0.08  # a second colour is named beside the first, a third as "some"

PLACES = {  # 3×3 regions, row by row
    0: "at the top left",
    1: "at the top",
    2: "at the top right",
    3: "at the left",
    4: "in the centre",
    5: "at the right",
    6: "at the bottom left",
    7: "at the bottom",
    8: "at the bottom right",
}
ONE_REGION, ONE_LINE = 0.5, 0.62  # share of all change that one region, or one row or column, must hold
TRAIL_SHARE = 0.01  # steps that change less do not count for where things move
MAX_TRAIL = 3

LAYOUT_SCALE = 60.0  # mean difference of two 3×3 layouts (0..255) from which two pictures look entirely different


def light_word(facts: PictureFacts) -> str:
    """`black`, `dark`, `dim`, `` (ordinary light) or `bright`; the median sample decides."""
    if not facts.light:
        return ""
    if facts.is_black:
        return "black"
    level = sorted(facts.light)[len(facts.light) // 2]
    if level < DARK_BELOW:
        return "dark"
    if level < DIM_BELOW:
        return "dim"
    return "bright" if level >= BRIGHT_FROM else ""


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


def place(regions: Sequence[float]) -> str:
    """Where in the picture most of the change is, from nine region shares; empty when it is all over."""
    total = sum(regions)
    if total <= 0:
        return ""
    best = max(range(9), key=lambda index: (regions[index], -index))
    if regions[best] >= ONE_REGION * total:
        return PLACES[best]
    columns = [sum(regions[column::3]) / total for column in range(3)]
    rows = [sum(regions[3 * row : 3 * row + 3]) / total for row in range(3)]
    lines = [
        (columns[0], "at the left"),
        (columns[1], "in the middle"),
        (columns[2], "at the right"),
        (rows[0], "at the top"),
        (rows[1], "across the middle"),
        (rows[2], "at the bottom"),
    ]
    share, name = max(lines, key=lambda line: line[0])
    return name if round(share, 3) >= ONE_LINE else ""


def trail(facts: PictureFacts) -> list[str]:
    """The places where the picture changes, in time order without repeats; one place, or none, when it is all over."""
    steps = [i for i, kind in enumerate(facts.kinds) if kind == Change.MOTION and facts.changed[i] >= TRAIL_SHARE]
    places: list[str] = []
    for i in steps:
        name = place(facts.regions[i])
        if name and (not places or places[-1] != name):
            places.append(name)
    if 1 < len(places) <= MAX_TRAIL and len(set(places)) == len(places):
        return places
    if len(places) > 1:
        overall = place([sum(facts.regions[i][region] for i in steps) for region in range(9)])
        return [overall] if overall else []
    return places


def _trail_words(places: Sequence[str]) -> str:
    if not places:
        return ""
    if len(places) == 1:
        return f" {places[0]}"
    return " first " + ", then ".join(places)


def _when(facts: PictureFacts, index: int, span: Span) -> str:
    """When in the clip step `index` happens, in words."""
    at = (facts.times_ms[index] + facts.times_ms[index + 1]) / 2
    share = (at - span.start_ms) / span.duration_ms
    if share < 1 / 3:
        return "near the start"
    return "halfway" if share < 2 / 3 else "near the end"


def _mean_change(facts: PictureFacts) -> float:
    """Mean share that changes over the steps that are motion."""
    shares = [share for share, kind in zip(facts.changed, facts.kinds, strict=True) if kind == Change.MOTION]
    return round(sum(shares) / len(shares), 3) if shares else 0.0


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


def _camera_clause(facts: PictureFacts) -> str:
    """`The camera pans left slowly and zooms in`; empty when it stands, or nothing is known."""
    moves = [move for move in facts.camera if move != "still"]
    if not moves:
        return ""
    if moves[0] == "shake":
        return "The camera shakes" if facts.camera_speed >= SLOW_BELOW else "The camera sways a little"
    words = [f"{_VERBS[kind]} {direction}" for kind, direction in (move.split() for move in moves)]
    words[0] += _speed_word(facts.camera_speed)
    return "The camera " + " and ".join(words)


def _motion_sentence(facts: PictureFacts) -> str:
    """What moves, how much and where; empty when nothing moves."""
    if Change.MOTION not in facts.kinds:
        return ""
    share = _mean_change(facts)
    places = trail(facts)
    camera = _camera_clause(facts)
    if camera:
        if share < OWN_MOVEMENT:
            return f"{camera}."
        where = _trail_words(places)
        amount = share_words(share)
        return f"{camera}; {amount} of the picture moves by itself{',' if where else ''}{where}."
    where = _trail_words(places)
    still = facts.camera == ("still",)
    if share < SMALL_BELOW:
        return f"Small movements{where}{' before a still camera' if still else ''}."
    if share >= STRONG_FROM:
        return f"Strong movement{where or ' over the whole picture'}{' before a still camera' if still else ''}."
    if still:
        fast = "Fast movement" if _rate(facts) >= FAST_RATE else "Movement"
        return f"{fast}{where} before a still camera; {share_words(share)} of the picture changes."
    return f"The view moves{where and ', most'}{where}; {share_words(share)} of the picture changes at a time."


def _cut_sentence(facts: PictureFacts, span: Span) -> str:
    cuts = [i for i, kind in enumerate(facts.kinds) if kind == Change.CUT]
    if not cuts:
        return ""
    if len(cuts) > 1:
        return f"{NUMBERS[len(cuts)].capitalize() if len(cuts) < len(NUMBERS) else len(cuts)} cuts."
    before, after = colour_words(facts.first_colours), colour_words(facts.last_colours)
    change = f", from {before} to {after}" if before != after and before and after else ""
    return f"A cut to another picture {_when(facts, cuts[0], span)}{change}."


def _step_sentence(facts: PictureFacts, span: Span) -> str:
    steps = [i for i, kind in enumerate(facts.kinds) if kind == Change.STEP]
    if not steps:
        return ""
    summed = [sum(facts.regions[i][region] for i in steps) for region in range(9)]
    where = place(summed)
    where = f" {where}" if where else ""
    if len(steps) == 1:
        return f"Part of it changes{where} {_when(facts, steps[0], span)}."
    return f"Parts of it change{where}, {NUMBERS[len(steps)]} times."


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


def _look(facts: PictureFacts) -> str:
    """`bright, mostly white with some blue`."""
    words = [word for word in (light_word(facts), colour_words(facts.colours)) if word]
    return ", ".join(words)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def describe(facts: PictureFacts, span: Span) -> str:
    """One to three plain sentences about one clip, the most informative first.

    Args:
        facts: what was measured.
        span: the clip; times inside it become words such as "halfway".

    Returns:
        Text of about 4 to 35 words; never empty.
    """
    if not facts.times_ms:
        return "No picture was measured."
    if facts.is_black:
        return "A black picture."
    look = _look(facts)
    if len(facts.times_ms) == 1:
        return f"A single picture, {look}."
    motion = _motion_sentence(facts)
    events = [s for s in (_cut_sentence(facts, span), _step_sentence(facts, span), _light_sentence(facts)) if s]
    if motion:
        cut = facts.num_cuts == 1 and "from" in (events[0] if events else "")
        return " ".join([*events[:1], motion, *([] if cut else [f"{_capital(look)}."]), *events[1:]][:3])
    if facts.num_cuts:
        still = "Otherwise still" if facts.num_cuts == 1 else "Still in between"
        return " ".join([events[0], f"{still}: {look}.", *events[1:]][:3])
    return " ".join([f"A still picture, {look}.", *events][:3])


def facts_phrase(facts: PictureFacts) -> str:
    """Two to six words that can stand as a title: `Slow pan right, green and pink`."""
    if not facts.times_ms:
        return "No picture"
    if facts.is_black:
        return "Black picture"
    names = [name for name, share in facts.colours[:2] if share >= SECOND_COLOUR] or [facts.colours[0][0]]
    leads = facts.colours[0][1] >= MAIN_COLOUR
    colours = f"mostly {names[0]}" if leads else " and ".join(names)
    light = light_word(facts)
    if facts.num_cuts > 1:
        return f"Cuts, {colours}"
    if facts.is_still or Change.MOTION not in facts.kinds:
        return f"Still, {light}, {colours}" if light else f"Still, {colours}"
    moves = [move for move in facts.camera if move != "still"]
    if moves:
        slow = moves[0] != "shake" and facts.camera_speed < SLOW_BELOW
        name = {"shake": "shaking camera"}.get(moves[0], moves[0])
        return f"{_capital('slow ' + name if slow else name)}, {colours}"
    share = _mean_change(facts)
    if share < SMALL_BELOW:
        return f"Small movements, {colours}"
    kind = "Fast movement" if share >= SOME_BELOW and _rate(facts) >= FAST_RATE else "Movement"
    return f"{kind} on {colours}" if not leads else f"{kind}, {colours}"


def compare(a: PictureFacts, b: PictureFacts) -> float:
    """How differently two clips look and move: 0 alike, 1 entirely different; symmetric.

    Colours and the layout of the nearest end pictures count most, light and movement less.
    """
    if not a.times_ms or not b.times_ms:
        return 0.0 if a.times_ms == b.times_ms else 1.0
    shares_a, shares_b = dict(a.colours), dict(b.colours)
    names = sorted(shares_a.keys() | shares_b.keys())
    colours = 0.5 * sum(abs(shares_a.get(name, 0) - shares_b.get(name, 0)) for name in names)
    layout = min(
        sum(abs(x - y) for x, y in zip(one, other, strict=True)) / len(one)
        for one in (a.first_layout, a.last_layout)
        for other in (b.first_layout, b.last_layout)
    )
    light = abs(sum(a.light) / len(a.light) - sum(b.light) / len(b.light))
    movement = abs(min(1.0, _mean_change(a)) - min(1.0, _mean_change(b)))
    other_camera = 0.0 if a.camera[:1] == b.camera[:1] else 1.0
    parts = (
        (0.40, min(1.0, colours)),
        (0.35, min(1.0, layout / LAYOUT_SCALE)),
        (0.10, min(1.0, 2 * light)),
        (0.10, min(1.0, 2 * movement)),
        (0.05, other_camera),
    )
    return round(sum(weight * value for weight, value in parts), 3)


class BuiltinCaptioner:
    """One visual caption per clip, from its picture facts alone."""

    name = NAME
    wants_frames = 0

    def __init__(self, _settings: CaptionSettings, settings_hash: str) -> None:
        self._settings_hash = settings_hash

    def caption(self, clips: Sequence[ClipInput]) -> list[list[Caption]]:
        """For each clip its one `visual` caption; `failed` when no picture of it was measured."""
        return [[self._caption(clip)] for clip in clips]

    def _caption(self, item: ClipInput) -> Caption:
        kind = CaptionKind.VISUAL
        measured = bool(item.facts.times_ms)
        return Caption(
            id=content_id("cap", item.clip.id, kind, self.name, self._settings_hash),
            clip_id=item.clip.id,
            span=item.clip.span,
            kind=kind,
            text=describe(item.facts, item.clip.span) if measured else "",
            outcome=Outcome.OK if measured else Outcome.FAILED,
            reason="" if measured else "no picture was decoded",
            backend=self.name,
            settings_hash=self._settings_hash,
        )
