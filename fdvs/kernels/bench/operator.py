"""One layer's attention: dense, and planned and run by each method; prompts and steps of decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from fdvs.errors import FdvsError
from fdvs.kernels import reference
from fdvs.kernels.bench.dense import dense_calls
from fdvs.kernels.bench.inputs import NUM_SINKS, Inputs, make_inputs
from fdvs.kernels.bench.rows import Case, Ledger, Row
from fdvs.kernels.bench.shapes import ModelShape
from fdvs.kernels.bench.timing import Timed, measure
from fdvs.kernels.bench.truth import attend_rows, in_double, measure_errors, relative_error
from fdvs.kernels.coverage import report
from fdvs.kernels.layout import Layout, protect
from fdvs.kernels.methods.base import Method, Prompt
from fdvs.kernels.ops import Ops
from fdvs.kernels.plans import dense_plan

ROWS_LOOKED_AT = 8
"""Rows that errors and retained mass are measured on: each one is a dense row in float64."""

FAILURES = (FdvsError, torch.OutOfMemoryError)
"""What ends one measurement, is written down with it, and leaves the others alone."""


class Contender(NamedTuple):
    """A method, and the name with its settings that its rows are told by."""

    label: str
    method: Method


@dataclass(frozen=True, slots=True)
class Bench:
    """What a run measures on, and where it writes.

    Attributes:
        device_name: as people know it.
        versions: of the packages that the figures depend on.
        ops: our own back end, for planning and attention.
    """

    device: torch.device
    device_name: str
    dtype: torch.dtype
    versions: str
    ops: Ops
    ledger: Ledger

    def case(self, part: str, shape: ModelShape, length: int, method: str, backend: str) -> Case:
        kind = str(self.dtype).removeprefix("torch.")
        return Case(part, shape.name, length, method, backend, kind, self.device_name, self.versions)


def measure_operator(
    bench: Bench, shape: ModelShape, length: int, methods: Sequence[Contender], is_time_left: Callable[[], bool]
) -> None:
    """Measures one shape at one length into the ledger: dense first, because the others are told against it.

    Stops between two measurements when there is no time left.
    """
    inputs = make_inputs(shape.heads_q, shape.heads_k, length, shape.head_size, dtype=bench.dtype, device=bench.device)
    for part in ("prefill", "decode"):
        if is_time_left():
            _measure_dense(bench, shape, inputs, part)
    for label, method in methods:
        for part, measure_one in (("prefill", _measure_prefill), ("decode", _measure_decode)):
            case = bench.case(part, shape, length, label, bench.ops.name)
            if bench.ledger.find(case) is not None or not is_time_left():
                continue
            try:
                measure_one(bench, case, inputs, method)
            except FAILURES as error:
                bench.ledger.add(Row(case, status=str(error).splitlines()[0]))


def fastest_dense(ledger: Ledger, like: Case) -> float | None:
    """Milliseconds of the fastest dense path of PyTorch for the same work, or None where there was none."""
    times = [
        row.run_ms_50
        for row in ledger.rows
        if row.run_ms_50 is not None
        and row.case == replace(like, method="dense", backend=row.case.backend)
        and row.case.backend.startswith("sdpa-")
    ]
    return min(times, default=None)


def _measure_dense(bench: Bench, shape: ModelShape, inputs: Inputs, part: str) -> None:
    q = inputs.q if part == "prefill" else inputs.q[:, :, -1:]
    for name, call in dense_calls(q, inputs.k, inputs.v):
        case = bench.case(part, shape, inputs.k.shape[2], "dense", name)
        if bench.ledger.find(case) is None:
            timed = measure(call, bench.device)
            bench.ledger.add(row_of(case, timed, timed.ms_50, plan_ms=0.0, kept_share=1.0))


def _measure_prefill(bench: Bench, case: Case, inputs: Inputs, method: Method) -> None:
    prompt = prompt_of(inputs, bench.ops)
    planned = measure(lambda: method.plan(prompt), bench.device)
    plan = planned.result
    run = measure(lambda: bench.ops.attend(*inputs, plan), bench.device)
    said = report(inputs.q, inputs.k, plan, max_rows=ROWS_LOOKED_AT)
    errors = measure_errors(*inputs, plan, run.result.out, num_rows=ROWS_LOOKED_AT)
    bench.ledger.add(
        row_of(
            case,
            run,
            fastest_dense(bench.ledger, case),
            plan_ms=planned.ms_50,
            kept_share=said.kept_share,
            retained_mass=said.retained_mass,
            error_of_kernel=errors.of_kernel,
            error_of_method=errors.of_method,
        )
    )


def _measure_decode(bench: Bench, case: Case, inputs: Inputs, method: Method) -> None:
    cache = method.cache()
    if cache is None:
        return
    prompt = prompt_of(inputs, bench.ops)
    cache.fill(prompt, method.plan(prompt))
    step = inputs.q[:, :, -1:]
    segments = cache.segments()
    length = inputs.k.shape[2]
    last = torch.tensor([length - 1], device=bench.device)
    run = measure(lambda: bench.ops.decode(step, segments), bench.device)
    dense = attend_rows(*inputs, dense_plan(length, length, bench.device), last)
    own = reference.decode(step.double(), [in_double(entries) for entries in segments]).out
    bench.ledger.add(
        row_of(
            case,
            run,
            fastest_dense(bench.ledger, case),
            plan_ms=0.0,
            cache_share=cache.num_entries / cache.num_tokens,
            error_of_kernel=relative_error(run.result.out.double(), own),
            error_of_method=relative_error(run.result.out.double(), dense),
        )
    )


def prompt_of(inputs: Inputs, ops: Ops) -> Prompt:
    """The inputs as one prompt whose first tokens are sinks."""
    length = inputs.k.shape[2]
    layout = Layout(length, exact=protect(length, sinks=NUM_SINKS).to(inputs.k.device))
    return Prompt(*inputs, layout, ops=ops)


def row_of(case: Case, run: Timed[object], dense_ms: float | None, *, plan_ms: float, **said: Any) -> Row:
    """The row of a measured case; its total is planning and running together."""
    total = plan_ms + run.ms_50
    return Row(
        case,
        plan_ms=plan_ms,
        run_ms_20=run.ms_20,
        run_ms_50=run.ms_50,
        run_ms_80=run.ms_80,
        total_ms=total,
        dense_ms=dense_ms,
        speedup=dense_ms / total if dense_ms else None,
        peak_mib=run.peak_mib,
        **said,
    )
