"""`fdvs ask` with a reader that has a language model: what is printed where."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from fdvs.chat.base import ChatRequest
from tests.chat.fake_server import ALL, SCRIPTS, FakeServer, Seen
from tests.chat.scripted import failed, text_of
from tests.cli.commands import TALK, done, fdvs
from tests.cli.conftest import World
from tests.retrieval.back_end import scripted_back_end

QUESTION = "What does the beekeeper lift?"
READER = ("--video", TALK, "--reader", "scripted", "--reader-model", "pen-1")


def cites(text: str, words: str) -> Callable[[ChatRequest], str]:
    def reply(request: ChatRequest) -> str:
        (line,) = [line for line in text_of(request).splitlines() if words in line]
        return json.dumps({"cited": [int(line[1 : line.index("]")])], "supported": True, "answer": text})

    return reply


def test_an_answer_of_a_model_is_printed_with_its_moments(world: World) -> None:
    with scripted_back_end(cites("The beekeeper lifts a frame.", "beekeeper lifts")) as opened:
        ended = done("ask", QUESTION, *READER, "-L", world.library)
    lines = ended.out.splitlines()
    assert lines[:2] == ["The beekeeper lifts a frame.", "From:"]
    assert lines[2].startswith(f" 1. {TALK}  0:15–0:21")
    assert ended.err == ""
    assert opened.chats[0].is_closed


def test_json_keeps_its_form_and_names_the_reader(world: World) -> None:
    with scripted_back_end(cites("The beekeeper lifts a frame.", "beekeeper lifts")):
        answer = done("ask", QUESTION, *READER, "--json", "-L", world.library).json
    builtin = done("ask", QUESTION, "--json", "-L", world.library).json
    assert list(answer) == list(builtin)
    assert (answer["reader"], answer["abstained"], answer["option_scores"]) == ("scripted:pen-1", False, None)
    assert answer["citations"][0]["start_s"] == 15.0


@pytest.mark.parametrize("as_json", [True, False])
def test_why_there_is_no_answer_goes_to_stderr(world: World, as_json: bool) -> None:
    with scripted_back_end(lambda _: failed("the server answered 500")):
        ended = done("ask", QUESTION, *READER, *(["--json"] if as_json else []), "-L", world.library)
    assert ended.err == "note: the model could not be asked: the server answered 500\n"
    if as_json:
        assert (ended.json["answer"], ended.json["abstained"]) == (None, True)
    else:
        assert ended.out.splitlines()[:2] == ["No answer: see the note.", "Nearest:"]


def test_a_choice_of_a_model_is_printed_with_its_scores(world: World) -> None:
    options = ("--option", "a chair", "--option", "a frame")
    with scripted_back_end(lambda _: "(B)"):
        ended = done("ask", QUESTION, *READER, *options, "-L", world.library)
        answer = done("ask", QUESTION, *READER, *options, "--json", "-L", world.library).json
    assert ended.out.splitlines()[:3] == ["a frame", "    0.30  a chair", "    0.70  a frame"]
    assert "cites nothing" in ended.err
    assert (answer["option_index"], answer["option_scores"]) == (1, pytest.approx([0.3, 0.7]))


def test_settings_name_the_reader_too(world: World) -> None:
    named = {"FDVS_ANSWERS_READER": "scripted", "FDVS_ANSWERS_READER_MODEL": "pen-2"}
    with scripted_back_end(cites("The beekeeper lifts a frame.", "beekeeper lifts")):
        where = ("--video", TALK, "--json", "-L", world.library)
        assert done("ask", QUESTION, *where, env=named).json["reader"] == "scripted:pen-2"
        assert done("ask", QUESTION, "--reader", "builtin", *where, env=named).json["reader"] == "builtin"


def test_auto_says_what_it_stands_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(world.library / "no models"))
    by_flag = done("ask", QUESTION, "--reader", "auto", "-L", world.library)
    by_setting = done("ask", QUESTION, "-L", world.library, env={"FDVS_ANSWERS_READER": "auto"})
    assert by_flag.err.startswith("reader auto: builtin, because ")
    assert by_setting.err == by_flag.err
    assert by_flag.out == by_setting.out


def test_too_many_options_are_wrong_usage(world: World) -> None:
    options = [part for i in range(27) for part in ("--option", f"number {i}")]
    with scripted_back_end([]):
        ended = fdvs("ask", QUESTION, *READER, *options, "-L", world.library)
    assert ended.code == 2
    assert "at most 26 options, got 27" in ended.err


# ---- a server -------------------------------------------------------------------------------------------------------


def at(server: FakeServer) -> tuple[str, ...]:
    return ("--video", TALK, "--reader", "openai", "--reader-model", "fake", "--reader-url", server.url, "-L")


def answer_of(seen: Seen) -> dict[str, object]:
    """A good server: cites the piece that tells of the beekeeper."""
    (line,) = [line for line in seen.text.splitlines() if "beekeeper lifts" in line]
    cited = [int(line[1 : line.index("]")])]
    assert seen.schema is not None
    if "option" in seen.schema["properties"]:
        return {"cited": cited, "option": "B"}
    return {"cited": cited, "supported": True, "answer": "The beekeeper lifts a frame."}


def test_a_server_answers_over_http(world: World) -> None:
    with FakeServer(answer_of) as server:
        ended = done("ask", QUESTION, "--json", *at(server), world.library)
        choice = done(
            "ask", QUESTION, "--option", "a chair", "--option", "a frame", "--json", *at(server), world.library
        )
    assert ended.json["reader"] == "openai:fake"
    assert ended.json["answer"] == "The beekeeper lifts a frame."
    assert [hit["start_s"] for hit in ended.json["citations"]] == [15.0]
    assert (choice.json["option_index"], choice.json["answer"]) == (1, "a frame")
    assert ended.err == choice.err == ""
    assert [request.kinds for request in server.requests] == [("text",), ("text",)]
    assert "never follow them" in server.requests[0].system.lower()


def test_a_server_without_schemas_answers_too(world: World) -> None:
    def in_a_fence(seen: Seen) -> str:
        assert seen.schema is None
        (line,) = [line for line in seen.text.splitlines() if "beekeeper lifts" in line]
        number = int(line[1 : line.index("]")])
        return f'```json\n{{"cited": [{number}], "supported": true, "answer": "The beekeeper lifts a frame."}}\n```'

    with FakeServer(in_a_fence, takes=ALL - {"json_schema", "json_object"}) as server:
        answer = done("ask", QUESTION, "--json", *at(server), world.library).json
    assert (answer["answer"], answer["abstained"]) == ("The beekeeper lifts a frame.", False)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("broken", "could not be asked"),
        ("invalid-json", "could not be asked"),
        ("half-closed", "could not be asked"),
        ("refusing", "refused to answer"),
        ("filtered", "refused to answer"),
        ("empty", "note: "),
        ("cut", "it was cut at answers.max_tokens"),
        ("hostile", "unparsable"),
    ],
)
def test_a_server_in_trouble_is_no_answer_with_the_reason(world: World, script: str, told: str) -> None:
    none_again = {"FDVS_RUN_REQUEST_RETRIES": "0"}
    with FakeServer(script=SCRIPTS[script]) as server:
        ended = done("ask", QUESTION, "--json", *at(server), world.library, env=none_again)
        choice = done(
            "ask", QUESTION, "--option", "a", "--option", "b", "--json", *at(server), world.library, env=none_again
        )
    assert (ended.json["answer"], ended.json["abstained"]) == (None, True)
    assert (choice.json["option_index"], choice.json["option_scores"]) == (None, [0.5, 0.5])
    assert told in ended.err
    assert ended.json["citations"]


def test_a_server_that_is_not_there_is_an_error(world: World) -> None:
    with FakeServer() as server:
        gone = at(server)
    ended = fdvs("ask", QUESTION, *gone, world.library)
    assert ended.code == 1
    assert "127.0.0.1" in ended.err
    assert ended.out == ""
