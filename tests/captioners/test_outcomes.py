"""What a reply is worth as a caption."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdvs.captioners.outcomes import is_loop, judge, plain_text, same_on_many
from fdvs.chat.base import ChatReply, Finish
from fdvs.records import Outcome

WALK = "A woman in a red coat walks along a pier. She stops and looks at the sea."


def reply(text: str, finish: Finish = Finish.STOP, reason: str = "") -> ChatReply:
    return ChatReply(text, finish, reason)


def test_a_plain_reply_is_the_caption() -> None:
    judged = judge(reply(f"  {WALK}\n"), 100)
    assert (judged.text, judged.outcome, judged.reason) == (WALK, Outcome.OK, "")


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I am unable to describe people.",
        "Sorry, I cannot view images.",
        "As an AI language model, I do not see pictures.",
        "Unfortunately, I can't identify anyone in this video.",
        "I cannot assist with this request.",
        "I apologize, but this is against the rules.",
    ],
)
def test_a_refusal_in_words_is_refused_and_leaves_no_text(text: str) -> None:
    judged = judge(reply(text), 100)
    assert judged.outcome is Outcome.REFUSED
    assert judged.text == ""
    assert text[:30].replace("’", "’") in judged.reason


@pytest.mark.parametrize(
    "text",
    [
        "A sorry-looking dog sits in the rain.",
        "I see a man who says sorry to a child.",
        "A sign reads: I'm sorry, we are closed.",
        "An AI robot stands on a stage.",
    ],
)
def test_a_caption_about_being_sorry_is_no_refusal(text: str) -> None:
    assert judge(reply(text), 100).outcome is Outcome.OK


@pytest.mark.parametrize("text", ["", "  \n", "...", "**", "<|im_end|>", "— —"])
def test_a_reply_without_words_has_failed(text: str) -> None:
    judged = judge(reply(text), 100)
    assert (judged.text, judged.outcome) == ("", Outcome.FAILED)
    assert "empty" in judged.reason


def test_what_failed_or_was_refused_by_the_back_end_keeps_its_reason() -> None:
    failed = judge(ChatReply("", Finish.FAILED, "the server answered 500"), 100)
    assert (failed.outcome, failed.reason) == (Outcome.FAILED, "the server answered 500")
    refused = judge(ChatReply("", Finish.REFUSED, "content filter"), 100)
    assert (refused.outcome, refused.reason) == (Outcome.REFUSED, "content filter")


def test_a_reply_cut_at_its_limit_ends_with_its_last_whole_sentence() -> None:
    judged = judge(reply(f"{WALK} A gull lands on", Finish.LENGTH), 20)
    assert (judged.text, judged.outcome) == (WALK, Outcome.TRUNCATED)
    assert "20 tokens" in judged.reason


def test_a_cut_reply_without_a_whole_sentence_keeps_what_there_is() -> None:
    judged = judge(reply("A woman in a red coat walks along", Finish.LENGTH), 8)
    assert (judged.text, judged.outcome) == ("A woman in a red coat walks along", Outcome.TRUNCATED)


def test_a_far_too_long_reply_is_cut_whatever_the_model_says() -> None:
    different = " ".join(f"Dog{i} meets cat{i} near house{i} by noon{i}." for i in range(500))
    judged = judge(reply(different), 50)
    assert judged.outcome is Outcome.TRUNCATED
    assert len(judged.text) <= 400
    assert judged.text.endswith(".")


def test_a_loop_has_failed() -> None:
    judged = judge(reply("The man is walking down the street and " * 30), 500)
    assert (judged.text, judged.outcome) == ("", Outcome.FAILED)
    assert "repeats itself" in judged.reason


def test_ordinary_text_is_no_loop() -> None:
    text = (
        "A man walks down a street. A dog follows him. The man stops, the dog stops. A car passes, the dog barks. "
        "The man laughs, and then he walks on down the street, and the dog follows him again until both are gone."
    )
    assert not is_loop(text)
    assert not is_loop("no no no no no no")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("**A dog** runs.", "A dog runs."),
        ("# Clip\nA dog runs.", "Clip A dog runs."),
        ("- A dog runs.\n- A cat sits.", "A dog runs. A cat sits."),
        ("Sure! A dog runs.", "A dog runs."),
        ("Here is the description: A dog runs.", "A dog runs."),
        ('"A dog runs."', "A dog runs."),
        ("A dog\x1b[31m runs\u202e.<|im_end|>", "A dog runs."),
        ("Here a dog runs.", "Here a dog runs."),
    ],
)
def test_markup_and_lead_ins_go(text: str, plain: str) -> None:
    assert plain_text(text) == plain


def test_the_same_words_on_many_clips_are_found() -> None:
    texts = ["A man talks."] * 6 + [f"Thing {i}." for i in range(10)] + [""] * 30
    assert same_on_many(texts) == {"a man talks": 6}
    assert same_on_many(["A man talks."] * 4 + ["A dog."]) == {}
    assert same_on_many(["a  man TALKS", *["A man talks."] * 4]) == {"a man talks": 5}


@given(st.text(max_size=300), st.sampled_from(list(Finish)), st.integers(1, 100))
def test_failed_and_refused_have_no_text_and_the_others_have_words(text: str, finish: Finish, limit: int) -> None:
    judged = judge(ChatReply(text, finish), limit)
    assert bool(judged.text) == (judged.outcome in (Outcome.OK, Outcome.TRUNCATED))
    assert bool(judged.reason) == (judged.outcome is not Outcome.OK)
