"""Whether a method can plan with what vLLM tells an attention layer: queries, keys and values, and nothing else.

Found out before a server is started, or when it starts: a method that fails at the first prompt would end the server.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fdvs.errors import InputError
from fdvs.kernels.layout import Layout
from fdvs.kernels.methods.base import Method, Prompt
from fdvs.kernels.methods.tca import Tca

_TOKENS, _SIZE = 64, 16


def why_it_does_not_fit(method: Method, layers: Sequence[int] = (), heads_k: int = 1) -> str:
    """What the method needs and does not get, and what to ask for instead; empty: it fits.

    Args:
        layers: numbers of the layers that it will plan for; empty where they are not known yet.
        heads_k: KV heads of each.
    """
    averages_keys = getattr(method, "key_rule", "weighted") != "anchor"
    if averages_keys and getattr(method, "core_position", "rotated") != "rotated":
        return (
            f"{method.name} averages keys before they are rotated, and vLLM does not say by which angles: ask for "
            "core_position=rotated, which averages them as they are"
        )
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1, heads_k, _TOKENS, _SIZE, generator=generator)
    try:
        method.plan(Prompt(q, k, v, Layout(_TOKENS)))
        if isinstance(method, Tca):
            for layer in layers:
                method.effective_budgets().of_layer(layer, heads_k)
    except InputError as error:
        return f"{method.name} does not fit: {error}"
    return ""
