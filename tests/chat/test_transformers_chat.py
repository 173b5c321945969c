"""Real models of several families through transformers, in this process: tiny ones of random numbers."""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fdvs.chat.base import ChatReply, ChatRequest, Finish, Frames
from fdvs.chat.collate import UnlikeError, collate
from fdvs.chat.generation import generate
from fdvs.chat.registry import FramesAs, Serving, open_chat
from fdvs.encoders._local_models import require
from fdvs.errors import BackendUnavailableError, UsageError
from fdvs.records import TimedPicture
from tests.chat.pictures import frames, jpeg
from tests.conftest import TinyModel
from tests.encoders.models import needs
from tests.tiny_models import CONTEXT_TOKENS, FAMILIES, build

pytestmark = [pytest.mark.model, needs("torch", "transformers", "safetensors")]

SEEING = [family for family in FAMILIES if family != "qwen2"]
WITH_VIDEO = ["qwen2_5_vl", "qwen3_vl", "qwen3_5", "smolvlm"]
SYSTEM = "You caption clips of videos."
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def opened(tiny_model: TinyModel) -> Iterator[Open]:
    """`opened(family, frames_as)`: a chat model over the family's tiny checkpoint, loaded once."""
    chats: dict[tuple[str, FramesAs], Any] = {}

    def chat_of(family: str, frames_as: FramesAs = "auto") -> Any:
        if (family, frames_as) not in chats:
            where = f"file:{tiny_model(family)}"
            chats[family, frames_as] = open_chat("transformers", f"tiny/{family}", where, Serving(frames_as=frames_as))
        return chats[family, frames_as]

    yield chat_of
    for chat in chats.values():
        chat.close()


def alone(chat: Any, request: ChatRequest) -> ChatReply:
    reply: ChatReply = chat.chat([request])[0]
    return reply


def prompt_of(chat: Any, request: ChatRequest) -> str:
    """What the model reads, with every token that stands for a part of a picture."""
    tokens: str = chat.tokenizer.decode(chat.prepared(request).inputs["input_ids"][0])
    return tokens


