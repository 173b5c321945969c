"""Sentences, words and safe text: what every other module of the stories reads text through."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

_SENTENCE_END = re.compile(r"""([.!?…]+["'”’»)\]]*)\s+(?=["'“‘«(\[¿¡]*[^\W_])|([。！？]+[」』”’]*)\s*""")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“])(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|etc|e\.g|i\.e|cf|approx|Fig|Eq|Inc|Ltd|z\.B|d\.h)\.$"
)
_WORD = re.compile(r"[぀-ヿ㐀-䶿一-鿿가-힣]|[^\W_]+(?:['’\-][^\W_]+)*")
_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
ENDS = ".!?…。！？"  # what a sentence can end with

_STOP_WORDS = """
    a about above after again against all also am an and any are aren't as at be because been before being below
    between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each few for
    from further get gets going gonna got had hadn't has hasn't have haven't having he he's her here hers herself him
    himself his how i i'd i'll i'm i've if in into is isn't it it's its itself just kind let's like lot me more most my
    myself no nor not now of off okay on once one only onto or other our ours ourselves out over own right really same
    she she's should shouldn't so some still such than that that's the their theirs them themselves then there there's
    these they they're thing things this those through to too uh um under until up us very was wasn't we we'll we're
    we've well were weren't what what's when where which while who whom why will with won't would wouldn't yeah yes you
    you'll you're you've your yours yourself yourselves
    actually basically simply always never maybe probably pretty quite much many every another two sort stuff let take
    takes want wants look looks see sees seen know think mean means say says said tell tells told come comes came make
    makes made put called call need try use using used able ok hey oh ah huh give gives got work works
    der die das den dem des ein eine einen einem einer und oder aber ist sind war nicht auch es er sie wir ihr ich du
    man so wie was wenn dann dass da zu zum zur mit von vom für auf an im in am aus bei nach über als noch nur schon
    haben hat hatte kann wird werden"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


def one_line(text: str) -> str:
    """The text with every run of white space, line breaks included, as one blank."""
    return " ".join(text.split())


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, verbatim but for white space; never an empty one.

    A border is `.`, `!`, `?` or `…` with closing quotes, then white space and a word; initials and common
    abbreviations do not end a sentence, ideographic full stops do without white space.
    """
    text = one_line(text)
    pieces: list[str] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        end = match.end(1) if match.group(1) else match.end(2)
        piece = text[start:end]
        if match.group(1) == "." and _ABBREVIATION.search(piece):
            continue
        pieces.append(piece.strip())
        start = match.end()
    pieces.append(text[start:].strip())
    return [piece for piece in pieces if piece]


@lru_cache(maxsize=1 << 14)  # the same few sentences are looked at by every step of the writer
def words(text: str) -> tuple[str, ...]:
    """All words, case-folded; an ideograph or a Hangul syllable counts as a word of its own."""
    return tuple(word.casefold().replace("’", "'") for word in _WORD.findall(text))


def content_words(text: str) -> list[str]:
    """The words that say something: no stop words (English and German are known), no single Latin letters."""
    return [word for word in words(text) if word not in STOP_WORDS and not (len(word) == 1 and "a" <= word <= "z")]


def same_text_key(text: str) -> str:
    """Equal for texts that differ only in case, punctuation and white space."""
    return " ".join(words(text)) or one_line(text)


class Rarity:
    """How much a word tells within one video: ln((N + 1) / (df + 0.5)) over N clips, df of which use the word."""

    def __init__(self, documents: Iterable[Iterable[str]]) -> None:
        self._df: Counter[str] = Counter()
        self._n = 0
        self._vectors: dict[str, dict[str, float]] = {}
        for document in documents:
            self._n += 1
            self._df.update(set(document))

    def __call__(self, word: str) -> float:
        return math.log((self._n + 1) / (self._df.get(word, 0) + 0.5))

    def vector(self, text: str) -> dict[str, float]:
        """Unit sparse vector of the text's content words; empty when it has none. Not to be changed: it is kept."""
        known = self._vectors.get(text)
        if known is None:
            known = self._vectors[text] = self._vector(text)
        return known

    def _vector(self, text: str) -> dict[str, float]:
        raw = {word: self(word) for word in content_words(text)}
        norm = math.sqrt(sum(value * value for value in raw.values()))
        return {word: value / norm for word, value in raw.items()} if norm else {}


def sparse_dot(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Dot product of two sparse vectors."""
    if len(b) < len(a):
        a, b = b, a
    return sum(value * b[word] for word, value in a.items() if word in b)


def safe_text(text: str) -> str:
    """Untrusted text made harmless for a terminal or a page: one line, without escape sequences, control characters,
    direction overrides and other invisible format characters (the joiners inside emoji and scripts stay)."""
    text = _ESCAPE_SEQUENCE.sub("", text)
    return one_line("".join(_safe_character(character) for character in text))


def _safe_character(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else " "
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    if category in ("Cc", "Zl", "Zp"):
        return " "
    if category == "Cf" and character not in "\u200c\u200d":
        return ""
    return character
