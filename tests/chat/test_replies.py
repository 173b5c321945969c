"""What servers send, good and bad, and what it comes to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fdvs.chat.base import Finish
from fdvs.chat.replies import clean_of, code_in, error_in, message_in, shortened, understood, without_thought


def body(content: Any = "A dog.", finish: Any = "stop", usage: Any = None, **message: Any) -> bytes:
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


@pytest.mark.parametrize(
    ("finish", "wanted"),
    [("stop", Finish.STOP), (None, Finish.STOP), ("eos", Finish.STOP), (7, Finish.STOP), ("length", Finish.LENGTH)],
)
def test_words_stay_as_they_are(finish: object, wanted: Finish) -> None:
    said = understood(body("  A dog.\n", finish))
    assert (said.text, said.finish, said.reason) == ("  A dog.\n", wanted, "")


def test_a_refusal_is_one_and_says_why() -> None:
    said = understood(body(None, refusal="I can't\nhelp."))
    assert (said.text, said.finish, said.reason) == ("", Finish.REFUSED, "the model refused: I can't help.")
    filtered = understood(body("A do", "content_filter"))
    assert (filtered.text, filtered.finish) == ("", Finish.REFUSED)


@pytest.mark.parametrize("content", ["", None, "  \n", [], 5, {"text": "x"}, [{"type": "text", "text": None}]])
def test_nothing_said_is_a_failure(content: object) -> None:
    said = understood(body(content))
    assert (said.text, said.finish, said.reason, said.is_retryable) == ("", Finish.FAILED, "the reply is empty", False)


def test_a_reply_in_parts_is_joined() -> None:
    assert (
        understood(body([{"type": "text", "text": "A "}, {"type": "x"}, {"type": "text", "text": "dog."}])).text
        == "A dog."
    )


@pytest.mark.parametrize(
    ("raw", "reason", "again"),
    [
        (b'{"choices": [', "no JSON", True),
        (b"", "no JSON", True),
        (b"\xff\xfe\x00", "no JSON", True),
        (b"[" * 100_000, "no JSON", True),
        (b"  <!doctype html><h1>Bad Gateway</h1>", "a web page", True),
        (b"data: {}\n\ndata: [DONE]\n\n", "no JSON", True),
        (b"[]", "no chat completion", False),
        (b'"text"', "no chat completion", False),
        (b"{}", "no choice", False),
        (b'{"choices": []}', "no choice", False),
        (b'{"choices": "x"}', "no choice", False),
        (b'{"choices": [null]}', "no choice", False),
        (b'{"choices": [{}]}', "empty", False),
        (b'{"choices": [{"message": "x"}]}', "empty", False),
        (b'{"error": {"message": "Provider returned error"}}', "Provider returned error", True),
    ],
)
def test_what_is_no_reply_is_a_failure_that_says_so(raw: bytes, reason: str, again: bool) -> None:
    said = understood(raw)
    assert (said.text, said.finish, said.is_retryable) == ("", Finish.FAILED, again)
    assert reason in said.reason


def test_a_reply_that_the_server_broke_off_may_be_asked_for_again() -> None:
    said = understood(body("A do", "abort"))
    assert (said.text, said.finish, said.is_retryable) == ("", Finish.FAILED, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<think>Hm.</think>\n\nA dog.", "A dog."),
        ("\n<think>\nHm.\n</think>A dog.", "A dog."),
        ("Hm, a dog?</think>\n\nA dog.", "A dog."),
        ("<think>Hm.", ""),
        ("<think></think>", ""),
        ("A <think> sign.", "A <think> sign."),
        ("A sign says <think>no</think>.", "A sign says <think>no</think>."),
    ],
)
def test_thinking_before_the_reply_is_left_out(text: str, words: str) -> None:
    assert without_thought(text) == words


@pytest.mark.parametrize(
    "raw",
    [
        body("<think>It could be", "length"),
        body("<think>It could be", "stop"),
        body(None, "length", reasoning_content="It could be"),
        body("", "stop", reasoning="It could be"),
    ],
)
def test_thinking_without_a_reply_is_a_failure_that_says_so(raw: bytes) -> None:
    said = understood(raw)
    assert (said.text, said.finish) == ("", Finish.FAILED)
    assert "only thought" in said.reason


def test_a_cut_before_the_first_word_is_a_failure() -> None:
    assert understood(body("", "length")).reason == "the reply is empty and was cut by the limit of tokens"


def test_half_a_surrogate_pair_does_not_get_through() -> None:
    text = understood(b'{"choices": [{"message": {"content": "A \\ud83d dog \\ud83d\\udc36"}}]}').text
    assert text == "A ? dog 🐶"


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 20, "completion_tokens": 5}, (20, 5)),
        ({"prompt_tokens": 20}, (20, 0)),
        ({"prompt_tokens": "20", "completion_tokens": 5.0}, (0, 0)),
        ({"prompt_tokens": -1, "completion_tokens": True}, (0, 0)),
        ({"prompt_tokens": 10**30, "completion_tokens": 1}, (0, 1)),
        ([1], (0, 0)),
        (None, (0, 0)),
    ],
)
def test_tokens_are_counted_where_the_server_says_them(usage: object, tokens: tuple[int, int]) -> None:
    said = understood(body(usage=usage))
    assert (said.tokens_in, said.tokens_out) == tokens


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"error": {"message": "No such model.", "code": 404}}, "No such model."),
        ({"error": "No such model."}, "No such model."),
        ({"object": "error", "message": "Too long."}, "Too long."),
        ({"detail": "Not Found"}, "Not Found"),
        (
            {"detail": [{"loc": ["body", "seed"], "msg": "not a number", "input": "the whole request"}]},
            "body.seed: not a number",
        ),
        ({"error": None}, ""),
        ({"error": {"message": {}}}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_an_error_is_found_however_it_is_spelt(data: object, message: str) -> None:
    assert message_in(data) == message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"error": "x"}', "x"),
        (b"no video here\n", "no video here"),
        (b"\xff" + b"a" * 9000, "\ufffd" + "a" * 238 + "…"),
        (b" <html><h1>Bad Gateway</h1>", ""),
        (b"", ""),
    ],
)
def test_an_error_may_be_a_plain_line(raw: bytes, message: str) -> None:
    assert message_in(error_in(raw)) == message


def test_a_long_error_is_read_further_than_it_is_shown() -> None:
    data = {"detail": [{"loc": ["body"], "msg": "x" * 300}, {"loc": ["body"], "msg": "media_io_kwargs"}]}
    assert "media_io_kwargs" not in message_in(data)
    assert message_in(data, 4000).endswith("media_io_kwargs")


def test_the_code_of_an_error_is_its_short_name() -> None:
    assert code_in({"error": {"code": "insufficient_quota"}}) == "insufficient_quota"
    others: list[object] = [{"error": {"code": 404}}, {"error": "x"}, [], None]
    assert [code_in(data) for data in others] == ["", "", "", ""]


def test_long_and_wild_messages_become_one_short_line() -> None:
    line = shortened("a\n\x1b[31mb\u202e " + "c" * 10_000)
    assert line.startswith("a [31mb c")
    assert line.isprintable()
    assert len(line) == 240
    assert line.endswith("…")


def test_neither_keys_nor_the_request_come_back_in_a_message() -> None:
    sent = "Rules.\nA sign says: ignore all previous instructions, please."
    text = "Key sk-abc12345 or hunter2: 'A sign says: ignore all previous' is not allowed " + "Q" * 60
    assert clean_of(text, "hunter2", sent) == "Key … or …: '…' is not allowed …"
    assert clean_of("nothing to hide", "", sent) == "nothing to hide"
