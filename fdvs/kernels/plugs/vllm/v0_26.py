"""Our attention in the interface of vLLM 0.26 to 0.33.

Each class is one of vLLM's own with a mixin before it: vLLM's attention still writes the paged cache and computes every
request that no method plans. A planned prompt is whole, so its queries, keys and values are those of the step, and
how the paged cache lies in memory is no business of ours.

vLLM asks for `CpuBackend` or `CudaBackend` of this module; they are made when they are first asked for.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import torch
from torch import Tensor

from fdvs.errors import InputError
from fdvs.kernels.plugs.vllm.batches import Split, Splitter, requests_of
from fdvs.kernels.plugs.vllm.fitting import why_it_does_not_fit
from fdvs.kernels.plugs.vllm.limits import what_hinders, why_unserved
from fdvs.kernels.plugs.vllm.session import LayerAttention, session_here

_NUMBER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def __getattr__(name: str) -> Any:
    if name == "CpuBackend":
        return _cpu_backend()
    if name == "CudaBackend":
        return _cuda_backend()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _cpu_backend() -> type:
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    return _backend("CpuBackend", CPUAttentionBackend, "CPU_ATTN")


@cache
def _cuda_backend() -> type:
    from vllm.v1.attention.backends.triton_attn import TritonAttentionBackend

    return _backend("CudaBackend", TritonAttentionBackend, "CUSTOM")


def _backend(name: str, stock: Any, member: str) -> type:
    """vLLM's backend `stock` with our implementation and our metadata, under the name `member` of its register."""
    impl = type(f"{name}Impl", (_Impl, stock.get_impl_cls()), {"__module__": __name__})
    builder = type(f"{name}Builder", (_Builder, stock.get_builder_cls()), {"__module__": __name__})
    members = {
        "__module__": __name__,
        "get_name": staticmethod(lambda: member),
        "get_impl_cls": staticmethod(lambda: impl),
        "get_builder_cls": staticmethod(lambda: builder),
        "supported_kv_cache_dtypes": ["auto", "float16", "bfloat16"],
        "supports_mm_prefix": classmethod(lambda cls: False),
        "supports_kv_connector": classmethod(lambda cls: False),
    }
    return type(name, (stock,), members)


class _Builder:
    """Before a metadata builder of vLLM: looks at each step once, for all layers."""

    vllm_config: Any

    def __init__(self, kv_cache_spec: Any, layer_names: list[str], vllm_config: Any, device: torch.device) -> None:
        stock: Any = super()
        stock.__init__(kv_cache_spec, layer_names, vllm_config, device)
        self._session = session_here()
        asked = self._session.asked
        method = self._session.method
        wrong = what_hinders(vllm_config, asked, has_reduced_cache=method.cache() is not None)
        numbers = [_number(name) for name in layer_names]
        if reason := why_it_does_not_fit(method, numbers, kv_cache_spec.num_kv_heads):
            wrong.append(reason)
        if wrong:
            message = f"attention {asked.choice.words()} cannot run in this vLLM: {'; '.join(wrong)}"
            self._session.tell("refused", refusal=message)
            raise InputError(message)
        most = vllm_config.scheduler_config.max_num_seqs
        self._splitter = Splitter(asked.choice.dense_below, asked.decode, most)
        self._session.tell("built")

    @classmethod
    def get_cudagraph_support(cls, vllm_config: Any, kv_cache_spec: Any) -> Any:
        """Only steps in which all requests write one token can be replayed, and only where vLLM computes them."""
        from vllm.v1.attention.backend import AttentionCGSupport

        stock: Any = super()
        if session_here().asked.decode == "reduced":
            return AttentionCGSupport.NEVER
        support = stock.get_cudagraph_support(vllm_config, kv_cache_spec)
        return min(support, AttentionCGSupport.UNIFORM_SINGLE_TOKEN_DECODE, key=lambda one: one.value)

    def build(self, common_prefix_len: int, common_attn_metadata: Any, fast_build: bool = False) -> Any:
        stock: Any = super()
        made = stock.build(common_prefix_len, common_attn_metadata, fast_build)
        self._session.tell_if_due()
        split = self._split(common_attn_metadata)
        self._count(split)
        if not split.is_all_dense:
            made.fdvs_split = split
            made.fdvs_dense = None
            if split.dense:
                rows = split.dense_rows().to(common_attn_metadata.slot_mapping.device)
                made.fdvs_dense = (rows, stock.build(0, _dense_part(common_attn_metadata, split, rows), fast_build))
        return made

    def _split(self, common: Any) -> Split:
        lengths = common.seq_lens_cpu_upper_bound
        lengths = (common.seq_lens.cpu() if lengths is None else lengths).tolist()
        blocks = [-1] * len(lengths)
        if self._session.asked.decode == "reduced":
            blocks = common.block_table_tensor[:, 0].tolist()
        requests = requests_of(common.query_start_loc_cpu.tolist(), lengths, blocks)
        return self._splitter.split(requests, is_causal=common.causal is True)

    def _count(self, split: Split) -> None:
        counts = self._session.counts
        counts.planned_prompts += len(split.planned)
        counts.planned_tokens += sum(one.num_rows for one in split.planned)
        counts.reduced_steps += len(split.reduced)
        for _, reason in split.dense:
            counts.count_dense(reason)


