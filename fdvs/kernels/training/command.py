"""The command line of `finetune`: words to settings, with what is not said taken from the method's recipe."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fdvs.kernels.choice import choice_of
from fdvs.kernels.training.finetune import Finetuning
from fdvs.kernels.training.recipes import LEARNING_RATE, RECIPES, recipe_of


@dataclass(frozen=True, slots=True)
class Asked:
    """A command line, read.

    Attributes:
        devices: processes that `accelerate launch` has started.
        say: prints a line at once.
    """

    model: Path
    data: Path
    output: Path
    wanted: Finetuning
    devices: int
    say: Callable[[str], None]


def parse(arguments: Sequence[str]) -> Asked:
    """Raises UsageError or InputError for settings that mean nothing; argparse ends the process for unknown options."""
    parser = argparse.ArgumentParser(
        prog="python -m fdvs.kernels.training.finetune",
        description="Continued training of a model with a sparse attention method in place.",
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of a causal language model of transformers")
    parser.add_argument("--method", required=True, choices=sorted(RECIPES))
    parser.add_argument("--data", type=Path, required=True, help=".jsonl with a field 'text', or .txt")
    parser.add_argument("--output", type=Path, required=True, help="folder for weights, settings and checkpoints")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the method")
    parser.add_argument("--steps", type=int, help="optimiser steps; default: the recipe's")
    parser.add_argument("--length", type=int, help="tokens of a sequence; default: the recipe's")
    parser.add_argument("--sequences", type=int, default=1, help="sequences that a device computes at once")
    parser.add_argument("--accumulation", type=int, help="such batches before a step; default: what the recipe needs")
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--train", choices=["all", "qkv"], default="all", help="which weights learn")
    parser.add_argument("--sinks", type=int, default=0, help="first tokens that are always seen as they are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=100, help="steps between checkpoints; 0: only the last")
    got = parser.parse_args(arguments)
    recipe = recipe_of(got.method)
    devices = int(os.environ.get("WORLD_SIZE", "1"))  # as accelerate launch and torchrun set it
    at_once = devices * max(got.sequences, 1)
    wanted = Finetuning(
        method=got.method,
        settings={**recipe.settings, **dict(choice_of(got.method, got.set).settings)},
        steps=recipe.steps if got.steps is None else got.steps,
        length=recipe.length if got.length is None else got.length,
        sequences=got.sequences,
        accumulation=max(1, recipe.sequences_per_step // at_once) if got.accumulation is None else got.accumulation,
        learning_rate=got.learning_rate,
        trained=got.train,
        sinks=got.sinks,
        seed=got.seed,
        save_every=got.save_every,
    )
    return Asked(got.model, got.data, got.output, wanted, devices, _say)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
