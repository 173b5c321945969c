"""Trains the model of the proving ground from nothing: short sequences first, then long ones, all tasks in turn.

Circuits that recall form slowly when answers are all that is learned from. So the first stage also says where to look:
in the first layer at the token before, in the last layer at the tokens that hold the answer (guided attention). After
that stage only answers count, and attention is free to become what it will.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.proving_ground.model import Attention, Decoder, Size, build, causal
from benchmarks.proving_ground.tasks import TASKS, Batch


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps at one length.

    Attributes:
        length: tokens of a sequence.
        steps: optimiser steps; the tasks take turns, needles twice, which are learned last.
        sequences: sequences in a step.
        rate: learning rate.
        guided: whether attention is told where to look.
    """

    length: int
    steps: int
    sequences: int
    rate: float
    guided: bool = False


STAGES = (
    Stage(64, 300, 32, 3e-3, guided=True),
    Stage(128, 160, 24, 2e-3, guided=True),
    Stage(512, 200, 8, 1.5e-3),
    Stage(2048, 200, 2, 1e-3),
    Stage(4096, 60, 1, 5e-4),
    Stage(2048, 60, 4, 2e-4),
)
QUICK = (Stage(64, 6, 4, 3e-3, guided=True), Stage(128, 3, 2, 1e-3))


def batch_for(task: str, length: int, size: int, seed: int) -> Batch:
    """A batch for training: more questions than in a test, so that every sequence teaches as much as it can."""
    densities: dict[str, dict[str, Any]] = {
        "recall": {"questions": min(64, length // 6), "share": 0.5 if length <= 128 else 0.25},
        "needles": {"questions": 2 if length <= 64 else 4, "each": 4},  # a test has three
        "copy": {"tokens_to_copy": min(64, length // 4)},
    }
    return TASKS[task](length, size, torch.Generator().manual_seed(seed), **densities[task])


def answer_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy of the answers; several right answers of one place share its probability evenly."""
    return -logits.log_softmax(-1).gather(-1, batch.answers).mean()


def found(logits: Tensor, batch: Batch) -> Tensor:
    """`[B, A]` in 0…1: of each place, the share of its N answers that are among its N best-scored tokens."""
    best = logits.topk(batch.answers.shape[-1], dim=-1).indices
    return (best[..., None] == batch.answers[..., None, :]).any(-1).float().mean(-1)


def guided(batch: Batch, layers: int, guides: list[Tensor]) -> Attention:
    """Dense attention that puts into `guides` how little of it lies where it should."""
    length = batch.tokens.shape[1]
    places = torch.arange(length)
    before = torch.cat([torch.full_like(batch.tokens[:, :1], -1), batch.tokens[:, :-1]], dim=1)
    holds_answer = (before[:, None] == batch.tokens[:, batch.places, None]) & (places < batch.context)

    def attention(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if layer == 0:
            rows = torch.arange(1, length, max(1, length // 32))
            guides.append(_missed(q, k, rows, (places == rows[:, None] - 1)[None]))
        if layer == layers - 1:
            guides.append(_missed(q, k, batch.places, holds_answer))
        return causal(layer, q, k, v)

    return attention


def _missed(q: Tensor, k: Tensor, rows: Tensor, wanted: Tensor) -> Tensor:
    """Mean of -log of the attention weight that `rows` `[R]` give each of the keys `wanted` `[B or 1, R, T]`."""
    grouped = q[:, :, rows].unflatten(1, (k.shape[1], -1))
    logits = grouped @ k[:, :, None].mT * q.shape[-1] ** -0.5
    logits = logits.masked_fill(torch.arange(k.shape[2]) > rows[:, None], -torch.inf)
    missed = -logits.log_softmax(-1).masked_fill(~wanted[:, None, None], 0.0).sum(-1)
    loss: Tensor = (missed / wanted.sum(-1).clamp_min(1)[:, None, None]).mean()
    return loss


def plan_of_steps(stages: Sequence[Stage]) -> Iterator[tuple[int, Stage]]:
    """Every step's number, counted through all stages, and its stage."""
    number = 0
    for stage in stages:
        for _ in range(stage.steps):
            yield number, stage
            number += 1


def train(
    model: Decoder,
    stages: Sequence[Stage],
    *,
    attention: Attention = causal,
    seed: int = 0,
    warm_up: int = 30,
    say: Callable[[str], None] | None = None,
) -> list[float]:
    """Trains in place and returns the loss of every step.

    Args:
        attention: what attention runs as; a sparse method here is training with the method in place.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
    names, losses, begun = ("recall", "needles", "copy", "needles"), [], time.process_time()
    for step, stage in plan_of_steps(stages):
        batch = batch_for(names[step % len(names)], stage.length, stage.sequences, seed * 1_000_003 + step)
        guides: list[Tensor] = []
        look = guided(batch, model.size.layers, guides) if stage.guided else attention
        logits = model(batch.tokens, look, batch.places)
        loss = answer_loss(logits, batch)
        optimiser.zero_grad()
        total = loss + sum(guides) if guides else loss
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = stage.rate * min(1.0, (step + 1) / warm_up)
        optimiser.step()
        losses.append(float(loss.detach()))
        if say and (step + 1) % 32 < len(names):
            right, seconds = float(found(logits.detach(), batch).mean()), time.process_time() - begun
            task = names[step % len(names)]
            say(
                f"step {step + 1:4d} {stage.length:5d} {task:8s} loss {losses[-1]:.3f} right {right:.3f} {seconds:.0f}s"
            )
    return losses


def trained(
    work: Path, stages: Sequence[Stage] = STAGES, *, again: bool = False, seed: int = 0
) -> tuple[Decoder, float]:
    """The trained model and the CPU seconds its training took; from `work` if it is there, else trained and put there.

    What is stored names its recipe: a model trained by another recipe is trained anew.
    """
    size = Size()
    recipe = {"size": asdict(size), "stages": [asdict(stage) for stage in stages], "seed": seed}
    weights, card = work / "model.pt", work / "model.json"
    model = build(size, seed)
    if not again and weights.exists() and card.exists():
        told = json.loads(card.read_text())
        if told["recipe"] == recipe:
            model.load_state_dict(torch.load(weights, weights_only=True))
            return model, float(told["seconds"])
    begun = time.process_time()
    train(model, stages, seed=seed, say=print)
    seconds = time.process_time() - begun
    work.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), weights)
    card.write_text(json.dumps({"recipe": recipe, "seconds": round(seconds, 1)}, indent=1))
    return model, seconds
