"""A German and a Chinese film with subtitles: what a speaker of the language would type is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fdvs.api import Library
from fdvs.settings import Settings
from tests.batch.commands import fdvs, render_film
from tests.conftest import Once

GERMAN = [
    "Auf dieser Straße gilt eine Höchstgeschwindigkeit von fünfzig.",
    "Die Übungen beginnen um sieben Uhr in der großen Halle.",
    "Ein alter Tiger schläft unter den Bäumen am Fluss.",
    "Am Abend kochen die Kinder eine Suppe aus Kartoffeln.",
]
CHINESE = [
    "今天我们学习人工智能的基础。",
    "河边有一只黑猫在睡觉。",
    "傍晚孩子们用土豆做汤。",
    "这条路的最高速度是五十公里。",
]
CUE_MS = 3000


def film(folder: Path, name: str, lines: list[str], seed: int) -> Path:
    """A film with one line of subtitles every three seconds."""
    path = folder / f"{name}.mp4"
    render_film(path, seed, seconds=len(lines) * CUE_MS // 1000, size=(160, 96))
    cues = [f"{i + 1}\n00:00:{3 * i:02d},000 --> 00:00:{3 * i + 2:02d},500\n{line}\n" for i, line in enumerate(lines)]
    path.with_suffix(".srt").write_text("\n".join(cues), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def library(once: Once) -> Path:
    def make(folder: Path) -> None:
        film(folder, "stadt", GERMAN, 1)
        film(folder, "chengshi", CHINESE, 2)
        ended = fdvs("build", folder, "-L", folder / "library", "--json")
        assert ended.code == 0, ended.err
        (folder / "build.json").write_text(ended.out, encoding="utf-8")
        (folder / "build.err").write_text(ended.err, encoding="utf-8")

    return once("films-in-languages", make)


@pytest.fixture(scope="module")
def opened(library: Path) -> Library:
    return Library(library / "library", create=False, settings=Settings())


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("Straße", GERMAN[0]),
        ("strasse", GERMAN[0]),
        ("STRASSEN", GERMAN[0]),
        ("Geschwindigkeit", GERMAN[0]),
        ("wie hoch ist die Geschwindigkeit", GERMAN[0]),
        ("Übung", GERMAN[1]),
        ("uebung", GERMAN[1]),
        ("ubungen", GERMAN[1]),
        ("Tiger", GERMAN[2]),
        ("Baum", GERMAN[2]),
        ("Kartoffelsuppe Kinder", GERMAN[3]),
        ("学习", CHINESE[0]),
        ("人工智能", CHINESE[0]),
        ("猫", CHINESE[1]),
        ("黑猫", CHINESE[1]),
        ("土豆", CHINESE[2]),
        ("最高速度", CHINESE[3]),
        ("速度是多少？", CHINESE[3]),
    ],
)
def test_what_a_speaker_types_is_found_first(opened: Library, query: str, line: str) -> None:
    hit = opened.search(query, k=1, level="clip")[0]
    number = (GERMAN if line in GERMAN else CHINESE).index(line)
    assert line in hit.text
    assert hit.span.start_ms <= number * CUE_MS < hit.span.end_ms


def test_questions_are_answered_in_the_language_they_are_asked_in(opened: Library) -> None:
    answer = opened.ask("Wo schläft der Tiger?", video="stadt.mp4")
    assert answer.text is not None
    assert GERMAN[2] in answer.text
    assert opened.ask("Wo schläft der Elefant im Zirkus?", video="stadt.mp4").abstained
    answer = opened.ask("黑猫在哪里？", video="chengshi.mp4")
    assert answer.text is not None
    assert CHINESE[1] in answer.text
    assert opened.ask("大象在哪里跳舞？", video="chengshi.mp4").abstained
    options = ["Kartoffeln", "Pilze", "Fisch"]
    assert opened.ask("Woraus kochen die Kinder die Suppe?", video="stadt.mp4", options=options).option_index == 0


def test_languages_are_shown_and_exported(opened: Library, library: Path) -> None:
    for name, language, code in (("stadt.mp4", "German", "de"), ("chengshi.mp4", "Chinese", "zh")):
        story = opened.story(name)
        assert f"speech in {language}" in " ".join(story.render("tree").split())
        exported = json.loads(story.render("json"))
        assert exported["video"]["languages"] == {"speech": [code], "screen_text": []}
        again = Library(library / f"again-{code}")
        with again:
            path = opened.export(name, output=library / f"{code}.json")
            (row,) = again.import_captions([path]).rows
            assert language in row.warnings[0]
            assert again.story(name).render("json") == story.render("json")


def test_what_the_encoder_does_not_know_is_said_once_and_for_each_video(library: Path) -> None:
    rows = {row["video"]: row for row in json.loads((library / "build.json").read_text())["videos"]}
    said = (library / "build.err").read_text()
    for name, language in (("stadt.mp4", "German"), ("chengshi.mp4", "Chinese")):
        (warning,) = rows[name]["warnings"]
        assert f"text in {language} is found by its words, hardly by its meaning" in warning
        assert said.count(warning) == 1
    status = json.loads(fdvs("status", "-L", library / "library", "--json").out)["videos"]
    assert {row["video"]: row["warnings"] for row in status} == {name: row["warnings"] for name, row in rows.items()}
