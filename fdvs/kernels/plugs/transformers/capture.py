"""Queries and keys of every layer, from one dense forward pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from inspect import signature
from typing import Any, ClassVar

import torch

from fdvs.kernels.choice import SINKS
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.plans import Plan, dense_plan
from fdvs.kernels.plugs.transformers.enable import enable

OnLayer = Callable[[Prompt], None]


class _Watcher:
    """A method that plans nothing and shows each prompt to somebody."""

    name: ClassVar[str] = "capture"
    is_causal: ClassVar[bool] = True

    def __init__(self, on_layer: OnLayer) -> None:
        self._on_layer = on_layer

    def plan(self, prompt: Prompt) -> Plan:
        self._on_layer(prompt)
        return dense_plan(prompt.q.shape[2], prompt.k.shape[2], prompt.q.device)

    def cache(self) -> None:
        return None


def capture(
    model: Any,
    inputs: Mapping[str, Any],
    on_layer: OnLayer,
    *,
    layers: Collection[int] | None = None,
    keep_text: bool = True,
    sinks: int = SINKS,
) -> tuple[int, ...]:
    """One dense forward pass. What a layer computed is let go of when `on_layer` is done with it.

    Args:
        inputs: of the model, on its device.
        on_layer: gets the prompt of each row of the batch, layer after layer: rotated queries and keys, and the layout
            that a method would be given.
        layers, keep_text, sinks: as for `enable`.

    Returns:
        The layers that were looked at.

    Raises:
        BackendUnavailableError: no layer of the model can be served, so none could use what is found.
    """
    last = {"logits_to_keep": 1} if "logits_to_keep" in signature(model.forward).parameters else {}
    watching = enable(model, _Watcher(on_layer), layers=layers, dense_below=0, keep_text=keep_text, sinks=sinks)
    with watching, torch.inference_mode():
        model(**inputs, use_cache=False, **last)
    return watching.served_layers
