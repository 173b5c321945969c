from __future__ import annotations

import subprocess
import sys

import pytest

from fdvs.languages.detect import detect, is_latin
from fdvs.languages.names import name_of, names_of
from fdvs.languages.spoken import language_phrases, language_warnings, languages_of
from fdvs.records import Caption, CaptionKind, Outcome, Span, VideoLanguages


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The dog runs over the meadow and into the house of the old man.", "en"),
        ("Heute fahren wir mit dem Zug nach Hamburg.", "de"),
        ("Hola amigos, hoy vamos a cocinar una tortilla de patatas", "es"),
        ("Vandaag leren we hoe je zelf kaas kunt maken", "nl"),
        ("Hôm nay chúng ta học tiếng Việt", "vi"),
        ("Привіт світе, як справи сьогодні", "uk"),
        ("Москва является столицей России и крупнейшим городом", "ru"),
        ("سلام دنیا، امروز حال شما چطور است", "fa"),
        ("机器学习", "zh"),
        ("東京へ行きます", "ja"),
        ("서울", "ko"),
        ("สวัสดี", "th"),
        ("γεια", "el"),
        ("שלום", "he"),
    ],
)
def test_language_is_detected(text: str, language: str) -> None:
    assert detect(text) == language


@pytest.mark.parametrize("text", ["", "OK", "12:30", "Table of contents", "Deep Learning", "да", "∑ → ∞"])
def test_what_is_too_short_is_undetermined(text: str) -> None:
    assert detect(text) == "und"


def test_english_needs_no_model() -> None:
    code = (
        "import sys; from fdvs.languages.detect import detect\n"
        "assert detect('This is what we did when we were in the city, and it was all that we wanted.') == 'en'\n"
        "assert 'py3langid' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names() -> None:
    assert names_of(["de"]) == "German"
    assert names_of(["de", "en", "zh"]) == "German, English and Chinese"
    assert name_of("xx") == "xx"


def test_queries_of_other_scripts_are_told_apart() -> None:
    assert is_latin("Tiger 3")
    assert is_latin("42")
    assert not is_latin("тигр")


def caption(kind: CaptionKind, text: str, backend: str = "x") -> Caption:
    return Caption("cap", "clip", Span(0, 1), kind, text, Outcome.OK, "", backend, "")


def test_languages_of_a_video_are_those_of_its_tracks_and_of_its_screen_by_script() -> None:
    german = ["Guten Morgen zusammen.", "Heute sprechen wir", "über das Wetter in den Bergen."]
    captions = [
        *(caption(CaptionKind.SPEECH, line, "subtitles:film.de.srt") for line in german),
        caption(CaptionKind.SPEECH, "早上好", "subtitles:film.zh.srt"),
        caption(CaptionKind.SCREEN_TEXT, "今天的天气\nThe weather in the mountains is what we talk about today"),
        caption(CaptionKind.VISUAL, "Une image fixe, sombre, presque entièrement bleue."),
    ]
    # Three characters of a second track are less than a tenth of what is said.
    assert languages_of(captions) == VideoLanguages(("de",), ("en",))
    more = [*captions, caption(CaptionKind.SCREEN_TEXT, "山区的天气变化很快，出门前请看预报。")]
    assert languages_of(more).screen_text == ("en", "zh")
    assert language_phrases(languages_of(more)) == ["speech in German", "text on the screen in English and Chinese"]
    assert languages_of([]) == VideoLanguages()


def test_text_that_cannot_be_told_is_undetermined_and_nothing_is_said_of_it() -> None:
    assert languages_of([caption(CaptionKind.SCREEN_TEXT, "ReLU")]).screen_text == ("und",)
    assert language_phrases(VideoLanguages((), ("und",))) == []
    assert language_phrases(VideoLanguages(("und",), ("en", "und"))) == ["text on the screen in English"]


def test_a_warning_names_the_languages_that_an_encoder_was_not_trained_on() -> None:
    languages = VideoLanguages(("de", "en"), ("zh", "und"))
    (warning,) = language_warnings(languages, frozenset({"en"}), "minilm")
    assert warning.startswith("text in German and Chinese is found by its words, hardly by its meaning")
    assert language_warnings(languages, None, "sentence-transformers:x") == []
    assert language_warnings(VideoLanguages(("en",), ("und",)), frozenset({"en"}), "minilm") == []
