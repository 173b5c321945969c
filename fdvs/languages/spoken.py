"""The languages of a video: of what is said, and of what is written on the screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fdvs.languages.detect import detect
from fdvs.languages.names import UNDETERMINED, names_of
from fdvs.languages.scripts import count_scripts
from fdvs.records import Caption, CaptionKind, VideoLanguages

LEAST_SHARE = 0.1  # of the letters of all speech (or all text on the screen): less is quoted words and names


def languages_of(captions: Iterable[Caption]) -> VideoLanguages:
    """What the speech and screen-text captions of a video are in; the language with most letters first.

    A subtitle track is judged as a whole, for a cue is too short; screen text script by script, because a slide may
    show two. Where there is text but its language cannot be told, the language is `und`.
    """
    tracks: dict[str, dict[str, None]] = {}
    shown: dict[str, None] = {}
    for caption in captions:
        if caption.kind is CaptionKind.SPEECH:
            tracks.setdefault(caption.backend, {})[caption.text] = None
        elif caption.kind is CaptionKind.SCREEN_TEXT:
            shown.update(dict.fromkeys(caption.text.split("\n")))
    speech = ["\n".join(lines) for _, lines in sorted(tracks.items())]
    return VideoLanguages(speech=_languages(speech), screen_text=_languages(_by_script(shown)))


def _by_script(lines: Iterable[str]) -> list[str]:
    """The lines put together by the script that most of their letters are in."""
    texts: dict[str, list[str]] = {}
    for line in lines:
        scripts = count_scripts(line)
        scripts["han"] += scripts.pop("kana", 0)
        if scripts.total():
            texts.setdefault(max(sorted(scripts), key=lambda script: scripts[script]), []).append(line)
    return ["\n".join(found) for _, found in sorted(texts.items())]


def _languages(texts: Iterable[str]) -> tuple[str, ...]:
    letters: Counter[str] = Counter()
    for text in texts:
        size = count_scripts(text).total()
        if size:
            letters[detect(text)] += size
    enough = {language: size for language, size in letters.items() if size >= LEAST_SHARE * letters.total()}
    return tuple(sorted(enough, key=lambda language: (-enough[language], language)))


def language_phrases(languages: VideoLanguages) -> list[str]:
    """`speech in German`, `text on the screen in Chinese and English`: what is known of the two."""
    parts = [("speech", languages.speech), ("text on the screen", languages.screen_text)]
    known = [(what, [language for language in found if language != UNDETERMINED]) for what, found in parts]
    return [f"{what} in {names_of(found)}" for what, found in known if found]


def language_warnings(languages: VideoLanguages, known: frozenset[str] | None, encoder: str) -> list[str]:
    """What a user should know where text lies outside the languages that the sentence encoder was trained on.

    Args:
        known: what the encoder was trained on; None where that is not known here.
        encoder: its name, for people.
    """
    if known is None:
        return []
    outside = [language for language in languages.all if language not in known and language != UNDETERMINED]
    if not outside:
        return []
    return [
        f"text in {names_of(outside)} is found by its words, hardly by its meaning: the sentence encoder {encoder} was "
        f"trained on {names_of(sorted(known))} (a multilingual one: --text-embedder sentence-transformers:NAME)"
    ]
