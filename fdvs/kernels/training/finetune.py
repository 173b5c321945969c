"""Continued training of a model with a sparse method in place of its attention.

    python -m fdvs.kernels.training.finetune --model DIR --method cca --data texts.jsonl --steps 1000 --output DIR

The method plans every layer of every sequence, and gradients flow through what it pools and selects as through any
other attention. `accelerate launch -m fdvs.kernels.training.finetune …` runs the same on several devices.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.training.packing import order_of, pack, read_texts
from fdvs.kernels.training.recipes import LEARNING_RATE
from fdvs.kernels.training.weights import Trained, choose_weights

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS_FILE = "attention.json"
"""Beside the weights: the method they were trained with, and how."""


@dataclass(frozen=True, slots=True)
class Finetuning:
    """What is trained and how. Steps, sequences and data are those of `recipes.RECIPES` where nothing else is said.

    Attributes:
        method: a name of `fdvs.kernels.names.METHODS`.
        settings: of the method, in place of its defaults.
        steps: optimiser steps, those before a resume included.
        length: tokens of a sequence.
        sequences: sequences that a device computes at once.
        accumulation: such batches before an optimiser step.
        learning_rate: our choice, see `recipes.LEARNING_RATE`; constant after `warm_up` steps.
        trained: which weights learn.
        sinks: first tokens that are always seen as they are.
        seed: of the order of the sequences. There is no other chance in training: dropout is refused.
        backend: what plans and attends. `rows` is the one that has gradients and memory that long sequences fit into.
        save_every: steps between two checkpoints that a later run can resume from; 0 for none but the last.
    """

    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    steps: int = 1000
    length: int = 32_768
    sequences: int = 1
    accumulation: int = 8
    learning_rate: float = LEARNING_RATE
    warm_up: int = 20
    weight_decay: float = 0.0
    largest_gradient: float = 1.0
    trained: Trained = "all"
    sinks: int = 0
    seed: int = 0
    backend: str = "rows"
    save_every: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "length", "sequences", "accumulation"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is at least 1, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate is above 0, got {self.learning_rate}")
        if self.trained not in {"all", "qkv"}:
            raise InputError(f"trained is 'all' or 'qkv', got {self.trained!r}")

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self.learning_rate * min(1.0, (step + 1) / max(self.warm_up, 1))

    def identity(self) -> dict[str, Any]:
        """What a checkpoint has to agree with to be gone on from: everything but how far and how often saved."""
        return {name: value for name, value in asdict(self).items() if name not in {"steps", "save_every"}}


def finetune(
    model: Any,
    tokens: Tensor,
    wanted: Finetuning,
    *,
    checkpoints: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> list[float]:
    """Trains `model` in place, with the method in its attention, and returns the mean loss of every step that was run.

    Args:
        model: a causal language model of transformers, its text layers served by `enable`.
        tokens: `[N, length]` sequences, as `packing.pack` makes them.
        checkpoints: a folder; what it holds of this training is gone on from, and every `save_every` steps and the
            last are kept there. None: nothing is kept.
        say: told about progress, one line at a time.

    Raises:
        InputError: the checkpoint there belongs to a training with other settings, or a setting does not fit the model.
        BackendUnavailableError: accelerate or transformers is not here, or the model's layers cannot be served.
    """
    from fdvs.encoders._local_models import require
    from fdvs.kernels.plugs.transformers import enable

    if tokens.dim() != 2 or tokens.shape[1] != wanted.length:
        raise InputError(f"wanted sequences [N, {wanted.length}], got {list(tokens.shape)}")
    accelerator = require("accelerate", "training").Accelerator(gradient_accumulation_steps=wanted.accumulation)
    losses: list[float] = []
    with enable(
        model, wanted.method, backend=wanted.backend, dense_below=0, sinks=wanted.sinks, **wanted.settings
    ) as plug:
        names = choose_weights(model, wanted.trained, plug.served_layers)
        chosen = [weight for weight in model.parameters() if weight.requires_grad]
        optimiser = torch.optim.AdamW(
            chosen, lr=wanted.learning_rate, betas=(0.9, 0.95), weight_decay=wanted.weight_decay
        )
        wrapped, optimiser = accelerator.prepare(model, optimiser)
        begin = _resume(accelerator, checkpoints, wanted)
        if say and accelerator.is_main_process:
            say(f"{len(names)} weights learn from step {begin + 1} to {wanted.steps}, {len(tokens)} sequences")
        wrapped.train()
        for step in range(begin, wanted.steps):
            for group in optimiser.param_groups:
                group["lr"] = wanted.rate_at(step)
            losses.append(_step(accelerator, wrapped, optimiser, chosen, tokens, wanted, step))
            if say and accelerator.is_main_process:
                say(f"step {step + 1}/{wanted.steps}: loss {losses[-1]:.4f}")
            is_last = step + 1 == wanted.steps
            if checkpoints and (is_last or (wanted.save_every and (step + 1) % wanted.save_every == 0)):
                _keep(accelerator, checkpoints, wanted, step + 1)
        model.eval()
    return losses


def _step(  # noqa: PLR0917 - one step's parts
    accelerator: Any, model: Any, optimiser: Any, chosen: list[Tensor], tokens: Tensor, wanted: Finetuning, step: int
) -> float:
    """One optimiser step; its mean loss over all devices and batches."""
    total = 0.0
    for micro in range(wanted.accumulation):
        with accelerator.accumulate(model):
            ids = _batch(tokens, wanted, step, micro, accelerator).to(accelerator.device)
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(chosen, wanted.largest_gradient)
            optimiser.step()
            optimiser.zero_grad()
        total += float(accelerator.gather(loss.detach()).mean())
    return total / wanted.accumulation


def _batch(tokens: Tensor, wanted: Finetuning, step: int, micro: int, accelerator: Any) -> Tensor:
    """`[sequences, length]` of one device: which ones depends on the step alone, never on what ran before it."""
    batch = (step * wanted.accumulation + micro) * accelerator.num_processes + accelerator.process_index
    numbers = range(batch * wanted.sequences, (batch + 1) * wanted.sequences)
    return tokens[[order_of(number, total=len(tokens), seed=wanted.seed) for number in numbers]]


def _keep(accelerator: Any, folder: Path, wanted: Finetuning, step: int) -> None:
    """A checkpoint, and only then the note that says it is there: a crash in between costs the new one, not the old."""
    place = folder / f"step_{step}"
    accelerator.save_state(str(place))
    if accelerator.is_main_process:
        note = {"step": step, "folder": place.name, "wanted": wanted.identity()}
        part = folder / "latest.json.part"
        part.write_text(json.dumps(note, indent=1), encoding="utf-8")
        part.replace(folder / "latest.json")
    accelerator.wait_for_everyone()


def _resume(accelerator: Any, folder: Path | None, wanted: Finetuning) -> int:
    """The number of steps that are done: 0, or where the folder's latest checkpoint stands, which is loaded."""
    if folder is None or not (folder / "latest.json").exists():
        return 0
    note = json.loads((folder / "latest.json").read_text(encoding="utf-8"))
    ours = json.loads(json.dumps(wanted.identity()))
    if note["wanted"] != ours:
        different = sorted(name for name in ours if ours[name] != note["wanted"].get(name))
        raise InputError(f"the checkpoint in {folder} was trained with other settings: {', '.join(different)}")
    accelerator.load_state(str(folder / note["folder"]))
    return int(note["step"])


