"""CCA, LCA and DGA together: plans mean the same on portable back ends, and gradients reach all that is pooled."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fdvs.kernels import reference
from fdvs.kernels.layout import Layout, protect
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.names import open_method, open_ops
from fdvs.kernels.rotary import Rotation
from tests.kernels.inputs import qkv
from tests.kernels.windowed import angles

METHODS: list[tuple[str, dict[str, Any]]] = [
    ("cca", {"group": 4, "window": 9}),
    ("cca", {"group": 4, "window": 9, "counts_border_twice": True, "core_position": "anchor"}),
    ("lca", {"group": 4, "window": 9, "bias": "matched"}),
    ("lca", {"group": 4, "window": 9, "queries": "prompt_end", "key_rule": "mean"}),
    ("dga", {"group": 4, "bias": "log_count"}),
    ("dense", {}),
]


@pytest.mark.parametrize(("name", "settings"), METHODS)
def test_prompts_and_steps_are_the_same_on_every_portable_back_end(name: str, settings: dict[str, Any]) -> None:
    method, length = open_method(name, **settings), 61
    q, k, v = qkv(1, 4, 2, length + 1, length + 1, 16)
    turned = angles(length + 1)
    layout = Layout(
        length, torch.tensor([13]), protect(length, sinks=2), Rotation(turned.cos[:length], turned.sin[:length])
    )
    newest = slice(length, length + 1)
    wanted: list[Tensor] = []
    for back_end in ("reference", "gather", "rows"):
        ops = open_ops(back_end)
        prompt = Prompt(q[:, :, :length], k[:, :, :length], v[:, :, :length], layout, ops=ops)
        plan = method.plan(prompt)
        cache = method.cache()
        assert cache is not None
        cache.fill(prompt, plan)
        cache.append(
            q[:, :, newest], k[:, :, newest], v[:, :, newest], Rotation(turned.cos[newest], turned.sin[newest])
        )
        got = [ops.attend(prompt.q, prompt.k, prompt.v, plan).out, ops.decode(q[:, :, newest], cache.segments()).out]
        wanted = wanted or got
        for one, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("cca", {"group": 3, "window": 1, "bias": "matched"}),
        ("lca", {"group": 3, "window": 1, "num_queries": 2, "bias": "matched"}),
        ("dga", {"group": 3, "focal_share": 0.0}),
    ],
)
def test_gradients_go_through_the_plan_as_through_attention(name: str, settings: dict[str, Any]) -> None:
    method, layout = open_method(name, **settings), Layout(7, rotation=angles(7))
    q, k, v = (x.requires_grad_() for x in qkv(1, 2, 1, 7, 7, 6))

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return reference.attend(q, k, v, method.plan(Prompt(q, k, v, layout))).out

    # A bias is float32, so a numerical derivative needs steps that it can tell apart.
    assert torch.autograd.gradcheck(attend, (q, k, v), eps=1e-3, atol=2e-3, rtol=1e-2, fast_mode=True)
    (only_last,) = torch.autograd.grad(attend(q, k, v)[:, :, -1].square().sum(), q)
    weighs = torch.tensor([2, 5])  # the last tokens of the groups that the last query sees
    if name == "cca":
        assert (only_last[:, :, weighs] != 0).any(-1).all()
        assert not only_last[:, :, [0, 1, 3, 4]].any()
