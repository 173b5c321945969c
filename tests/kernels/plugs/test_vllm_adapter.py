"""The adapter before stand-ins for vLLM's own classes: which rows it takes, and what it leaves to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels import reference
from fdvs.kernels.choice import choice_of
from fdvs.kernels.layout import Layout, protect
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.tca import Tca
from fdvs.kernels.plugs.vllm import v0_26
from fdvs.kernels.plugs.vllm.asked import VARIABLE, Asked
from fdvs.kernels.plugs.vllm.session import session_of
from tests.kernels.plugs.test_vllm_plugin import config

METHOD = Tca(window=8, block=4, share=0.5)
WORDS = ["window=8", "block=4", "share=0.5", "dense_below=10", "sinks=2"]
STOCK = 7.0
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device")])]  # fmt: skip


@dataclass
class Common:
    """The part of `CommonAttentionMetadata` that is handed on."""

    query_start_loc: Tensor
    query_start_loc_cpu: Tensor
    seq_lens: Tensor
    num_reqs: int
    num_actual_tokens: int
    max_query_len: int
    max_seq_len: int
    block_table_tensor: Tensor
    slot_mapping: Tensor
    causal: bool = True
    is_prefilling: Tensor | None = None
    seq_lens_cpu_upper_bound: Tensor | None = None


class StockBuilder:
    def __init__(self, kv_cache_spec: Any, layer_names: list[str], vllm_config: Any, device: torch.device) -> None:
        self.layer_names = layer_names

    def build(self, common_prefix_len: int, common_attn_metadata: Common, fast_build: bool = False) -> Any:
        return SimpleNamespace(common=common_attn_metadata)


class StockImpl:
    sliding_window, alibi_slopes, logits_soft_cap, sinks, attn_type = -1, None, 0, None, "decoder"
    kv_sharing_target_layer_name, kv_cache_dtype = None, "auto"

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.seen: list[Any] = []

    def forward(self, layer: Any, query: Tensor, key: Tensor, value: Tensor, *more: Any) -> Tensor:
        _cache, metadata, output, *_ = more
        self.seen.append((metadata, query, key, value))
        output.fill_(STOCK)
        assert isinstance(output, Tensor)
        return output


class StockBackend:
    get_impl_cls = staticmethod(lambda: StockImpl)
    get_builder_cls = staticmethod(lambda: StockBuilder)


BACKEND: Any = v0_26._backend("TestBackend", StockBackend, "CUSTOM")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    found = Asked(choice_of("tca", WORDS))
    monkeypatch.setenv(VARIABLE, found.to_json())
    session_of.cache_clear()
    yield found
    session_of.cache_clear()


def builder(**changes: Any) -> Any:
    settings = config(max_num_seqs=4, **changes)
    return BACKEND.get_builder_cls()(SimpleNamespace(num_kv_heads=2), ["model.layers.0.attn"], settings, "cpu")


def step(device: str, *parts: tuple[int, int]) -> tuple[Common, tuple[Tensor, Tensor, Tensor]]:
    """A step of requests of (rows, tokens so far), with its queries, keys and values."""
    starts = torch.tensor([0, *(rows for rows, _ in parts)]).cumsum(0).to(torch.int32)
    lengths = torch.tensor([tokens for _, tokens in parts], dtype=torch.int32)
    total = int(starts[-1])
    generator = torch.Generator().manual_seed(1)
    common = Common(
        query_start_loc=starts.to(device),
        query_start_loc_cpu=starts,
        seq_lens=lengths.to(device),
        num_reqs=len(parts),
        num_actual_tokens=total,
        max_query_len=max(rows for rows, _ in parts),
        max_seq_len=int(lengths.max()),
        block_table_tensor=torch.arange(4 * len(parts), device=device).reshape(-1, 4),
        slot_mapping=torch.arange(100, 100 + total, device=device),
        seq_lens_cpu_upper_bound=lengths,
    )
    q, k, v = (torch.randn(total, heads, 16, generator=generator).to(device) for heads in (4, 2, 2))
    return common, (q, k, v)


@pytest.mark.parametrize("device", DEVICES)
def test_planned_rows_are_ours_and_all_others_are_left_to_vllm(asked: Asked, device: str) -> None:
    common, (q, k, v) = step(device, (1, 30), (20, 20), (9, 9), (3, 40), (12, 12))
    metadata = builder().build(0, common)
    impl = BACKEND.get_impl_cls()(0.25)
    output = torch.full_like(q, torch.nan)
    impl.forward(SimpleNamespace(layer_name="model.layers.0.attn"), q, k, v, None, metadata, output)

    rows = torch.tensor([0, *range(21, 33)], device=device)
    ((dense, query, key, value),) = impl.seen
    assert torch.equal(output[rows], torch.full_like(output[rows], STOCK))
    assert all(torch.equal(got, whole[rows]) for got, whole in ((query, q), (key, k), (value, v)))
    assert dense.common.query_start_loc.tolist() == dense.common.query_start_loc_cpu.tolist() == [0, 1, 10, 13]
    assert dense.common.seq_lens.tolist() == dense.common.seq_lens_cpu_upper_bound.tolist() == [30, 9, 40]
    assert (dense.common.num_reqs, dense.common.num_actual_tokens, dense.common.max_query_len) == (3, 13, 9)
    assert dense.common.block_table_tensor[:, 0].tolist() == [0, 8, 12]
    assert dense.common.slot_mapping.tolist() == (100 + rows).tolist()
    assert dense.common.query_start_loc.dtype == common.query_start_loc.dtype

    for begin, end in ((1, 21), (33, 45)):
        length = end - begin
        one, keys, values = (flat[begin:end].transpose(0, 1)[None].cpu() for flat in (q, k, v))
        prompt = Prompt(one, keys, values, Layout(length, exact=protect(length, sinks=2)), scale=0.25)
        wanted = reference.attend(one, keys, values, METHOD.plan(prompt), scale=0.25).out[0].transpose(0, 1)
        torch.testing.assert_close(output[begin:end].cpu(), wanted, atol=2e-3, rtol=2e-3)
    counts = session_of(asked.to_json()).counts
    assert (counts.planned_prompts, counts.planned_tokens, counts.planned_calls) == (2, 32, 2)
    assert counts.dense == {"write": 1, "short": 1, "continued": 1}


def test_a_step_without_a_prompt_to_plan_is_vllms_as_it_is(asked: Asked) -> None:
    common, (q, k, v) = step("cpu", (1, 30), (1, 12), (9, 9))
    metadata = builder().build(0, common)
    impl = BACKEND.get_impl_cls()(0.25)
    impl.forward(SimpleNamespace(layer_name="model.layers.0.attn"), q, k, v, None, metadata, torch.zeros_like(q))
    ((got, query, *_),) = impl.seen
    assert got is metadata
    assert query is q
    assert got.common is common


def test_a_layer_that_needs_more_is_left_to_vllm_and_named(asked: Asked) -> None:
    common, (q, k, v) = step("cpu", (20, 20))
    metadata = builder().build(0, common)
    kind = type("Windowed", (BACKEND.get_impl_cls(),), {"sliding_window": 64})
    impl = kind(0.25)
    output = torch.zeros_like(q)
    impl.forward(SimpleNamespace(layer_name="model.layers.1.attn"), q, k, v, None, metadata, output)
    assert torch.equal(output, torch.full_like(output, STOCK))
    assert session_of(asked.to_json()).counts.unserved == {"model.layers.1.attn": "sliding window"}


def test_what_does_not_suit_is_refused_when_vllm_starts(asked: Asked) -> None:
    with pytest.raises(InputError, match=r"tca .* cannot run in this vLLM: .*--no-enable-prefix-caching"):
        builder(enable_prefix_caching=True)


def test_the_backend_has_the_name_under_which_it_is_registered() -> None:
    assert BACKEND.get_name() == "CUSTOM"
    assert f"{BACKEND.__module__}.{BACKEND.__qualname__}" == "fdvs.kernels.plugs.vllm.v0_26.TestBackend"
    with pytest.raises(AttributeError):
        v0_26.__getattr__("OtherBackend")
