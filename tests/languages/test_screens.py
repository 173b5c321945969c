"""Films that show German, Chinese and Russian: what is read is found as it is typed, what cannot be read is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fdvs.api import Library
from fdvs.records import CaptionKind, Span
from fdvs.settings import Settings
from tests.batch.commands import fdvs
from tests.conftest import Once
from tests.languages.slides import SLIDE_S, Slide, render_slides

GERMAN: list[Slide] = [
    ("Brücken über die Elbe", "Höchstgeschwindigkeit 50", "Gewicht bis zwölf Tonnen"),
    ("Größe der Fußgängerzone", "Öffnungszeiten der Läden", "Parkplätze am Südtor"),
    ("Zusammenfassung", "Führungen jeden Samstag", "Anmeldung im Rathaus"),
]
GERMAN_SPEECH = [
    "Wir beginnen unseren Spaziergang unten am Fluss.",
    "In der Altstadt fahren schon lange keine Autos mehr.",
    "Wer noch mehr wissen möchte, kommt am besten wieder.",
]
CHINESE: list[Slide] = [
    ("机器学习入门", "训练数据来自医院", "模型很小"),
    ("实验结果", "准确率提高了三成", "内存减少一半"),
    ("谢谢观看", "下一讲：语音识别"),
]
CHINESE_SPEECH = ["大家好，今天我们从头开始讲。", "这张表说明方法是有效的。", "有问题可以写信给我。"]
RUSSIAN: list[Slide] = [
    ("История города", "Старый мост через реку", "Большая площадь"),
    ("Музей и библиотека", "Открыты каждый день", "Вход свободный"),
    ("Спасибо за внимание", "Вопросы после лекции"),
]


@pytest.fixture(scope="module")
def library(once: Once) -> Path:
    def make(folder: Path) -> None:
        render_slides(folder / "stadt.mp4", GERMAN, GERMAN_SPEECH)
        render_slides(folder / "jiqi.mp4", CHINESE, CHINESE_SPEECH)
        render_slides(folder / "gorod.mp4", RUSSIAN)
        ended = fdvs("build", folder, "-L", folder / "library", "--json")
        assert ended.code == 0, ended.err
        (folder / "build.json").write_text(ended.out, encoding="utf-8")

    return once("films-with-screens-in-languages", make)


@pytest.fixture(scope="module")
def opened(library: Path) -> Library:
    return Library(library / "library", create=False, settings=Settings())


@pytest.mark.parametrize(
    ("query", "film", "slide"),
    [
        ("Brücke", "stadt.mp4", 0),
        ("bruecken", "stadt.mp4", 0),
        ("Geschwindigkeit", "stadt.mp4", 0),
        ("zwoelf Tonnen", "stadt.mp4", 0),
        ("Spaziergang am Fluss", "stadt.mp4", 0),
        ("FUSSGÄNGERZONE", "stadt.mp4", 1),
        ("wie groß ist die Fussgaengerzone", "stadt.mp4", 1),
        ("öffnungszeiten", "stadt.mp4", 1),
        ("Altstadt ohne Autos", "stadt.mp4", 1),
        ("Parkplatz", "stadt.mp4", 1),
        ("Führung am Samstag", "stadt.mp4", 2),
        ("学习", "jiqi.mp4", 0),
        ("医院", "jiqi.mp4", 0),
        ("训练数据", "jiqi.mp4", 0),
        ("从头开始", "jiqi.mp4", 0),
        ("内存", "jiqi.mp4", 1),
        ("准确率是多少？", "jiqi.mp4", 1),
        ("方法有效吗", "jiqi.mp4", 1),
        ("语音识别", "jiqi.mp4", 2),
    ],
)
def test_what_a_speaker_types_leads_to_where_it_is_said_or_shown(
    opened: Library, query: str, film: str, slide: int
) -> None:
    hit = opened.search(query, k=1, level="clip")[0]
    assert (hit.video, hit.span) == (film, Span(1000 * SLIDE_S * slide, 1000 * SLIDE_S * (slide + 1)))


def shown(opened: Library, film: str) -> str:
    captions = opened.story(film).record.captions
    return "\n".join(one.text for one in captions if one.kind is CaptionKind.SCREEN_TEXT)


def test_every_line_that_is_shown_is_read(opened: Library) -> None:
    for film, slides in (("stadt.mp4", GERMAN), ("jiqi.mp4", CHINESE)):
        lines = shown(opened, film).split("\n")
        assert [line for slide in slides for line in slide if line not in lines] == []


def test_questions_are_answered_from_the_screen(opened: Library) -> None:
    answer = opened.ask("Wann sind die Führungen?", video="stadt.mp4")
    assert answer.text is not None
    assert "jeden Samstag" in answer.text
    answer = opened.ask("训练数据来自哪里？", video="jiqi.mp4")
    assert answer.text is not None
    assert "医院" in answer.text


def test_languages_of_speech_and_screen_are_told(opened: Library) -> None:
    for film, language in (("stadt.mp4", "German"), ("jiqi.mp4", "Chinese")):
        head = " ".join(opened.story(film).render("tree").split())
        assert f"speech in {language} · text on the screen in {language}" in head
    assert "text on the screen in" not in opened.story("gorod.mp4").render("tree")


def test_what_cannot_be_read_is_said_once_for_the_film_that_shows_it(library: Path) -> None:
    built: dict[str, Any] = {row["video"]: row for row in json.loads((library / "build.json").read_text())["videos"]}
    (warning,) = built["gorod.mp4"]["warnings"]
    assert warning.startswith("text on the screen could not be read: first at 0:00, 18 seconds in all")
    for film in ("stadt.mp4", "jiqi.mp4"):
        assert not [one for one in built[film]["warnings"] if "could not be read" in one]
    told = json.loads(fdvs("status", "-L", library / "library", "--json").out)["videos"]
    assert {row["video"]: row["warnings"] for row in told} == {name: row["warnings"] for name, row in built.items()}


def test_what_cannot_be_read_is_not_told(opened: Library) -> None:
    assert shown(opened, "gorod.mp4") == ""
