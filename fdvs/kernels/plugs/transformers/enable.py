"""The door: a method put into a model by name."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from fdvs.errors import UsageError
from fdvs.kernels.backends import choose
from fdvs.kernels.choice import DENSE_BELOW, SINKS
from fdvs.kernels.names import open_method, open_ops
from fdvs.kernels.plugs.transformers.plug import Plug, check_free, checked_settings
from fdvs.kernels.plugs.transformers.towers import find_tower

if TYPE_CHECKING:
    from fdvs.kernels.methods.base import Method


def enable(
    model: Any,
    method: str | Method = "tca",
    *,
    backend: str = "auto",
    layers: Collection[int] | None = None,
    dense_below: int = DENSE_BELOW,
    keep_text: bool = True,
    sinks: int = SINKS,
    measure: bool = False,
    **settings: Any,
) -> Plug:
    """Lets the text layers of a model attend by a method's plans. `Plug.disable`, or the end of `with`, undoes it.

    `model.generate` and `model(…)` are used as before; inside, each row of a batch is planned alone, without its
    padding. Pictures are seen by the vision tower as they always were. Positions with several axes (M-RoPE) need
    nothing: keys are taken as the model rotated them, and the angles as it hands them out. What is a picture is known
    by ids or `mm_token_type_ids`; a prompt that comes as embeddings alone counts as text.

    Args:
        model: any model of transformers with a text tower whose layers ask the `AttentionInterface`.
        method: a name of `fdvs.kernels.names.METHODS`, or a method.
        backend: what plans and attends: a name of `fdvs.kernels.names.BACKENDS`, or `auto`, which `Plug.backend` tells.
        layers: serve these only. None: all that can be.
        dense_below: prompts of fewer tokens are attended in full, and all of their tokens kept.
        keep_text: text between pictures is always seen as it is. Without effect on prompts without pictures.
        sinks: so many tokens at the beginning of a prompt are always seen as they are.
        measure: measure retained mass for `Plug.report`, at the cost of some dense rows for each prompt and layer.
        settings: of the method, in place of its defaults. `budgets` may be the path of what `fdvs kernels calibrate`
            has written.

    Raises:
        BackendUnavailableError: the model has no layer that can be served (the message names them all), or the method
            or back end is not here.
        UsageError: the model is served already, or a setting is out of range.
    """
    from transformers import PreTrainedModel

    if not isinstance(model, PreTrainedModel):
        raise UsageError(f"wanted a model of transformers, got {type(model).__name__}")
    checked_settings(layers, dense_below, sinks)
    tower = find_tower(model, layers)
    check_free(tower.config)
    return Plug(
        model,
        tower,
        _method(method, settings),
        open_ops(_backend(backend, model)),
        dense_below=dense_below,
        keep_text=keep_text,
        sinks=sinks,
        measure=measure,
    )


def _method(method: str | Method, settings: dict[str, Any]) -> Method:
    if isinstance(method, str):
        return open_method(method, **settings)
    if settings:
        raise UsageError(f"a method that is made already takes no settings, got {', '.join(sorted(settings))}")
    return method


def _backend(name: str, model: Any) -> str:
    """What `auto` stands for where this model's weights are."""
    return choose(model.get_input_embeddings().weight).name if name == "auto" else name
