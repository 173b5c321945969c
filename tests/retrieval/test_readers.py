"""Readers by name: in Python over a library and over a story, each opened once and closed in the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import fdvs
from fdvs.chat.base import ChatRequest
from fdvs.chat.registry import Serving
from fdvs.errors import BackendUnavailableError, ConsentError, UnknownBackendError, UsageError
from fdvs.retrieval.readers import Readers, chosen_reader, open_reader
from fdvs.settings import AnswerSettings, RunSettings, Settings
from tests.chat.scripted import text_of
from tests.retrieval.back_end import NAME, Opened, scripted_back_end

BEES = (
    {"video": "bees", "start_s": 0, "end_s": 4, "text": "A woman in a red coat opens a wooden door.", "duration_s": 20},
    {"video": "bees", "start_s": 4, "end_s": 9, "text": "She explains how bees make honey."},
    {"video": "bees", "start_s": 9, "end_s": 20, "text": "A beekeeper lifts a frame out of a white hive."},
)
QUESTION = "What does the beekeeper lift?"


def answers_with_the_hive(request: ChatRequest) -> str:
    (line,) = [line for line in text_of(request).splitlines() if "beekeeper lifts" in line]
    number = int(line[1 : line.index("]")])
    return json.dumps({"cited": [number], "supported": True, "answer": "The beekeeper lifts a frame."})


@pytest.fixture
def opened() -> Iterator[Opened]:
    with scripted_back_end(answers_with_the_hive) as found:
        yield found


@pytest.fixture
def bees(tmp_path: Path) -> Path:
    """A library of one story that was imported."""
    captions = tmp_path / "bees.jsonl"
    captions.write_text("".join(json.dumps(line) + "\n" for line in BEES))
    with fdvs.Library(tmp_path / "library", settings=Settings()) as library:
        assert library.import_captions([captions]).exit_code == 0
    return tmp_path / "library"


def test_a_library_answers_with_the_reader_of_its_settings(bees: Path, opened: Opened) -> None:
    answers = AnswerSettings(reader=NAME, reader_model="pen-1", reader_url="file:/models/pen")
    run = RunSettings(requests=3, request_timeout_s=7.0, request_retries=2)
    with fdvs.Library(bees, create=False, settings=Settings(answers=answers, run=run)) as library:
        first, second = library.ask(QUESTION), library.ask(QUESTION)
        assert first == second
        assert (first.text, first.reader) == ("The beekeeper lifts a frame.", "scripted:pen-1")
        assert [hit.span.start_s for hit in first.citations] == [9.0]
        assert library.ask(QUESTION, reader="builtin").reader == "builtin"
        assert not opened.chats[0].is_closed
    assert opened.made_with == [("pen-1", "file:/models/pen", Serving(3, 7.0, 2))]
    assert opened.chats[0].is_closed


def test_the_caller_can_name_another_reader(bees: Path, opened: Opened) -> None:
    with fdvs.Library(bees, create=False, settings=Settings()) as library:
        assert library.ask(QUESTION).reader == "builtin"
        assert library.ask(QUESTION, reader=NAME, reader_model="a").reader == "scripted:a"
        assert library.ask(QUESTION, reader=NAME, reader_model="b").reader == "scripted:b"
        assert library.ask(QUESTION, reader=NAME, reader_model="a").reader == "scripted:a"
    assert [model for model, _, _ in opened.made_with] == ["a", "b"]
    assert all(chat.is_closed for chat in opened.chats)


def test_a_story_alone_is_answered_by_a_model_too(bees: Path, opened: Opened, tmp_path: Path) -> None:
    with fdvs.Library(bees, create=False, settings=Settings()) as library:
        file = library.export("bees", output=tmp_path / "bees.json")
    with fdvs.Story.load(file) as story:
        assert story.ask(QUESTION).reader == "builtin"
        answer = story.ask(QUESTION, reader=NAME, reader_model="pen-1")
        assert (answer.text, answer.reader) == ("The beekeeper lifts a frame.", "scripted:pen-1")
        assert answer.citations[0].video == "bees"
    assert opened.chats[0].is_closed
    settings = Settings(answers=AnswerSettings(reader=NAME, reader_model="pen-2"))
    with fdvs.Story.load(file, settings=settings) as story:
        assert story.ask(QUESTION).reader == "scripted:pen-2"


def test_a_closed_reader_is_opened_again_when_it_is_asked_for(opened: Opened) -> None:
    readers = Readers(Settings())
    who = readers.choice(NAME, "a")
    assert readers.open(who) is readers.open(who)
    readers.close()
    readers.close()
    readers.open(who)
    assert [chat.is_closed for chat in opened.chats] == [True, False]
    readers.close()


def test_another_reader_does_not_get_the_models_of_the_settings() -> None:
    said = AnswerSettings("openai", "big", "http://127.0.0.1:1/v1")
    assert chosen_reader(said, None, None, None) == said
    assert chosen_reader(said, "openai", None, None) == said
    assert chosen_reader(said, None, "small", None) == replace(said, reader_model="small")
    assert chosen_reader(said, "vllm", None, None) == AnswerSettings("vllm")
    assert chosen_reader(said, "vllm", "mine", None) == AnswerSettings("vllm", "mine")


def test_a_model_is_never_called_by_the_name_of_another() -> None:
    said = AnswerSettings("vllm", "big@01234567", "file:/models/big")
    assert chosen_reader(said, None, "small", None) == AnswerSettings("vllm", "small", "")
    assert chosen_reader(said, None, None, "file:/models/small") == AnswerSettings("vllm", "", "file:/models/small")
    assert chosen_reader(said, "vllm", "small", "file:/x") == AnswerSettings("vllm", "small", "file:/x")


def test_an_unknown_reader_lists_the_known_ones() -> None:
    known = "auto, builtin, openai, transformers, vllm"
    with pytest.raises(UnknownBackendError, match=f"unknown reader 'gpt'; known: {known}"):
        Readers(Settings()).choice("gpt")


def test_a_reader_without_an_address_or_a_model_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="--reader-url"):
        Readers(Settings()).choice("openai", "some-model")
    with pytest.raises(BackendUnavailableError, match="neither a folder"):
        Readers(Settings()).choice("transformers", str(tmp_path / "no model"))


def test_nothing_goes_to_a_reader_elsewhere_without_leave(bees: Path, tmp_path: Path) -> None:
    elsewhere = {"reader": "openai", "reader_model": "m", "reader_url": "https://models.example/v1"}
    with fdvs.Library(bees, create=False, settings=Settings()) as library:
        with pytest.raises(
            ConsentError,
            match=r"sends text from your videos to https://models\.example, in 1 request: about 4,000",
        ):
            library.ask(QUESTION, reader="openai", reader_model="m", reader_url="https://models.example/v1")
        file = library.export("bees", output=tmp_path / "bees.json")
    with fdvs.Story.load(file) as story, pytest.raises(ConsentError):
        story.ask(QUESTION, **elsewhere)  # type: ignore[arg-type]


def test_the_builtin_reader_needs_no_opening() -> None:
    readers = Readers(Settings())
    assert open_reader(readers.choice(), AnswerSettings(), RunSettings()) is None
    assert readers.open(readers.choice("builtin")) is None
