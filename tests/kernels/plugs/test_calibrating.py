"""Budgets of a tiny model: measured by the command, used by the plug, refused for another model."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from fdvs.chat.registry import Serving, open_chat
from fdvs.errors import InputError, UsageError
from fdvs.kernels.choice import choice_of
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.budget_file import read_budgets
from fdvs.kernels.methods.selection import Selection
from fdvs.kernels.plugs.transformers.calibrating import Sample, calibrate_model, log_lines
from fdvs.kernels.plugs.transformers.capture import capture
from tests.batch.commands import render_film
from tests.cli.commands import done, fdvs
from tests.conftest import TinyModel
from tests.encoders.models import needs

pytestmark = [pytest.mark.model, needs("torch", "transformers", "safetensors")]


def test_what_is_captured_is_what_dense_attention_sees(tiny_model: TinyModel) -> None:
    chat: Any = open_chat("transformers", "", f"file:{tiny_model('qwen2')}")
    ids = torch.arange(20, 60)[None]
    seen: list[Prompt] = []
    with torch.inference_mode():
        expected = chat.network(ids, use_cache=False).logits
    assert capture(chat.network, {"input_ids": ids}, seen.append) == (0, 1)
    assert [prompt.layer for prompt in seen] == [0, 1]
    assert seen[0].q.shape == (1, 4, 40, 32)
    assert seen[0].k.shape == (1, 2, 40, 32)
    with torch.inference_mode():
        assert torch.equal(chat.network(ids, use_cache=False).logits, expected)
    chat.close()


def test_budgets_are_measured_by_the_command_and_used_with_their_model_alone(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    folder, path = tiny_model("qwen2_5_vl"), tmp_path / "budgets.json"
    common = ["kernels", "calibrate", str(folder), "-o", str(path), "--window", "16", "--block", "8"]
    ended = done(*common, "--tokens", "160", "--target", "0.6")
    assert "layer   1  keeps" in ended.out
    assert f"--attention-set budgets={path}" in ended.out
    budgets = read_budgets(path)
    assert sorted(budgets.heads) == [0, 1]
    assert all(head.retained_mass is not None and head.retained_mass >= 0.6 for head in budgets.all())
    assert all(head.share < 1 for head in budgets.all())
    assert budgets.settings["sample"] == "log"

    words = [f"budgets={path}", "window=16", "block=8", "dense_below=0"]
    chat: Any = open_chat("transformers", "", f"file:{folder}", Serving(attention=choice_of("tca", words)))
    assert chat.notes[0].startswith("attention tca (")
    chat.close()
    with pytest.raises(InputError, match="calibrate again"):
        open_chat("transformers", "", f"file:{tiny_model('qwen2')}", Serving(attention=choice_of("tca", words)))
    failed = fdvs(*common[:-4], "--tokens", "99", "--window", "999")
    assert failed.code == 1
    assert "lies within the window of 999" in failed.err


def test_a_sample_may_be_a_film_or_a_text(tiny_model: TinyModel, tmp_path: Path) -> None:
    film, text = tmp_path / "film.mp4", tmp_path / "text.txt"
    render_film(film, 1, seconds=4, size=(96, 96))
    text.write_text("A dog runs along the beach. " * 60)
    folder = str(tiny_model("qwen2_5_vl"))
    selection = Selection(block=8)
    for sample in (Sample(film=film, num_frames=12, short_side=64), Sample(text=text, num_tokens=99)):
        made = calibrate_model(folder, sample, window=8, selection=selection)
        assert made.settings["sample"] == sample.kind
        assert made.window == 8
    with pytest.raises(UsageError, match="not both"):
        Sample(film=film, text=text)


def test_the_log_does_not_repeat_itself() -> None:
    lines = list(itertools.islice(log_lines(), 3000))
    assert len(set(lines)) == len(lines)
    assert all(len(line) > 40 for line in lines)
