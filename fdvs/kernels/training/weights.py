"""Which weights are trained: all of them, or the projections of queries, keys and values alone."""

from __future__ import annotations

from typing import Any, Literal

from fdvs.errors import InputError

Trained = Literal["all", "qkv"]
"""`qkv` is the cheaper form that CCA reports as close to training everything."""

PROJECTIONS = ("q_proj", "k_proj", "v_proj")


def choose_weights(model: Any, trained: Trained, layers: tuple[int, ...]) -> list[str]:
    """Lets only the chosen weights of `model` learn, and returns their names in order.

    Args:
        layers: the layers that attend by the method; `qkv` trains their projections and no others, so that a vision
            tower with projections of the same name stays as it is.

    Raises:
        InputError: the model has no projections of that name in these layers.
    """
    served = {
        id(weight)
        for module in model.modules()
        if getattr(module, "layer_idx", None) in layers
        for name, weight in module.named_parameters()
        if name.split(".")[0] in PROJECTIONS
    }
    if trained == "qkv" and not served:
        raise InputError(f"{type(model).__name__} has no {', '.join(PROJECTIONS)} in its attention; train all weights")
    for weight in model.parameters():
        weight.requires_grad_(trained == "all" or id(weight) in served)
    return [name for name, weight in model.named_parameters() if weight.requires_grad]
