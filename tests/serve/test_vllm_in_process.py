"""vLLM in this process on tiny checkpoints: the same prompts and replies as through transformers, in one stream."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fdvs.chat.base import ChatReply, ChatRequest, Finish, Frames
from fdvs.chat.registry import Serving, open_chat
from fdvs.errors import UsageError
from fdvs.records import TimedPicture
from tests.chat.pictures import frames
from tests.conftest import TinyModel
from tests.encoders.models import needs

# The server's libraries warn of each other; here it matters what comes of them.
pytestmark = [pytest.mark.model, pytest.mark.slow, needs("vllm"), pytest.mark.filterwarnings("default")]

SYSTEM = "You caption clips of videos."
SCHEMA = {
    "type": "object",
    "properties": {"people": {"type": "integer", "minimum": 0, "maximum": 9}, "is_outdoors": {"type": "boolean"}},
    "required": ["people", "is_outdoors"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module", params=["qwen3_vl", "qwen2_5_vl", "qwen3_5", "qwen2"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def chat(family: str, tiny_model: TinyModel) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.setenv("OMP_NUM_THREADS", "2")
        opened = open_chat("vllm", f"tiny/{family}", f"file:{tiny_model(family)}")
        yield opened
        opened.close()


def seen(family: str, seed: int) -> tuple[Frames, ...]:
    return () if family == "qwen2" else (frames(3_600_000, 3_601_000, 3_604_200, 3_609_000, seed=seed),)


def asked(family: str, seed: int, max_tokens: int = 6) -> ChatRequest:
    return ChatRequest(SYSTEM, (*seen(family, seed), f"What happens at {seed}?"), max_tokens=max_tokens)


def test_requests_are_counted_and_bounded_alone_and_together(chat: Any, family: str) -> None:
    requests = [asked(family, seed, max_tokens) for seed, max_tokens in ((1, 6), (2, 3), (3, 9))]
    together = chat.chat(requests)
    alone = [chat.chat([request])[0] for request in requests]
    assert [reply.text for reply in together] == [reply.text for reply in alone]
    assert [reply.finish for reply in together] == [Finish.LENGTH] * 3, [reply.reason for reply in together]
    assert [reply.usage.tokens_out for reply in together] == [6, 3, 9]
    assert {reply.usage.images for reply in together} == {0 if family == "qwen2" else 4}
    assert all(reply.usage.seconds > 0 for reply in together)
    assert len({reply.text for reply in together}) == 3


def test_prompt_has_as_many_tokens_as_through_transformers(chat: Any, family: str, tiny_model: TinyModel) -> None:
    """Both read the same template, the same true times and the same number of parts of pictures."""
    other: Any = open_chat("transformers", "", f"file:{tiny_model(family)}")
    requests = [asked(family, seed) for seed in (1, 2)] + [ChatRequest("", ("Who?",), max_tokens=2)]
    counts = [[reply.usage.tokens_in for reply in one.chat(requests)] for one in (chat, other)]
    other.close()
    assert chat.frames_as == other.frames_as
    assert counts[0] == counts[1]


def test_schema_binds_the_reply(chat: Any, family: str) -> None:
    request = ChatRequest(SYSTEM, (*seen(family, 4), "How many people?"), schema=SCHEMA, max_tokens=400)
    reply = chat.chat([request])[0]
    assert reply.finish is Finish.STOP, reply
    read = json.loads(reply.text)
    assert set(read) == {"people", "is_outdoors"}
    assert read["people"] in range(10)


def test_request_that_vllm_refuses_fails_alone(chat: Any, family: str) -> None:
    requests = [
        ChatRequest(SYSTEM, ("dog " * 20_000,), max_tokens=2),
        ChatRequest(SYSTEM, (Frames((TimedPicture(0, b"no picture"),)), "What?"), max_tokens=2),
        asked(family, 1, 2),
        ChatRequest(SYSTEM, (Frames(()), "Who?"), max_tokens=2),
    ]
    replies: list[ChatReply] = chat.chat(requests)
    wanted = [Finish.FAILED, Finish.FAILED, Finish.LENGTH, Finish.LENGTH]
    assert [reply.finish for reply in replies] == wanted
    assert "16384" in replies[0].reason
    reads_only = "tiny/qwen2 reads text only and was given 1 pictures"
    assert replies[1].reason == (reads_only if family == "qwen2" else "a picture of 10 bytes cannot be decoded")


def test_draws_follow_the_seed(chat: Any, family: str) -> None:
    def draw(seed: int) -> ChatRequest:
        return ChatRequest("", ("Tell me of the sea.",), max_tokens=10, temperature=1.5, seed=seed)

    replies = [reply.text for reply in chat.chat([draw(1), draw(2), draw(1)])]
    assert replies[0] == replies[2] != replies[1]


def test_engine_that_breaks_fails_what_it_had_and_goes_on(chat: Any, family: str) -> None:
    engine, real = chat.llm.llm_engine, chat.llm.llm_engine.step
    broken: list[bool] = []

    def step() -> Any:
        if not broken:
            broken.append(True)
            raise RuntimeError("a kernel gave up")
        return real()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "step", step)
        first = chat.chat([asked(family, 1)])[0]
    assert (first.finish, first.reason) == (Finish.FAILED, "vLLM stopped: RuntimeError: a kernel gave up")
    assert engine.get_num_unfinished_requests() == 0
    assert chat.chat([asked(family, 1)])[0].finish is Finish.LENGTH


def test_what_was_seen_is_not_computed_again(chat: Any, family: str) -> None:
    config = chat.llm.llm_engine.vllm_config
    assert config.cache_config.enable_prefix_caching
    assert config.scheduler_config.enable_chunked_prefill or family == "qwen2"
    assert config.model_config.max_model_len == chat.context_tokens == 16384


def test_frames_as_images_and_closing_while_it_writes(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    others = set(threading.enumerate())
    where = f"file:{tiny_model('qwen3_vl')}"
    chat: Any = open_chat("vllm", "", where, Serving(frames_as="images"))
    request = ChatRequest(SYSTEM, (frames(0, 500, 900), "What?"), max_tokens=3)
    assert chat.frames_as == "images"
    assert chat.chat([request])[0].finish is Finish.LENGTH
    endless = [chat.submit(ChatRequest("", (f"Count from {i}.",), max_tokens=12_000)) for i in range(3)]
    chat.close()
    chat.close()
    replies = [future.result(0) for future in endless]
    assert {reply.finish for reply in replies} == {Finish.FAILED}
    assert all(reply.is_retryable and not reply.text for reply in replies)
    assert "fdvs-vllm" not in {thread.name for thread in set(threading.enumerate()) - others}
    with pytest.raises(UsageError, match="takes no video"):
        open_chat("vllm", "", f"file:{tiny_model('qwen2')}", Serving(frames_as="video"))
