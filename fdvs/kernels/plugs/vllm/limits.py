"""With which settings of vLLM our attention can run, and what to pass instead of the others."""

from __future__ import annotations

from typing import Any

from fdvs.kernels.plugs.vllm.asked import Asked


def what_hinders(config: Any, asked: Asked, *, has_reduced_cache: bool) -> list[str]:
    """What has to change before `asked` can run, one line each; nothing: it can.

    Args:
        config: a `VllmConfig`.
        has_reduced_cache: the method has a cache of its own for steps that write.
    """
    scheduler, cache, model = config.scheduler_config, config.cache_config, config.model_config
    longest = int(model.max_model_len)
    lines = []
    if scheduler.enable_chunked_prefill:
        lines.append(
            "a method plans a whole prompt, and vLLM would hand it over in parts: pass --no-enable-chunked-prefill "
            f"--max-num-batched-tokens {longest}"
        )
    elif scheduler.max_num_batched_tokens < longest:
        lines.append(
            f"a prompt may have {longest} tokens and a step only {scheduler.max_num_batched_tokens}: pass "
            f"--max-num-batched-tokens {longest}"
        )
    if cache.enable_prefix_caching:
        lines.append(
            "keys that another prompt's selection has shaped must not be used again, and a plan needs all queries: "
            "pass --no-enable-prefix-caching"
        )
    if config.speculative_config is not None:
        lines.append("tokens that may be taken back are not counted on: pass no --speculative-config")
    if _parallel(config, "decode_context_parallel_size") or _parallel(config, "prefill_context_parallel_size"):
        lines.append("a plan needs all tokens in one place: pass no context parallelism")
    if getattr(model, "is_mm_prefix_lm", False):
        lines.append("this model's pictures look ahead, and our attention is causal")
    if asked.choice.dense_below >= longest:
        lines.append(
            f"prompts below {asked.choice.dense_below} tokens are attended to in full, and none can be longer than "
            f"{longest}: lower dense_below or raise --max-model-len"
        )
    if asked.decode == "reduced" and not has_reduced_cache:
        lines.append(f"{asked.choice.method} keeps every token for writing: ask for decode=dense")
    if _parallel(config, "tensor_parallel_size") and any(name == "budgets" for name, _ in asked.choice.settings):
        lines.append("budgets are counted over all heads, and each GPU has some: pass no --tensor-parallel-size")
    return lines


def _parallel(config: Any, name: str) -> bool:
    return int(getattr(config.parallel_config, name, 1) or 1) > 1


def why_unserved(impl: Any) -> str:
    """Why a layer always attends in full, or nothing.

    Args:
        impl: vLLM's own implementation of the layer, whose attributes say what it needs.
    """
    window = impl.sliding_window
    is_windowed = window[0] >= 0 if isinstance(window, tuple) else (window or -1) >= 0
    reasons = {
        "sliding window": is_windowed,
        "ALiBi": impl.alibi_slopes is not None,
        "soft cap on logits": bool(impl.logits_soft_cap),
        "learned sinks": getattr(impl, "sinks", None) is not None,
        "no decoder layer": getattr(impl.attn_type, "value", impl.attn_type) != "decoder",
        "keys of another layer": impl.kv_sharing_target_layer_name is not None,
        "quantised cache": str(impl.kv_cache_dtype).startswith(("fp8", "int", "nvfp4")),
    }
    return ", ".join(reason for reason, applies in reasons.items() if applies)
