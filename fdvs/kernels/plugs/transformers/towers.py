"""Which layers of a model a plan can serve, and why the others are left as they are."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fdvs.errors import BackendUnavailableError, UsageError
from fdvs.kernels.rotary import Rotation, rotate

FULL = "full_attention"


@dataclass(frozen=True, slots=True)
class LeftLayer:
    """A layer that keeps the attention it had, and why."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Tower:
    """The text model inside a model of transformers.

    Attributes:
        key: the name of its configuration inside the model's own; empty where they are one.
        text: the module that runs the layers. Its `config` is the configuration whose attention is replaced.
        served: {layer: its attention module}.
        left: the other layers.
        has_full_left: some of those left would share the causal mask of those served.
    """

    key: str
    text: nn.Module
    served: dict[int, nn.Module]
    left: tuple[LeftLayer, ...]
    has_full_left: bool

    @property
    def config(self) -> Any:
        return self.text.config

    def bystanders(self, model: nn.Module) -> Iterator[nn.Module]:
        """Attention modules that read the text model's configuration and are not served."""
        served = {id(module) for module in self.served.values()}
        for module in model.modules():
            if getattr(module, "config", None) is self.config and _is_attention(module) and id(module) not in served:
                yield module


def find_tower(model: Any, layers: Collection[int] | None = None) -> Tower:
    """The text model of `model`, with its layers sorted into those that can be served and those that cannot.

    Args:
        layers: serve these only.

    Raises:
        UsageError: `layers` names one that is not there or cannot be served.
        BackendUnavailableError: no layer can be served; the message names them all.
    """
    _check_asks(model)
    config = model.config.get_text_config(decoder=True)
    key = _key_of(model.config, config)
    text = _text_model(model, config)
    _check_asks(text)
    blocks: list[nn.Module] = list(text.layers)
    types = list(getattr(config, "layer_types", None) or [FULL] * len(blocks))
    served, left, has_full_left = {}, [], False
    for index, (block, kind) in enumerate(zip(blocks, types, strict=True)):
        attention = _attention_of(block)
        reason = _why_not(attention, kind, config)
        if layers is not None and index not in layers and not reason:
            reason = "it was not asked for"
        if reason:
            left.append(LeftLayer(index, reason))
            has_full_left = has_full_left or kind == FULL
        else:
            assert attention is not None
            served[index] = attention
    if wrong := sorted(set(layers or ()) - set(served)):
        said = {one.index: one.reason for one in left}
        raise UsageError(
            f"layer {wrong[0]} cannot be served: {said.get(wrong[0], f'there are {len(blocks)} layers, from 0')}"
        )
    if not served:
        raise BackendUnavailableError(f"no layer of {type(model).__name__} can be served: {said_of(left)}")
    return Tower(key, text, served, tuple(left), has_full_left)


def _check_asks(model: Any) -> None:
    if not type(model)._can_set_attn_implementation():  # by their source, so it needs no list of models
        raise BackendUnavailableError(
            f"{type(model).__name__} computes attention by itself and does not ask transformers' AttentionInterface"
        )


def said_of(left: Collection[LeftLayer]) -> str:
    """Layers and reasons in one line, layers of the same reason together."""
    by_reason: dict[str, list[str]] = {}
    for one in left:
        by_reason.setdefault(one.reason, []).append(str(one.index))
    return "; ".join(
        f"layer{'s' if len(layers) > 1 else ''} {', '.join(layers)}: {reason}" for reason, layers in by_reason.items()
    )


def _key_of(outer: Any, text: Any) -> str:
    if outer is text:
        return ""
    for key in outer.sub_configs:
        if getattr(outer, key, None) is text:
            return str(key)
    raise BackendUnavailableError(f"the text model of {type(outer).__name__} is not among its parts")


def _text_model(model: nn.Module, config: Any) -> Any:
    for module in model.modules():
        if getattr(module, "config", None) is config and isinstance(getattr(module, "layers", None), nn.ModuleList):
            return module
    raise BackendUnavailableError(f"{type(model).__name__} has no run of layers that a plan could serve")


def _is_attention(module: nn.Module) -> bool:
    return hasattr(module, "layer_idx") and hasattr(module, "scaling")


def _attention_of(block: nn.Module) -> nn.Module | None:
    return next((child for child in block.children() if _is_attention(child)), None)


def _why_not(attention: nn.Module | None, kind: str, config: Any) -> str:
    """Why a layer cannot be served; empty where it can."""
    if kind != FULL or attention is None:
        return "no attention" if kind == FULL else kind.replace("_", " ")
    said = {
        "keys and values are made of one latent (MLA)": _has(attention, "kv_lora_rank"),
        "its softmax has a learned sink": _has(attention, "sinks"),
        "its logits are capped": _has(attention, "attn_logit_softcapping"),
        "sliding attention": _has(attention, "sliding_window"),
        "its keys carry no position": not getattr(attention, "use_rope", True),
        "its heads are not told": not _has(attention, "num_key_value_groups"),
    }
    reason = next((reason for reason, is_so in said.items() if is_so), "")
    if reason or _rotates_halves(attention, config):
        return reason
    if hasattr(sys.modules[type(attention).__module__], "apply_multimodal_rotary_pos_emb"):
        return "this release of transformers mixes the axes of positions inside its layers; take 5.17 or newer"
    return "its rotary embedding is not one of two halves"


def _has(module: nn.Module, name: str) -> bool:
    return getattr(module, name, None) is not None


def _rotates_halves(attention: nn.Module, config: Any) -> bool:
    """Whether the model rotates as `fdvs.kernels.rotary` takes back: tried on a few numbers, not read off a name."""
    apply = getattr(sys.modules[type(attention).__module__], "apply_rotary_pos_emb", None)
    if apply is None:
        return False
    size = int(getattr(attention, "head_dim", 0) or config.hidden_size // config.num_attention_heads)
    rotated = int(size * float(_rope(config).get("partial_rotary_factor", 1.0)))
    half = torch.arange(3 * rotated // 2, dtype=torch.float32).reshape(1, 3, -1) / rotated
    angles = torch.cat([half, half], dim=-1)
    x = torch.linspace(-1, 1, 3 * size).reshape(1, 1, 3, size)
    try:
        turned, _ = apply(x, x, angles.cos(), angles.sin())
    except (RuntimeError, TypeError):
        return False
    ours = rotate(x, Rotation(angles[0].cos(), angles[0].sin()), torch.arange(3))
    return turned.shape == ours.shape and torch.allclose(turned, ours, atol=1e-5)


def _rope(config: Any) -> dict[str, Any]:
    """The rotary settings of full attention; some models have one set for each kind of layer."""
    found = dict(getattr(config, "rope_parameters", None) or {})
    return dict(found[FULL]) if FULL in found else found
