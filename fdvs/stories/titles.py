"""Titles: a short phrase that stands in the node's own text, word for word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from fdvs.records import CaptionKind, clock
from fdvs.stories.choose import Weighed, points_back, weigh
from fdvs.stories.evidence import MEASURED
from fdvs.stories.lines import OVERLAID, SHOWN, Line, quote
from fdvs.stories.shown import CREDITS
from fdvs.stories.words import ENDS, STOP_WORDS, Rarity, content_words, same_text_key, words

_RANK_SEEN, _RANK_SAID, _RANK_MEASURED, _RANK_LISTED = 1, 2, 3, 4
_AT = re.compile(r"^At [\d:]+: ")  # what a list of objects begins with
_TITLE_CHARS = 60
_LETTERS = 2  # a title has so many at least
_BULLETS = "•·●▪‣◦-–—*▶➢ "  # what a title does not begin with
_PAIRED = 4  # phrases of measured facts that are joined in pairs when each alone is taken
_SPOKEN_WORDS = range(3, 8)  # how many words of speech make a title
_CUT_PHRASE = 0.5  # what a phrase tells that was cut out of a longer one, as a share of what its words tell
_CLAUSE_BORDER = re.compile(r"[,;:]\s+|\s+[–—|-]\s+|\s*[()]\s*")
# A clause that begins so only says when or where; the next one says what.
_LEAD_IN_WORDS = """
    after along although amid among and as at because before behind beside but by despite during eventually finally
    first from however in inside instead later meanwhile near next now on once outside over so standing suddenly then
    there through throughout to towards under until upon using when whenever where while with within without"""
_LEAD_IN = frozenset(_LEAD_IN_WORDS.split())


def title_of(
    lines: Sequence[Line],
    rarity: Rarity,
    *,
    centre: Mapping[str, float],
    fallback: Iterable[str],
    nothing: str,
    used: set[str],
    start_ms: int,
    first_shown: bool = False,
) -> str:
    """The best title not in `used` (to which it is added).

    In this order: on-screen text (what is the subject longest first), what a model or a person saw, a quoted phrase of
    speech, the `fallback` phrases (the rarest measured facts first) alone and in pairs, the built-in captioner's own
    sentences, a list of what was recognised, `nothing`. When all are taken, the best one again with its time.

    Args:
        lines: the node's own lines.
        centre: how much each word stands for the node, see `choose.word_sums`.
        nothing: why there is no text, where there is none.
        start_ms: of the node.
        first_shown: whether of text on the screen the first comes first (a film's title), not what stands longest.
    """
    ranked = sorted(
        weigh(lines, rarity),
        key=lambda item: (*_shown_rank(item.line, first_shown), -_fitness(item), item.line.start_ms),
    )
    if first_shown:  # who made a film is not what it is about
        ranked = [item for item in ranked if item.line.heading != CREDITS] or ranked
    seen = [_capital(headline(_heading(item.line))) for item in ranked if _is_title(item.line)]
    spoken = _spoken([item for item in ranked if item.line.is_said], centre)
    measured = [headline(item.line.plain) for item in ranked if _rank(item.line) == _RANK_MEASURED]
    listed = [_capital(headline(_AT.sub("", item.line.plain))) for item in ranked if _rank(item.line) == _RANK_LISTED]
    phrases = list(fallback)
    pairs = [f"{a}; {b[:1].lower()}{b[1:]}" for a, b in combinations(phrases[:_PAIRED], 2)]
    candidates = [text for text in [*seen, *spoken, *phrases, *pairs, *measured, *listed] if text] or [nothing]
    for text in candidates:
        if same_text_key(text) not in used:
            used.add(same_text_key(text))
            return text
    return f"{candidates[0]} ({clock(start_ms)})"


def _shown_rank(line: Line, first_shown: bool) -> tuple[int, int, float]:
    """Orders lines by kind; of what the screen shows first that which has a heading, then what stands longest, or
    first. A heading like "What" comes after those that say what it is about."""
    telling = 0 if content_words(line.heading) else 1 if line.heading else 2
    weight = float(line.start_ms) if first_shown and line.weight else -line.weight
    return _rank(line), telling + (0 if line.weight else 3), weight


def _heading(line: Line) -> str:
    """What a title is made of: of text on the screen without a heading its first line, without its bullet."""
    if line.backend == SHOWN and not line.heading:
        return line.plain.split(" / ", 1)[0].lstrip(_BULLETS)
    return (line.heading or line.plain).lstrip(_BULLETS)


def _is_title(line: Line) -> bool:
    """Whether what is seen or shown can stand as a title: no words over the picture, no scrap without letters."""
    letters = sum(character.isalpha() for character in _heading(line))
    return line.backend != OVERLAID and _rank(line) <= _RANK_SEEN and letters >= _LETTERS


def _rank(line: Line) -> int:
    if line.kind is CaptionKind.SCREEN_TEXT:
        return 0
    if line.is_said:
        return _RANK_SAID
    if line.backend == MEASURED:
        return _RANK_MEASURED
    return _RANK_LISTED if line.is_list else _RANK_SEEN


def _fitness(item: Weighed) -> float:
    """Worth as a title: whole sentences that stand alone come first."""
    text = item.line.plain
    factor = 0.6 if points_back(text) else 1.0
    factor *= 0.9 if len(text) > _TITLE_CHARS + 1 else 1.0
    return round(item.worth * factor, 3)


def _spoken(said: Sequence[Weighed], centre: Mapping[str, float]) -> list[str]:
    """Quoted phrases of the spoken lines, the most telling phrase of the worthiest line first; sentences that were
    never finished after the others, scraps of stop words only where nothing else was said."""
    phrases = [(spoken_phrase(item.line.plain, centre), item) for item in said]

    def order(pair: tuple[tuple[str, float], Weighed]) -> tuple[bool, float, int]:
        (_, telling), item = pair
        is_finished = item.line.plain.rstrip("\"'”’») ")[-1:] in ENDS
        return not is_finished, -round(telling * item.worth, 3), item.line.start_ms

    ranked = sorted(phrases, key=order)
    told = [phrase for (phrase, _), _ in ranked if phrase]
    return [quote(phrase) for phrase in [one for one in told if content_words(one)] or told]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def headline(text: str) -> str:
    """At most `_TITLE_CHARS` of a sentence: all of it, else its first clause that says what happens, else the beginning
    of that clause with an ellipsis."""
    text = text.rstrip(".,;: ")
    borders = [0, *(match.end() for match in _CLAUSE_BORDER.finditer(text))]
    while len(text) > _TITLE_CHARS and len(borders) > 1 and (words(text[borders[0] :]) or ("",))[0] in _LEAD_IN:
        borders.pop(0)
        if len(text) - borders[0] <= _TITLE_CHARS:
            break
    rest = _without_half_quotes(text[borders[0] :])
    if len(rest) <= _TITLE_CHARS:
        return rest
    first = _CLAUSE_BORDER.split(rest, maxsplit=1)[0]
    if len(first) <= _TITLE_CHARS and len(words(first)) > 3:
        return first
    kept = rest[:_TITLE_CHARS].rsplit(" ", 1)[0].split(" ")
    while len(kept) > 3 and same_text_key(kept[-1]) in STOP_WORDS:
        kept.pop()
    return _without_half_quotes(" ".join(kept).rstrip(" .,;:(")) + "…"


def _without_half_quotes(text: str) -> str:
    """A cut that went through a quotation loses the mark that is left of it."""
    text = text.replace('"', "") if text.count('"') % 2 else text
    return (text.replace("“", "").replace("”", "") if text.count("“") != text.count("”") else text).strip()


def spoken_phrase(text: str, centre: Mapping[str, float]) -> tuple[str, float]:
    """The most telling three to seven words of a spoken sentence, word for word, and how telling they are.

    A phrase begins and ends with a content word and does not cross a clause border. One that function words or borders
    surround is whole; one beside another content word was cut out of a longer phrase ("element successfully") and
    tells less. Where there is none, the sentence is cut to its beginning, which tells 0.
    """
    best, best_score = "", 0.0
    for clause in _CLAUSE_BORDER.split(text):
        tokens = clause.split()
        weights = [centre.get((content_words(token) or [""])[0], 0.0) for token in tokens]
        for size in _SPOKEN_WORDS:
            for start in range(len(tokens) - size + 1):
                ends = weights[start] > 0 < weights[start + size - 1]
                is_whole = not any(_is_telling(token) for token in (*tokens[:start][-1:], *tokens[start + size :][:1]))
                factor = 1.0 if is_whole else _CUT_PHRASE
                score = round(factor * sum(weights[start : start + size]) / size**0.5, 3)
                if ends and score > best_score:
                    best, best_score = " ".join(tokens[start : start + size]), score
    phrase = best.strip(".,;:!?\"'“”() ")
    return (phrase, best_score) if phrase else (headline(text).removesuffix("…"), 0.0)


def _is_telling(token: str) -> bool:
    return bool(content_words(token))


def rare_phrases(phrases: Sequence[Sequence[str]], in_video: Counter[str], num_clips: int) -> list[str]:
    """Distinct phrases of a node's clips, those that mark it out in the video first (share here less share there).

    Args:
        phrases: of each clip of the node.
        in_video: how many of the video's `num_clips` clips have each phrase.
    """
    here = Counter(phrase for clip in phrases for phrase in clip if phrase)
    total = max(1, len(phrases))

    def lift(phrase: str) -> float:
        return round(here[phrase] / total - in_video[phrase] / max(1, num_clips), 3)

    return sorted(here, key=lambda phrase: (-lift(phrase), -here[phrase], phrase))
