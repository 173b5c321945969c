"""Whether what a model answered stands in what it cites: a cheap check that reads words, not meaning.

Two shares are taken. Of the answer's claims (numbers, names and quoted words), those that the cited text or the
question has; of its telling words, those that the cited text has. Their product is the support, 0..1:

- where there are no claims, their share is 1; where no words can be compared (an answer such as "Yes.", or one in
  another language than what it cites), theirs is a half;
- numbers from two to twelve are the same as words and as digits (English); where the question is how many there are,
  or how often, small numbers are counted by the model and are no claims;
- a name is a word with a capital letter inside a sentence; German writes all nouns so, and has none here.

A wrong answer in the right words passes. The citations are there to be looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fdvs.languages.function_words import function_words, language_of_query
from fdvs.languages.scripts import count_scripts
from fdvs.languages.terms import terms

WORDS_UNKNOWN = 0.5  # share of words where none can be compared
_MOST_COUNTED = 20

# "One" is a pronoun more often than a number.
_NUMBER_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS, 2)}
_NUMBER_WORD = re.compile(rf"\b(?:{'|'.join(_DIGITS)})\b", re.I)
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|«([^»]+)»|„([^“”]+)[“”]")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_POSSESSIVE = re.compile(r"['’]s$")
_BEFORE_A_WORD = " \t\n\"'“”‘’«»„(["
_SENTENCE_ENDS = ".!?…:。！？"
_YES_OR_NO = re.compile(r"\b(?:yes|no|not|ja|nein|nicht|nee|niet|oui|non|pas|sí|si|sì|não|sim)\b", re.I)
_HOW_MANY = re.compile(r"\bhow (?:many|often)\b|\bnumber of\b", re.I)
_KNOWN = ("en", "de", "nl", "fr", "es", "it", "pt")


@dataclass(frozen=True, slots=True)
class Grounding:
    """What of an answer stands in what it cites.

    Attributes:
        missing: its numbers, names and quoted words that stand neither there nor in the question.
        num_claims: all of its numbers, names and quoted words.
        words_share: share of its telling words that stand there; None where none can be compared.
    """

    missing: tuple[str, ...]
    num_claims: int
    words_share: float | None

    @property
    def support(self) -> float:
        """0..1: 0 where all claims, or all words, are from elsewhere."""
        claims_share = 1 - len(self.missing) / self.num_claims if self.num_claims else 1.0
        return claims_share * (WORDS_UNKNOWN if self.words_share is None else self.words_share)


def ground(answer: str, cited: Sequence[str], question: str, telling: Callable[[str], Sequence[str]]) -> Grounding:
    """Compare an answer with the texts that it cites.

    Args:
        telling: a text → the stems of its telling words.
    """
    there = " ".join(cited)
    missing = [claim for claim, is_there in _claims(answer, f"{there} {question}", question) if not is_there]
    num_claims = len(_claims(answer, "", question))
    return Grounding(tuple(missing), num_claims, _words_share(answer, there, telling))


def _claims(answer: str, there: str, question: str) -> list[tuple[str, bool]]:
    """Each number, name and quoted word of an answer, each once, and whether a text has it."""
    words = set(terms(there))
    line = f" {' '.join(terms(there))} "
    numbers = set(map(_same, _numbers(there)))
    counted = _HOW_MANY.search(question) is not None
    found: dict[str, bool] = {}
    for number in _numbers(answer):
        if not (counted and number.isdecimal() and int(number) <= _MOST_COUNTED):
            found[number] = _same(number) in numbers
    for name in [] if _is_german(f"{question} {answer}") else _names(answer):
        found[name] = set(terms(name)) <= words
    for match in _QUOTED.finditer(answer):
        quote = next(group for group in match.groups() if group)
        if terms(quote):
            found[quote] = f" {' '.join(terms(quote))} " in line
    return list(found.items())


def _numbers(text: str) -> list[str]:
    """The numbers of a text, written one way: `1,000` as `1000`, `two` as `2`."""
    return _NUMBER.findall(_plain_numbers(text))


def _same(number: str) -> str:
    """Equal for `0:35` and `00:35`."""
    return number.lstrip("0") or "0"


def _plain_numbers(text: str) -> str:
    digits = _NUMBER_WORD.sub(lambda match: _DIGITS[match[0].lower()], text)
    return _THOUSANDS.sub(lambda match: match[0].replace(",", ""), digits)


def _names(answer: str) -> list[str]:
    """Words with a capital letter that do not begin a sentence; single letters ("I") are none."""
    found = []
    for match in _WORD.finditer(answer):
        before = answer[: match.start()].rstrip(_BEFORE_A_WORD)
        word = _POSSESSIVE.sub("", match[0])
        if before and before[-1] not in _SENTENCE_ENDS and len(word) > 1 and word[0].isupper():
            found.append(word)
    return list(dict.fromkeys(found))


def _is_german(text: str) -> bool:
    """Whether German is the language of a text, or may be: its nouns all look like names."""
    words = terms(text)
    counts = {language: sum(word in function_words(language) for word in words) for language in _KNOWN}
    return counts["de"] == max(counts.values()) > 0


def _words_share(answer: str, there: str, telling: Callable[[str], Sequence[str]]) -> float | None:
    if _other_language(answer, there):
        return None
    said = telling(_YES_OR_NO.sub(" ", _plain_numbers(answer)))
    known = set(telling(_plain_numbers(there)))
    return sum(word in known for word in said) / len(said) if said else None


def _other_language(answer: str, there: str) -> bool:
    """Whether two texts are surely in different languages or scripts."""
    scripts = [counts.most_common(1)[0][0] if (counts := count_scripts(text)) else "" for text in (answer, there)]
    if all(scripts) and scripts[0] != scripts[1]:
        return True
    languages = [language_of_query(terms(text), _KNOWN) for text in (answer, there)]
    return None not in languages and languages[0] != languages[1]
