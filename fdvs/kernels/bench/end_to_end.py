"""A whole decoder of random weights: time to the first token, time per token after it, memory.

Weights do not matter to time, so none are loaded: a decoder of the model's own shape is made on the device. What random
weights say about accuracy is nothing, and nothing is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from fdvs.kernels.bench.operator import FAILURES, Bench, Contender, fastest_dense, row_of
from fdvs.kernels.bench.rows import Case, Row
from fdvs.kernels.bench.shapes import ModelShape
from fdvs.kernels.bench.timing import forget_peak, summarise

NEW_TOKENS = 16
REPEATS = 3
DENSE_NAME = "sdpa-model"
"""The model's own attention through PyTorch, which others are told against here."""


def measure_end_to_end(
    bench: Bench, shape: ModelShape, length: int, methods: Sequence[Contender], is_time_left: Callable[[], bool]
) -> None:
    """Measures whole prompts and steps into the ledger, dense first. Needs transformers."""
    from fdvs.kernels.plugs.transformers.enable import enable

    model: Any = None
    for name, method in (("dense", None), *methods):
        backend = DENSE_NAME if method is None else bench.ops.name
        cases = [bench.case(part, shape, length, name, backend) for part in ("first-token", "next-token")]
        if not is_time_left() or all(bench.ledger.find(case) for case in cases):
            continue
        model = model if model is not None else make_decoder(shape, bench.dtype, bench.device)
        prompt = torch.randint(10, shape.vocabulary, (1, length), device=bench.device)
        plugged: AbstractContextManager[Any] = (
            nullcontext() if method is None else enable(model, method=method, backend=bench.ops.name, dense_below=0)
        )
        try:
            with plugged:
                _measure_model(bench, cases, model, prompt)
        except FAILURES as error:
            for case in cases:
                bench.ledger.add(Row(case, status=str(error).splitlines()[0]))


def make_decoder(shape: ModelShape, dtype: torch.dtype, device: torch.device) -> Any:
    """A causal language model of this shape, random weights, ready to generate."""
    from fdvs.encoders import _torchvision_shim

    _torchvision_shim.install()
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads_q,
        num_key_value_heads=shape.heads_k,
        max_position_embeddings=2**18 + NEW_TOKENS,
        attn_implementation="sdpa",
        eos_token_id=None,
        pad_token_id=0,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            model = Qwen2ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    return model.eval()


def _measure_model(bench: Bench, cases: Sequence[Case], model: Any, prompt: Tensor) -> None:
    firsts: list[float] = []
    steps: list[float] = []
    with torch.inference_mode():
        _arrivals(model, prompt)  # kernels are compiled
        forget_peak(bench.device)
        for _ in range(REPEATS):
            came = _arrivals(model, prompt)
            firsts.append(came[0])
            steps += [after - before for before, after in pairwise(came)]
    for case, times in zip(cases, (firsts, steps), strict=True):
        timed = summarise(None, times, bench.device)
        dense = timed.ms_50 if case.backend == DENSE_NAME else fastest_dense(bench.ledger, case)
        bench.ledger.add(row_of(case, timed, dense, plan_ms=0.0))


def _arrivals(model: Any, prompt: Tensor) -> list[float]:
    """Milliseconds from the call to each new token, the first one included."""
    from transformers import StoppingCriteria, StoppingCriteriaList

    came: list[float] = []

    class Clock(StoppingCriteria):  # type: ignore[misc]  # asked after each token; never stops anything
        def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
            if input_ids.is_cuda:
                torch.cuda.synchronize(input_ids.device)
            came.append((time.perf_counter() - begun) * 1000)
            return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)

    begun = time.perf_counter()
    model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=1 + NEW_TOKENS,
        min_new_tokens=1 + NEW_TOKENS,
        do_sample=False,
        stopping_criteria=StoppingCriteriaList([Clock()]),
    )
    return came
