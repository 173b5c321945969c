"""Which language a text is in, or that it cannot be told.

First the script: kana is Japanese, Hangul Korean, and so on; that takes a few letters and no model. Only scripts that
several languages share are decided by statistics, which need more text; short texts are undetermined, not guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from fdvs.languages.function_words import share_of_english
from fdvs.languages.names import KNOWN, UNDETERMINED
from fdvs.languages.scripts import count_scripts
from fdvs.languages.terms import terms

LEAST_CONFIDENCE = 0.8  # of the statistics
LEAST_LETTERS = 20  # of a script that several languages share
LEAST_LETTERS_OF_ITS_OWN = 2  # of a script that only one language uses
KANA_SHARE = 0.05  # of Japanese text; names in kana inside Chinese text are fewer
# Far above what text in any other language reaches by the words it shares with English, and far below English.
ENGLISH_SHARE = 0.25
ENGLISH_WORDS = 8  # a share of fewer says little
MAX_CHARS = 4000  # more text decides nothing more

_OWN_SCRIPT = {
    "hangul": "ko", "thai": "th", "greek": "el", "hebrew": "he", "armenian": "hy", "georgian": "ka", "khmer": "km",
    "lao": "lo", "myanmar": "my", "tibetan": "bo", "tamil": "ta", "telugu": "te", "kannada": "kn", "malayalam": "ml",
    "gujarati": "gu", "gurmukhi": "pa", "sinhala": "si", "ethiopic": "am", "odia": "or",
}  # fmt: skip
_SHARED_SCRIPTS = {
    "cyrillic": {"ba", "be", "bg", "kk", "ky", "mk", "mn", "ru", "sr", "tg", "tt", "uk"},
    "arabic": {"ar", "fa", "ku", "ps", "ug", "ur"},
    "devanagari": {"hi", "mr", "ne", "sa"},
    "bengali": {"as", "bn"},
}
# Written in other letters only.
NOT_LATIN = frozenset({*_OWN_SCRIPT.values(), "ja", "zh", "yi"}.union(*_SHARED_SCRIPTS.values()) - {"sr", "ku"})
# Labels of the statistics for varieties that are one language to a reader.
_SAME = {"arz": "ar", "ary": "ar", "sdh": "ku", "uzs": "uz", "wuu": "zh", "yue": "zh", "pcm": "en"}


def detect(text: str) -> str:
    """The language (ISO 639-1) that most of a text is in; `und` where it cannot be told."""
    text = text[:MAX_CHARS]
    scripts = count_scripts(text)
    chinese_letters = scripts["han"] + scripts["kana"]
    scripts["han"] = chinese_letters
    kana, scripts["kana"] = scripts["kana"], 0
    script, letters = max(scripts.items(), key=lambda item: (item[1], item[0]))
    if script == "han" and letters >= LEAST_LETTERS_OF_ITS_OWN:
        return "ja" if kana >= KANA_SHARE * letters else "zh"
    if script in _OWN_SCRIPT and letters >= LEAST_LETTERS_OF_ITS_OWN:
        return _OWN_SCRIPT[script]
    if letters < LEAST_LETTERS or not (script == "latin" or script in _SHARED_SCRIPTS):
        return UNDETERMINED
    words = terms(text)
    if script == "latin" and len(words) >= ENGLISH_WORDS and share_of_english(words) >= ENGLISH_SHARE:
        return "en"  # without the model, which takes most of a second and 80 MB to load
    return _by_statistics(text, _SHARED_SCRIPTS.get(script, KNOWN - NOT_LATIN))


def is_latin(text: str) -> bool:
    """Whether most letters of a text are Latin ones (true of a text without letters)."""
    scripts = count_scripts(text)
    return 2 * scripts["latin"] >= scripts.total()


def _by_statistics(text: str, possible: set[str] | frozenset[str]) -> str:
    chances: dict[str, float] = {}
    for label, chance in _ranked()(text):
        language = _SAME.get(label, label)
        if language in possible:
            chances[language] = chances.get(language, 0.0) + chance
    best = max(chances, key=lambda language: (chances[language], language))
    sure = round(chances[best] / max(sum(chances.values()), 1e-9), 3) >= LEAST_CONFIDENCE
    return best if sure else UNDETERMINED


@cache
def _ranked() -> Callable[[str], list[tuple[str, float]]]:
    """Text → [(label, probability)], best first. The model is the one inside its package: no pickle, no download."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    rank: Callable[[str], list[tuple[str, float]]] = identifier.rank
    return rank
