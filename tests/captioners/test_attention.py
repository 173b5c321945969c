"""Sparse attention of a captioner, as settings say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fdvs.captioners.attention import attention_of, check_attention
from fdvs.captioners.base import fingerprint
from fdvs.chat.registry import Serving, open_chat
from fdvs.errors import FdvsError, UnknownBackendError, UsageError
from fdvs.settings import CaptionSettings, Settings


def settings(captioner: str = "transformers", attention: str = "tca", more: str = "") -> CaptionSettings:
    return CaptionSettings(captioner=captioner, attention=attention, attention_settings=more)


def test_without_a_method_the_model_has_its_own() -> None:
    assert attention_of(settings(attention="")) is None
    check_attention(settings("openai", ""))


def test_settings_are_those_of_the_method() -> None:
    found = attention_of(settings(more="window=64,dense_below=0,rule=mean"))
    assert found is not None
    assert (found.method, found.dense_below, dict(found.settings)) == ("tca", 0, {"window": 64, "rule": "mean"})


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (settings(attention="tcb"), UnknownBackendError, "unknown attention method 'tcb'"),
        (settings(more="window"), UsageError, "NAME=VALUE"),
        (settings(attention="", more="window=3"), UsageError, "no method"),
        (settings("openai"), UsageError, "start that with fdvs serve --attention"),
        (settings("builtin"), UsageError, "captioner builtin cannot use --attention tca: transformers or vllm can"),
        (settings(more="budgets=/nowhere/b.json"), UsageError, "/nowhere/b.json is named for --attention tca"),
    ],
)
def test_what_cannot_be_is_refused_in_words(wrong: CaptionSettings, kind: type[FdvsError], message: str) -> None:
    with pytest.raises(kind, match=message):
        check_attention(wrong)


def test_a_chat_model_without_attention_of_ours_refuses_one() -> None:
    serving = Serving(attention=attention_of(settings()))
    with pytest.raises(UsageError, match="the chat model openai cannot use attention tca"):
        open_chat("openai", "m", "http://127.0.0.1:1/v1", serving)


def test_what_a_named_file_holds_shapes_captions_and_where_it_lies_does_not(tmp_path: Path) -> None:
    made = []
    for folder, text in (("a", "1"), ("b", "1"), ("c", "2")):
        path = tmp_path / folder / "budgets.json"
        path.parent.mkdir()
        path.write_text(text)
        mine = settings(more=f"budgets={path}")
        check_attention(mine)
        made.append((fingerprint(mine), Settings(captions=mine).hash()))
    assert made[0] == made[1]
    assert made[0][0] != made[2][0]
