"""The model trained on with a method in place of its attention: what methods that were published as trained need."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.proving_ground.evaluation import Planned
from benchmarks.proving_ground.model import Decoder
from benchmarks.proving_ground.sweep import Setting
from benchmarks.proving_ground.training import Stage, train
from fdvs.kernels.names import open_ops

STAGES = (Stage(2048, 40, 1, 1e-3), Stage(2048, 12, 1, 2e-4))
"""Short, as published recipes are against the training before them. All weights learn."""


def adapted(model: Decoder, setting: Setting, work: Path) -> tuple[Decoder, str]:
    """A copy of `model` fine-tuned with the setting's method, and how, in words; kept in `work`."""
    told = f"{sum(stage.steps for stage in STAGES)} steps"
    recipe = [setting.ladder.method, dict(setting.settings), [asdict(stage) for stage in STAGES]]
    base = hashlib.sha256()
    for weight in model.state_dict().values():
        base.update(weight.contiguous().numpy().tobytes())
    name = hashlib.sha256((base.hexdigest() + json.dumps(recipe, sort_keys=True)).encode()).hexdigest()[:16]
    path = work / f"adapted_{name}.pt"
    tuned = copy.deepcopy(model)
    if path.exists():
        tuned.load_state_dict(torch.load(path, weights_only=True))
        return tuned, told
    print(f"fine-tuning with {setting.ladder.label} {setting.words}", flush=True)
    train(tuned, STAGES, attention=Planned(setting.open(), model.size, open_ops("rows")), seed=1, say=print)
    torch.save(tuned.state_dict(), path)
    return tuned, told
