"""The languages of a video: of what is said, and of what is written on the screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fdvs.languages.detect import NOT_LATIN, detect
from fdvs.languages.names import UNDETERMINED, names_of
from fdvs.languages.scripts import count_scripts
from fdvs.records import Caption, CaptionKind, VideoLanguages

LEAST_SHARE = 0.1  # of the letters of all speech (or all text on the screen): less is quoted words and names

# Their letters the reader of on-screen text does not know; it returns nothing or nonsense (docs/languages.md).
UNREADABLE = NOT_LATIN - {"ja", "zh"}


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
    """`speech in German`, `text on the screen in Chinese and English`: those of the two that there are."""
    parts = [("speech", languages.speech), ("text on the screen", languages.screen_text)]
    return [f"{what} in {names_of(found)}" for what, found in parts if found]


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


def unread_warnings(languages: VideoLanguages) -> list[str]:
    """What a user should know where the screen of a video probably shows letters that cannot be read: those of the
    language it speaks."""
    unread = [language for language in languages.speech if language in UNREADABLE]
    if not unread:
        return []
    return [
        f"text on the screen in {names_of(unread)} letters cannot be read: the reader knows Latin letters, Chinese and "
        "Japanese"
    ]