def written_tokens(chat: Any, request: ChatRequest) -> list[int]:
    row = chat.prepared(request)
    return generate(chat.network, row.inputs, [row], frozenset(), stop=threading.Event())[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_reply_in_a_batch_is_the_reply_alone(opened: Open, family: str) -> None:
    chat = opened(family)
    pictures = [] if family == "qwen2" else [frames(41_000, 41_500, 42_000, seed=1), frames(0, 900, seed=7)]
    requests = [
        *(ChatRequest(SYSTEM, (seen, "What happens?"), max_tokens=8) for seen in pictures),
        ChatRequest(SYSTEM, ("Tell a story of the dog on the beach, and of the two children.",), max_tokens=12),
        ChatRequest("", ("Who?",), max_tokens=5),
    ]
    together = chat.answer(requests)
    one_by_one = [chat.answer([request])[0] for request in requests]
    assert together == one_by_one
    assert all(reply.finish in (Finish.STOP, Finish.LENGTH) for reply in together), [one.reason for one in together]
    assert len({reply.text for reply in together}) == len(requests)
    assert [reply.usage.tokens_in for reply in together] == [chat.prepared(request).length for request in requests]
    assert [reply.text for reply in chat.chat(requests)] == [reply.text for reply in together]


@pytest.mark.parametrize("family", SEEING)
@pytest.mark.parametrize("frames_as", ["auto", "images"])
def test_model_sees_the_pictures(opened: Open, family: str, frames_as: FramesAs) -> None:
    chat = opened(family, frames_as)
    replies = [
        alone(chat, ChatRequest(SYSTEM, (frames(0, 500, 1000, 1500, seed=seed), "What is it?"), max_tokens=24))
        for seed in (1, 21, 41, 61)
    ]
    assert len({reply.text for reply in replies}) > 1
    assert len({reply.usage.tokens_in for reply in replies}) == 1
    assert {reply.usage.images for reply in replies} == {4}


@pytest.mark.parametrize("family", FAMILIES)
def test_frames_reach_the_model_as_what_it_takes(opened: Open, family: str) -> None:
    wanted = "none" if family == "qwen2" else "video" if family in WITH_VIDEO else "images"
    assert opened(family).frames_as == wanted
    if family != "qwen2":
        assert opened(family, "images").frames_as == "images"


def test_video_for_a_model_without_is_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(UsageError, match="takes no video"):
        open_chat("transformers", "", f"file:{tiny_model('gemma3')}", Serving(frames_as="video"))


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_5"])
def test_true_times_stand_before_each_pair_of_frames(opened: Open, family: str) -> None:
    """Uneven ones, far into a film: nothing is sampled again, nothing counted from zero."""
    request = ChatRequest(SYSTEM, (frames(3_600_000, 3_601_000, 3_604_200, 3_609_000, 3_609_400), "What?"))
    prompt = prompt_of(opened(family), request)
    times = [part.split(" seconds>")[0] for part in prompt.split("<")[1:] if " seconds>" in part]
    assert times == ["3600.5", "3606.6", "3609.4"]
    tokens_of_a_pair = (96 // 32) * (128 // 32)
    assert prompt.count("<|video_pad|>") == 3 * tokens_of_a_pair
    assert prompt.index("3609.4") < prompt.index("What?")


def test_qwen2_5_vl_learns_the_distance_of_the_frames(opened: Open) -> None:
    chat = opened("qwen2_5_vl")
    inputs = chat.prepared(ChatRequest(SYSTEM, (frames(60_000, 62_500, 65_000, 67_500), "What?"))).inputs
    assert inputs["second_per_grid_ts"].tolist() == pytest.approx([5.0])
    assert inputs["video_grid_thw"][0].tolist() == [2, 6, 10]  # in patches of 14: 84 x 140, the nearest it takes
    tokens = inputs["input_ids"][0].tolist()
    assert tokens.count(chat.tokenizer.convert_tokens_to_ids("<|video_pad|>")) == 2 * 6 * 10 // 4


def test_smolvlm_reads_the_time_of_each_frame(opened: Open) -> None:
    prompt = prompt_of(opened("smolvlm"), ChatRequest(SYSTEM, (frames(61_000, 64_000, 69_000), "What?")))
    assert prompt.count("<image>") == 3 * 16
    for stamp in ("Frame from 01:01:", "Frame from 01:04:", "Frame from 01:09:", "three frames from a 0:01:13"):
        assert stamp in prompt


@pytest.mark.parametrize(("family", "mark"), [("qwen3_vl", "<|image_pad|>"), ("gemma3", "<image_soft_token>")])
def test_every_picture_has_its_tokens_where_frames_are_images(opened: Open, family: str, mark: str) -> None:
    chat = opened(family, "images")
    counts = [
        prompt_of(chat, ChatRequest(SYSTEM, (frames(*range(n)), "What?"))).count(mark) if n else 0 for n in range(4)
    ]
    assert counts[1] > 0
    assert counts == [n * counts[1] for n in range(4)]


@pytest.mark.parametrize("family", WITH_VIDEO)
def test_single_frame_and_frames_of_several_sizes_are_seen(opened: Open, family: str) -> None:
    sizes = Frames((TimedPicture(0, jpeg(1)), TimedPicture(400, jpeg(2, 64, 200)), TimedPicture(800, jpeg(3))))
    for seen in (frames(5_000), sizes):
        reply = alone(opened(family), ChatRequest(SYSTEM, (seen, "What?"), max_tokens=3))
        assert reply.finish is not Finish.FAILED, reply.reason


@pytest.mark.parametrize("family", ["qwen3_vl", "smolvlm", "gemma3"])
def test_pictures_of_different_shapes_share_a_batch(opened: Open, family: str) -> None:
    chat = opened(family, "images")
    wide, tall = (Frames((TimedPicture(0, jpeg(5, *size)),)) for size in ((300, 60), (40, 160)))
    requests = [ChatRequest(SYSTEM, (seen, "What?"), max_tokens=6) for seen in (wide, tall)]
    assert chat.answer(requests) == [chat.answer([request])[0] for request in requests]


def test_request_without_pictures_in_its_frames_is_text(opened: Open) -> None:
    chat = opened("qwen3_vl")
    empty = alone(chat, ChatRequest(SYSTEM, (Frames(()), "Who?"), max_tokens=4))
    assert empty.text == alone(chat, ChatRequest(SYSTEM, ("Who?",), max_tokens=4)).text


@pytest.mark.parametrize("family", ["qwen2", "qwen3_5"])
def test_replies_end_at_the_bound_of_their_own_request(opened: Open, family: str) -> None:
    chat = opened(family)
    bounds = (3, 9, 1)
    replies = chat.answer([ChatRequest(SYSTEM, ("Tell me of the river.",), max_tokens=bound) for bound in bounds])
    assert [reply.usage.tokens_out for reply in replies] == list(bounds)
    assert {reply.finish for reply in replies} == {Finish.LENGTH}
    assert replies[1].text.startswith(replies[2].text.rstrip("\ufffd"))


def test_reply_stops_at_the_token_that_ends_it(tmp_path: Path, opened: Open) -> None:
    request = ChatRequest(SYSTEM, ("Tell me of the river.",), max_tokens=9)
    chat = opened("qwen2")
    fourth = written_tokens(chat, request)[3]
    stopping = open_chat("transformers", "", f"file:{build('qwen2', tmp_path / 'stopping', eos=[2, fourth])}")
    reply = alone(stopping, request)
    stopping.close()
    assert (reply.finish, reply.usage.tokens_out) == (Finish.STOP, 4)
    assert alone(chat, request).text.startswith(reply.text.rstrip("\ufffd"))


def test_special_tokens_are_no_part_of_the_text(opened: Open) -> None:
    """Random weights write them often; a trained model should not, and nobody wants to read them."""
    chat = opened("smolvlm")
    drawn = [ChatRequest("", ("Go on.",), max_tokens=40, temperature=5.0, seed=seed) for seed in range(4)]
    marks = {i: str(token) for i, token in chat.tokenizer.added_tokens_decoder.items() if token.special}
    assert any(marks.keys() & set(written_tokens(chat, request)) for request in drawn)
    texts = [reply.text for reply in chat.chat(drawn)]
    assert not any(mark in text for mark in marks.values() for text in texts)


def test_draws_follow_the_seed_and_not_the_company(opened: Open) -> None:
    chat = opened("qwen2")

    def draw(seed: int, temperature: float = 1.5) -> ChatRequest:
        return ChatRequest("", ("Tell me of the sea.",), max_tokens=10, temperature=temperature, seed=seed)

    together = chat.answer([draw(1), draw(2), draw(1), draw(3, 0.0)])
    assert together[0] == together[2]
    assert len({reply.text for reply in together}) == 3
    assert chat.answer([draw(2)])[0] == together[1]
    assert chat.answer([draw(9, 0.0)])[0] == together[3]
    nearly_greedy = chat.answer([draw(4, 1e-4)])[0]
    assert nearly_greedy == together[3]


def test_request_that_is_too_long_fails_with_the_numbers(opened: Open) -> None:
    long = ChatRequest(SYSTEM, ("dog " * CONTEXT_TOKENS,), max_tokens=7)
    reply, other = opened("qwen2").chat([long, ChatRequest(SYSTEM, ("Who?",), max_tokens=2)])
    assert (reply.finish, reply.text, reply.is_retryable) == (Finish.FAILED, "", False)
    assert f"the reply may have 7; tiny/qwen2 takes {CONTEXT_TOKENS} together" in reply.reason
    assert other.finish is Finish.LENGTH


def test_picture_that_cannot_be_decoded_fails_alone(opened: Open) -> None:
    broken = Frames((TimedPicture(0, jpeg(1)), TimedPicture(500, jpeg(2)[:40])))
    good = ChatRequest(SYSTEM, (frames(0, 500), "What?"), max_tokens=2)
    replies = opened("qwen3_vl").chat([ChatRequest(SYSTEM, (broken, "What?")), good])
    assert [reply.finish for reply in replies] == [Finish.FAILED, Finish.LENGTH]
    assert replies[0].reason == "a picture of 40 bytes cannot be decoded"


def test_pictures_for_a_model_that_only_reads_fail_clearly(opened: Open) -> None:
    reply = alone(opened("qwen2"), ChatRequest(SYSTEM, (frames(0, 500), "What?")))
    assert (reply.finish, reply.reason) == (Finish.FAILED, "tiny/qwen2 reads text only and was given 2 pictures")


def test_system_is_told_to_models_whose_template_has_no_turn_for_it(tmp_path: Path, tiny_model: TinyModel) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model("qwen2"), folder)
    template = folder / "chat_template.jinja"
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    template.write_text(refusing + template.read_text())
    chat = open_chat("transformers", "", f"file:{folder}")
    prompt = prompt_of(chat, ChatRequest(SYSTEM, ("Who?",)))
    chat.close()
    assert prompt.startswith(f"<|im_start|>user\n{SYSTEM}")


def test_thinking_aloud_is_switched_off_where_the_template_has_a_switch(tmp_path: Path, tiny_model: TinyModel) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model("qwen3_5"), folder)
    template = folder / "chat_template.jinja"
    template.write_text(
        template.read_text() + "{% if enable_thinking is defined and not enable_thinking %}now{% endif %}"
    )
    chat = open_chat("transformers", "", f"file:{folder}")
    prompt = prompt_of(chat, ChatRequest(SYSTEM, ("Who?",)))
    chat.close()
    assert prompt.endswith("assistant\nnow")