def _dense_part(common: Any, split: Split, rows: Tensor) -> Any:
    """The step's metadata as if it held the dense requests alone."""
    requests = [one for one, _ in split.dense]
    places = torch.tensor([one.index for one in requests])
    there = places.to(common.seq_lens.device)
    starts = torch.tensor([0, *(one.num_rows for one in requests)]).cumsum(0).to(common.query_start_loc_cpu.dtype)

    def of_requests(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor[places.to(tensor.device)]

    return type(common)(
        query_start_loc=starts.to(common.query_start_loc.device),
        query_start_loc_cpu=starts,
        seq_lens=common.seq_lens[there],
        num_reqs=len(requests),
        num_actual_tokens=len(rows),
        max_query_len=max(one.num_rows for one in requests),
        max_seq_len=common.max_seq_len,
        block_table_tensor=common.block_table_tensor[there],
        slot_mapping=common.slot_mapping[rows],
        causal=common.causal,
        is_prefilling=of_requests(common.is_prefilling),
        seq_lens_cpu_upper_bound=of_requests(common.seq_lens_cpu_upper_bound),
    )


class _Impl:
    """Before an attention implementation of vLLM: one layer."""

    scale: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        stock: Any = super()
        stock.__init__(*args, **kwargs)
        self.supports_quant_query_input = False
        self._unserved = why_unserved(self)
        self._attention = LayerAttention(session_here(), self.scale)

    def fused_output_quant_supported(self, quant_key: Any) -> bool:
        return False

    def forward(  # noqa: PLR0917  vLLM's
        self,
        layer: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        kv_cache: Tensor,
        attn_metadata: Any,
        output: Tensor,
        output_scale: Tensor | None = None,
        output_block_scale: Tensor | None = None,
    ) -> Tensor:
        stock: Any = super()
        split: Split | None = getattr(attn_metadata, "fdvs_split", None)
        if split is None or self._unserved:
            if self._unserved:
                self._attention.session.counts.unserved[layer.layer_name] = self._unserved
            whole: Tensor = stock.forward(
                layer, query, key, value, kv_cache, attn_metadata, output, output_scale, output_block_scale
            )
            return whole
        if attn_metadata.fdvs_dense is not None:
            rows, metadata = attn_metadata.fdvs_dense
            dense = torch.zeros_like(output[rows])
            stock.forward(layer, query[rows], key[rows], value[rows], kv_cache, metadata, dense)
            output[rows] = dense
        name = layer.layer_name
        heads = output.view(output.shape[0], query.shape[1], -1)
        self._attention.attend(name, _number(name), query, key, value, heads, split)
        return output


def _number(layer_name: str) -> int:
    found = _NUMBER.search(layer_name)
    if found is None:
        raise InputError(f"which layer of the model is {layer_name!r}? Its name has no layers.NUMBER")
    return int(found[1])