def save(model: Any, folder: Path, wanted: Finetuning, losses: list[float]) -> None:
    """The model as safetensors, and beside it which method it was trained with."""
    model.save_pretrained(folder, safe_serialization=True)
    told = {
        "method": wanted.method,
        "settings": wanted.settings,
        "training": asdict(wanted),
        "first_step": wanted.steps - len(losses) + 1,  # of this run: what was gone on from has its own losses
        "losses": losses,
    }
    (folder / SETTINGS_FILE).write_text(json.dumps(told, indent=1), encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    from fdvs.kernels.training.command import parse

    asked = parse(sys.argv[1:] if arguments is None else arguments)
    from fdvs.encoders._local_models import loading, require

    transformers = require("transformers", "training")
    with loading(str(asked.model)):
        tokenizer = transformers.AutoTokenizer.from_pretrained(asked.model, local_files_only=True)
        model = transformers.AutoModelForCausalLM.from_pretrained(asked.model, local_files_only=True)
    wanted = asked.wanted
    needed = wanted.steps * wanted.accumulation * wanted.sequences * asked.devices
    tokens = pack(
        read_texts(asked.data),
        lambda text: tokenizer.encode(text, add_special_tokens=False),
        tokenizer.eos_token_id,
        wanted.length,
        most=needed,
    )
    losses = finetune(model, tokens, wanted, checkpoints=asked.output / "checkpoints", say=asked.say)
    save(model, asked.output, wanted, losses)
    tokenizer.save_pretrained(asked.output)


if __name__ == "__main__":
    main()
