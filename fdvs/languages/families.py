"""Words that count as one when a text is searched: inflected forms, and the ways to type one spelling.

Decided for the whole vocabulary of a library at once, after the texts were cut: what is stored stays as it was written,
and a library that gains a language needs no text to be read again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from threading import Lock

from fdvs.languages.terms import is_unspaced

# English keeps the older of its two stemmers: the figures of search and multiple choice were measured with it.
_SNOWBALL = {
    "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "cs": "czech", "da": "danish", "nl": "dutch",
    "en": "porter", "eo": "esperanto", "et": "estonian", "fi": "finnish", "fr": "french", "de": "german",
    "el": "greek", "hi": "hindi", "hu": "hungarian", "id": "indonesian", "ga": "irish", "it": "italian",
    "lt": "lithuanian", "ne": "nepali", "no": "norwegian", "nn": "norwegian", "fa": "persian", "pl": "polish",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian", "es": "spanish", "sv": "swedish",
    "ta": "tamil", "tr": "turkish",
}  # fmt: skip

# Languages that write several words as one; a word is looked for inside longer ones only there: English has `art` in
# `party`, which means nothing.
COMPOUNDING = frozenset({"da", "de", "et", "fi", "hu", "nl", "nn", "no", "sv"})
MIN_PART = 4  # letters of the stem that is looked for inside compounds
MIN_REST = 3  # letters around it

_NO_MARKS_ABOVE = 0x0700  # Latin, Greek, Cyrillic, Hebrew, Arabic: marks are often left out; later ones are vowels
_PLAIN = str.maketrans({"ø": "o", "đ": "d", "ł": "l", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"})
_SPELT_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})


@cache
def stemmer(language: str) -> Callable[[str], str]:
    """The stemmer of a language (ISO 639-1); a language without one leaves words as they are."""
    if language not in _SNOWBALL:
        return str
    import snowballstemmer

    one = snowballstemmer.stemmer(_SNOWBALL[language])
    lock = Lock()  # the object remembers where it is in a word

    @lru_cache(1 << 12)
    def stem(word: str) -> str:
        with lock:
            return str(one.stemWord(word))

    return stem


def plain(word: str) -> str:
    """The word without accents, as it is typed on a foreign keyboard: `übung` → `ubung`, `ёж` → `еж`."""
    if word.isascii() or is_unspaced(word):
        return word
    parts = unicodedata.normalize("NFD", word.translate(_PLAIN))
    kept = (c for c in parts if not (ord(c) < _NO_MARKS_ABOVE and unicodedata.category(c) == "Mn"))
    return unicodedata.normalize("NFC", "".join(kept))


def spellings(word: str) -> tuple[str, ...]:
    """The word and the ways to type it without its accents: `übung`, `ubung`, `uebung`."""
    if word.isascii() or is_unspaced(word):
        return (word,)
    return tuple(dict.fromkeys((word, plain(word), plain(word.translate(_SPELT_OUT)))))


class Families:
    """The families of a vocabulary.

    Attributes:
        keys: {spelling, or `language stem`: number of the family}. A term has no blank, so the two never meet.
        languages: those whose stems are in `keys`.
    """

    def __init__(self, keys: Mapping[str, int], languages: Sequence[str]) -> None:
        self.keys = keys
        self.languages = tuple(language for language in languages if language in _SNOWBALL)
        self._lines = "\n".join(["", *keys, ""])

    @classmethod
    def of(cls, words: Sequence[str], spoken: Mapping[str, Iterable[int]]) -> tuple[Families, list[int]]:
        """Put words together that share a spelling or, in a language they are used in, a stem.

        Args:
            words: the vocabulary, without repeats.
            spoken: {language: indexes of the words that occur in texts of that language}.

        Returns:
            The families, numbered from 0 in the order of their first words, and the number of each word's.
        """
        parents = list(range(len(words)))
        firsts: dict[str, int] = {}

        def root(i: int) -> int:
            while parents[i] != i:
                parents[i] = parents[parents[i]]
                i = parents[i]
            return i

        def join(i: int, key: str) -> None:
            first = firsts.setdefault(key, i)
            if first != i:
                a, b = sorted((root(first), root(i)))
                parents[b] = a

        for i, word in enumerate(words):
            for spelling in spellings(word):
                join(i, spelling)
        stemmed = [language for language in sorted(spoken) if language in _SNOWBALL]
        for language in stemmed:
            stem = stemmer(language)
            for i in spoken[language]:
                if not is_unspaced(words[i]):
                    for spelling in spellings(words[i]):
                        join(i, f"{language} {stem(spelling)}")
        roots = [root(i) for i in range(len(words))]
        number = {found: n for n, found in enumerate(dict.fromkeys(roots))}
        return cls({key: number[roots[i]] for key, i in firsts.items()}, stemmed), [number[r] for r in roots]

    def family(self, word: str) -> int | None:
        """The family of a word, which may be one the vocabulary lacks: another form of one it has; else None."""
        ways = spellings(word)
        found = (self.keys.get(way) for way in ways)
        stems = (self.keys.get(f"{language} {stemmer(language)(way)}") for language in self.languages for way in ways)
        return next((one for one in (*found, *stems) if one is not None), None)

    def compounds(self, word: str) -> set[int]:
        """Families of longer words that begin or end with this one, in languages that write words together."""
        found: set[int] = set()
        for language in COMPOUNDING.intersection(self.languages):
            stem = stemmer(language)(word)
            if len(stem) >= MIN_PART and not is_unspaced(word):
                found.update(self.keys[key] for key in self._lines_with(f"{language} ", stem))
        return found

    def _lines_with(self, start: str, part: str) -> list[str]:
        """The keys that begin with `start` and go on with a longer word that begins or ends with `part`."""
        lines, keys = self._lines, []
        at = lines.find(part)
        while at >= 0:
            first, last = lines.rfind("\n", 0, at) + 1, lines.find("\n", at)
            key = lines[first:last]
            word = key.removeprefix(start)
            edge = word.startswith(part) or word.endswith(part)
            if edge and key.startswith(start) and len(word) >= len(part) + MIN_REST:
                keys.append(key)
            at = lines.find(part, last)
        return keys
