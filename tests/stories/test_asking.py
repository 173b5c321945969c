"""Work that asks a model: how much is open at once, and what is kept when it ends early."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from fdvs.chat.base import ChatReply, ChatRequest, Frames
from fdvs.errors import ServerError
from fdvs.records import TimedPicture
from fdvs.stories.asking import Asker, Asking
from tests.chat.scripted import Script, ScriptedChat, failed, refused, said, text_of


def ask(*texts: str) -> ChatRequest:
    return ChatRequest("rules", texts)


def echo(request: ChatRequest) -> str:
    return f"re {text_of(request)}"


def twice(name: str, width: int = 1) -> Asking[list[str]]:
    """Asks `width` requests at once, then one that names their replies."""
    first = yield [ask(f"{name}{i}") for i in range(width)]
    (last,) = yield [ask("+".join(reply.text for reply in first))]
    return [*(reply.text for reply in first), last.text]


def nothing() -> Asking[str]:
    yield from ()
    return "at once"


def test_results_stand_in_the_order_of_the_work_whatever_the_order_of_replies() -> None:
    model = ScriptedChat(echo, in_flight=3, shuffled=1)
    results = Asker(model, None, "f").run([twice(name, 3) for name in "abcdefgh"])
    model.close()
    assert [result[0] for result in results] == [f"re {name}0" for name in "abcdefgh"]
    assert results[0][-1] == "re re a0+re a1+re a2"
    assert 3 <= model.most_open <= 6


def test_work_that_asks_nothing_has_its_result() -> None:
    asker = Asker(ScriptedChat([]), None, "f")
    assert asker.run([nothing()]) == ["at once"]
    assert asker.run([]) == []


def test_keys_tell_all_that_shapes_a_reply_apart() -> None:
    request = ask("a")
    keys = [
        Asker(ScriptedChat(echo), None, "f").key(request),
        Asker(ScriptedChat(echo, model="m"), None, "f").key(request),
        Asker(ScriptedChat(echo), None, "g").key(request),
        Asker(ScriptedChat(echo), None, "f").key(ask("a", "b")),
        Asker(ScriptedChat(echo), None, "f").key(ask("a\nb")),
        Asker(ScriptedChat(echo), None, "f").key(ChatRequest("other", ("a",))),
        Asker(ScriptedChat(echo), None, "f").key(ChatRequest("rules", ("a",), schema={"type": "object"})),
        Asker(ScriptedChat(echo), None, "f").key(ChatRequest("rules", ("a",), max_tokens=1)),
        Asker(ScriptedChat(echo), None, "f").key(ChatRequest("rules", ("a",), temperature=0.5)),
        Asker(ScriptedChat(echo), None, "f").key(ChatRequest("rules", ("a",), seed=1)),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == Asker(ScriptedChat(echo), None, "f").key(ask("a"))
    with pytest.raises(AssertionError, match="pictures"):
        Asker(ScriptedChat(echo), None, "f").key(ChatRequest("rules", (Frames((TimedPicture(0, b""),)),)))


class Kept(dict[str, ChatReply]):
    def put(self, key: str, reply: ChatReply) -> None:
        self[key] = reply


def test_what_came_of_requests_is_counted_and_what_was_there_is_not() -> None:
    kept = Kept()
    first = Asker(ScriptedChat(echo), kept, "f")
    first.run([twice("a", 2)])
    assert (first.usage.requests, first.reused, len(kept)) == (3, 0, 3)
    second = Asker(ScriptedChat(echo), kept, "f")
    second.run([twice("a", 2), twice("b")])
    assert (second.usage.requests, second.reused, len(kept)) == (2, 3, 5)


def test_refused_and_failed_replies_reach_their_work_and_are_not_kept() -> None:
    kept = Kept()
    model = ScriptedChat([refused("no"), failed("500"), said("ok")])
    asker = Asker(model, kept, "f")
    assert asker.run([twice("a", 2)]) == [["", "", "ok"]]
    assert (asker.usage.requests, [reply.text for reply in kept.values()]) == (3, ["ok"])


class Hanging(ScriptedChat):
    """Never answers what begins with `slow`."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.slow: list[Future[ChatReply]] = []

    def submit(self, request: ChatRequest) -> Future[ChatReply]:
        if not text_of(request).startswith("slow"):
            return super().submit(request)
        self.slow.append(Future())
        return self.slow[-1]


def test_a_server_that_is_gone_ends_the_work_and_cancels_what_is_open() -> None:
    kept = Kept()
    model = Hanging(lambda one: failed("refused", is_unreachable=True) if "b" in text_of(one) else said("ok"))
    with pytest.raises(ServerError, match="does not answer: refused"):
        Asker(model, kept, "f").run([twice("slow"), twice("a"), twice("b")])
    assert all(future.cancelled() for future in model.slow)
    assert {reply.text for reply in kept.values()} == {"ok"}, "what was answered is not asked again"