def test_hybrid_model_has_both_kinds_of_layers(opened: Open, tiny_model: TinyModel) -> None:
    config = json.loads((tiny_model("qwen3_5") / "config.json").read_text())
    assert set(config["text_config"]["layer_types"]) == {"linear_attention", "full_attention"}


def test_label_context_and_size_of_batches_are_said(opened: Open, tiny_model: TinyModel) -> None:
    where = f"file:{tiny_model('qwen2')}"
    chat = open_chat("transformers", "", where, Serving(requests=2))
    assert chat.model.startswith("tiny-qwen2@")
    assert (chat.name, chat.context_tokens, chat.in_flight) == ("transformers", CONTEXT_TOKENS, 4)
    chat.close()
    reply = alone(chat, ChatRequest("", ("Who?",)))
    assert (reply.finish, reply.reason) == (Finish.FAILED, "the model is closed")


def test_damaged_weights_and_missing_templates_are_clear_errors(tmp_path: Path, tiny_model: TinyModel) -> None:
    mute, torn = tmp_path / "mute", tmp_path / "torn"
    for folder in (mute, torn):
        shutil.copytree(tiny_model("qwen2"), folder)
    (mute / "chat_template.jinja").unlink()
    weights = torn / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(BackendUnavailableError, match="no chat template"):
        open_chat("transformers", "", f"file:{mute}")
    with pytest.raises(BackendUnavailableError, match="cannot be loaded"):
        open_chat("transformers", "", f"file:{torn}")


