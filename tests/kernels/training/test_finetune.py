"""Fine-tuning with a method in place, on a tiny Qwen2: it learns, it resumes, and it touches only what it may."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fdvs.errors import InputError, UnknownBackendError
from fdvs.kernels.training.command import parse
from fdvs.kernels.training.finetune import Finetuning, finetune, main
from fdvs.kernels.training.packing import order_of, pack, read_texts
from fdvs.kernels.training.recipes import RECIPES, recipe_of
from tests import tiny_models

pytestmark = pytest.mark.model

SMALL = {"cca": {"group": 4, "window": 8}, "dga": {"group": 4}, "lca": {"group": 4, "window": 8}}
WANTED = Finetuning(
    "cca", SMALL["cca"], steps=4, length=32, sequences=2, accumulation=2, learning_rate=3e-3, warm_up=1, save_every=2
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.build("qwen2", tmp_path_factory.mktemp("qwen2"), num_hidden_layers=2, initializer_range=0.05)


def load(folder: Path) -> Any:
    import transformers

    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def sequences(count: int = 4, length: int = 32) -> Tensor:
    """Sequences of few words: there is something to learn in them within a few steps."""
    return torch.randint(3, 20, (count, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("method", ["cca", "dga", "lca"])
def test_a_few_steps_lower_the_loss(folder: Path, method: str) -> None:
    model = load(folder)
    losses = finetune(model, sequences(), replace(WANTED, method=method, settings=SMALL[method]))
    assert len(losses) == 4
    assert losses[-1] < losses[0] - 0.5
    assert model.config._attn_implementation != "fdvs_plan"  # it leaves the model as it was, but for its weights


def test_a_resumed_training_ends_like_one_that_was_never_stopped(folder: Path, tmp_path: Path) -> None:
    whole, parts = load(folder), load(folder)
    expected = finetune(whole, sequences(), WANTED)
    first = finetune(parts, sequences(), replace(WANTED, steps=2), checkpoints=tmp_path)
    fresh = load(folder)
    rest = finetune(fresh, sequences(), WANTED, checkpoints=tmp_path)
    assert first + rest == pytest.approx(expected, abs=1e-5)
    for wanted, got in zip(whole.parameters(), fresh.parameters(), strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)
    assert finetune(fresh, sequences(), WANTED, checkpoints=tmp_path) == []  # nothing is left to do
    with pytest.raises(InputError, match="learning_rate"):
        finetune(fresh, sequences(), replace(WANTED, learning_rate=1e-4), checkpoints=tmp_path)


def test_only_the_chosen_weights_change(folder: Path) -> None:
    model, before = load(folder), load(folder)
    finetune(model, sequences(), replace(WANTED, steps=1, trained="qkv"))
    changed = {
        name
        for (name, now), then in zip(model.named_parameters(), before.parameters(), strict=True)
        if not torch.equal(now, then)
    }
    assert changed
    assert all(name.split(".")[-2] in {"q_proj", "k_proj", "v_proj"} for name in changed)
    assert {name.split(".")[2] for name in changed} == {"0", "1"}


def test_the_command_writes_weights_and_the_settings_they_were_trained_with(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "texts.jsonl"
    data.write_text("".join(json.dumps({"text": "a train leaves the station " * 20}) + "\n" for _ in range(4)))
    told = ["--model", str(folder), "--data", str(data), "--output", str(tmp_path / "out"), "--method", "cca"]
    small = ["--set", "group=4", "--set", "window=8", "--steps", "1", "--length", "32", "--accumulation", "1"]
    main([*told, *small])
    said = json.loads((tmp_path / "out" / "attention.json").read_text())
    assert said["method"] == "cca"
    assert said["settings"] == {"group": 4, "window": 8}
    assert len(said["losses"]) == 1
    assert said["first_step"] == said["training"]["steps"]
    trained, before = load(tmp_path / "out"), load(folder)
    assert not torch.equal(trained.lm_head.weight, before.lm_head.weight)


def test_the_command_takes_from_the_recipe_what_is_not_said() -> None:
    wanted = parse(["--model", "m", "--method", "dga", "--data", "d.txt", "--output", "o"]).wanted
    assert (wanted.steps, wanted.length) == (1000, 32_768)
    assert wanted.sequences * wanted.accumulation == RECIPES["dga"].sequences_per_step == 64
    with pytest.raises(UnknownBackendError, match="cca, dga, lca"):
        recipe_of("tca")


def test_documents_fill_sequences_one_after_the_other(tmp_path: Path) -> None:
    packed = pack(["abc", "de", "fghi"], lambda text: [ord(letter) for letter in text], 0, 4, most=9)
    assert packed.tolist() == [[97, 98, 99, 0], [100, 101, 0, 102], [103, 104, 105, 0]]
    with pytest.raises(InputError, match="3 tokens"):
        pack(["ab"], lambda text: [1] * len(text), 0, 4, most=1)
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "good"}\n{"words": 1}\n')
    with pytest.raises(InputError, match="row 2"):
        list(read_texts(bad))


def test_every_sequence_comes_once_before_any_comes_again() -> None:
    orders = [[order_of(number, total=5, seed=3) for number in range(first, first + 5)] for first in (0, 5)]
    assert sorted(orders[0]) == sorted(orders[1]) == [0, 1, 2, 3, 4]
    assert orders[0] != orders[1]