def test_running_out_of_memory_halves_the_batch(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model itself is real; only its memory is made to look small."""
    torch = require("torch", "models")
    chat = opened("qwen2", "images")
    real = chat.network.generate

    def small(**inputs: Any) -> Any:
        if len(inputs["input_ids"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8 GiB")
        return real(**inputs)

    monkeypatch.setattr(chat.network, "generate", small)
    replies = chat.chat([ChatRequest("", (f"Who is {name}?",), max_tokens=3) for name in ("Ann", "Ben", "Cid", "Dee")])
    assert {reply.finish for reply in replies} == {Finish.LENGTH}
    assert chat.batch == 1
    assert chat.num_halvings >= 1


def test_requests_that_fit_into_no_batch_are_answered_one_by_one_and_counted(
    opened: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chat = opened("qwen3_vl", "images")
    requests = [ChatRequest(SYSTEM, (frames(0, seed=seed), "What?"), max_tokens=4) for seed in range(3)]
    together, before = chat.answer(requests), chat.num_apart

    def unlike(rows: Any, pad_id: int) -> Any:
        if len(rows) > 1:
            raise UnlikeError("pictures of two shapes")
        return collate(rows, pad_id)

    monkeypatch.setattr("fdvs.chat.transformers.collate", unlike)
    with caplog.at_level(logging.WARNING):
        assert chat.answer(requests) == together
    assert chat.num_apart == before + 3
    assert "one by one that do not fit into one batch: pictures of two shapes" in caplog.text


@pytest.mark.parametrize("family", FAMILIES)
def test_tiny_checkpoints_are_equal_byte_for_byte(tmp_path: Path, tiny_model: TinyModel, family: str) -> None:
    files = {path.name: path.read_bytes() for path in tiny_model(family).iterdir()}
    again = build(family, tmp_path / family)
    assert files == {path.name: path.read_bytes() for path in again.iterdir()}
    other = build(family, tmp_path / "other", seed=1)
    assert (other / "model.safetensors").read_bytes() != files["model.safetensors"]
