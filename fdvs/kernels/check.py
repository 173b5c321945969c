"""Whether every back end that can run on this machine computes what it should: each operation against float64."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from fdvs.errors import BackendUnavailableError, InputError
from fdvs.kernels.names import BACKENDS, open_ops
from fdvs.kernels.ops import REFERENCE, Ops
from fdvs.kernels.plans import Entries
from fdvs.kernels.reference import attend_in
from fdvs.kernels.samples import PLAN_KINDS, TILED, Shape, random_qkv, sample
from fdvs.kernels.tolerance import Verdict, judge

TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

SMALL = (Shape(1, 2, 1, 63, 63, 32), Shape(1, 7, 1, 1, 111, 80))
"""For back ends that run step by step or compile for every shape."""

WIDE = (
    Shape(2, 4, 4, 63, 111, 64),
    Shape(1, 4, 1, 1, 1, 32),
    Shape(1, 7, 1, 1, 255, 128),
    Shape(1, 28, 4, 111, 257, 128),
    Shape(1, 8, 1, 65, 65, 80),
    Shape(1, 8, 2, 33, 129, 96, 64),
)
"""Query heads for each KV head: 1, 4, 7, 8; head sizes 32 … 128; lengths that nothing divides; one query."""

LONG = (Shape(1, 14, 2, 1023, 1023, 128), Shape(1, 8, 2, 1025, 1025, 64))
"""More than one tile of everything: for GPUs."""


WITHOUT_TILES = frozenset({"rows"})
"""Back ends that say they compute no plans with tiles."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One operation of one back end in one type on one input.

    Attributes:
        outcome: `wrong` is an error of more than is allowed, or a failure; `not run` has its reason.
        error, allowed: largest absolute error of the operation's results that comes nearest to its limit.
    """

    backend: str
    operation: str
    dtype: str
    case: str
    outcome: Literal["right", "wrong", "not run"]
    error: float = 0.0
    allowed: float = 0.0
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """What is checked.

    Attributes:
        backends: names, or empty for all.
        device: `cpu`, `cuda`, or empty for a GPU where there is one.
        dtypes: names of `TYPES`, or empty for all.
    """

    backends: tuple[str, ...] = ()
    device: str = ""
    dtypes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if unknown := set(self.dtypes) - set(TYPES):
            raise InputError(f"unknown type {', '.join(sorted(unknown))}; known: {', '.join(TYPES)}")


class As(NamedTuple):
    """How inputs are given: rounded to one type, then as another one, somewhere. Float64 sees the rounded values."""

    rounded: torch.dtype
    dtype: torch.dtype
    device: str

    def tensor(self, x: Tensor) -> Tensor:
        return (
            x.to(self.rounded).to(device=self.device, dtype=self.dtype) if x.is_floating_point() else x.to(self.device)
        )

    def entries(self, x: Entries) -> Entries:
        bias = None if x.bias is None else x.bias.to(self.device)
        return Entries(self.tensor(x.k), self.tensor(x.v), x.last.to(self.device), bias)


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that a back end does: its results by name. `plain` is the same in nothing but the given type."""

    name: str
    case: str
    run: Callable[[Ops, As], dict[str, Tensor]]
    plain: Callable[[torch.dtype], dict[str, Tensor]] | None = None

    def in_low_precision(self, dtype: torch.dtype) -> dict[str, Tensor]:
        return self.run(REFERENCE, As(dtype, dtype, "cpu")) if self.plain is None else self.plain(dtype)


def check(settings: CheckSettings, report: Callable[[Finding], None] = lambda finding: None) -> list[Finding]:
    """All findings; `report` gets each as it is made.

    Raises:
        UnknownBackendError: a back end is named that does not exist.
    """
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    found = []
    for backend in settings.backends or tuple(BACKENDS):
        for finding in _check_backend(backend, device, settings.dtypes or tuple(TYPES)):
            report(finding)
            found.append(finding)
    return found


def _check_backend(backend: str, device: str, dtypes: Sequence[str]) -> Iterator[Finding]:
    blank = Finding(backend, "all", "all", "", "not run")
    try:
        ops = open_ops(backend)
    except BackendUnavailableError as error:
        yield replace(blank, reason=str(error))
        return
    for dtype in dtypes:
        for operation in _operations(backend, device):
            finding = replace(_judged(ops, operation, dtype, device), backend=backend)
            if finding.outcome == "not run":  # what stands in the way of one operation stands in the way of all
                yield replace(finding, operation="all", case="")
                break
            yield finding


def _judged(ops: Ops, operation: Operation, name: str, device: str) -> Finding:
    dtype = TYPES[name]
    blank = Finding(ops.name, operation.name, name, operation.case, "wrong")
    began = time.perf_counter()
    try:
        got = operation.run(ops, As(dtype, dtype, device))
    except BackendUnavailableError as error:
        return replace(blank, outcome="not run", reason=str(error))
    except Exception as error:  # noqa: BLE001 - the boundary: a kernel that fails is a finding, and the others go on
        return replace(blank, reason=f"{type(error).__name__}: {error}".splitlines()[0])
    seconds = time.perf_counter() - began
    truth, plain = operation.run(REFERENCE, As(dtype, torch.float64, "cpu")), operation.in_low_precision(dtype)
    verdicts = [judge(x, got[x], truth[x], plain[x], _type_of(x, got[x], dtype)) for x in truth]
    worst = max(verdicts, key=_nearness)
    reason = "; ".join(verdict.reason for verdict in verdicts if verdict.reason)
    outcome: Literal["right", "wrong"] = "wrong" if reason else "right"
    return replace(
        blank, outcome=outcome, error=worst.error, allowed=worst.allowed, reason=reason, seconds=round(seconds, 4)
    )


def _nearness(verdict: Verdict) -> float:
    """How much of what is allowed an error takes; NaN is more than everything."""
    return float("inf") if verdict.error != verdict.error else verdict.error / max(verdict.allowed, 1e-30)


def _type_of(name: str, result: Tensor, dtype: torch.dtype) -> torch.dtype:
    """What a result is rounded to. A log-sum-exp may be one of rounded weights; whole numbers have to be right."""
    if name.endswith("lse"):
        return dtype
    return result.dtype if result.is_floating_point() else torch.float64


def _operations(backend: str, device: str) -> Iterator[Operation]:
    """Attention under plans of every kind, with tiles of odd and of usual size, then decoding and what planning needs.

    FlexAttention takes all but attention from another back end, and compiles for every kind of call: less is tried.
    """
    is_flex = backend.startswith("flex")
    is_slow = backend == "flex_eager" or (device == "cpu" and backend in {"flex", "triton"})
    shapes = SMALL if is_slow else WIDE if device == "cpu" else WIDE + LONG
    for number, shape in enumerate(shapes[:1] if is_slow and is_flex else shapes):
        block_q, block_k = ((16, 16), (5, 7), (128, 64))[number % 3]
        for kind in PLAN_KINDS if not is_flex else ("remainder",) if is_slow else ("both", "remainder"):
            if backend not in WITHOUT_TILES or kind not in TILED:
                yield _attention(kind, shape, block_q, block_k)
    for shape in () if is_flex else shapes[:4]:
        yield _decoding(shape)
        yield from _planning(shape)


def _attention(kind: str, shape: Shape, block_q: int, block_k: int) -> Operation:
    call = sample(kind, shape, block_q=block_q, block_k=block_k)

    def run(ops: Ops, given: As) -> dict[str, Tensor]:
        mine = call.to(dtype=given.rounded).to(dtype=given.dtype, device=given.device)
        return ops.attend(mine.q, mine.k, mine.v, mine.plan)._asdict()

    def plain(dtype: torch.dtype) -> dict[str, Tensor]:
        low = call.to(dtype=dtype)
        return attend_in(dtype, low.q, low.k, low.v, low.plan)._asdict()

    return Operation(f"attend {kind}", str(shape), run, plain)


def _decoding(shape: Shape) -> Operation:
    """One step over two segments, one of them with biases and padding; then both once more, merged."""
    call = sample("both", replace(shape, num_q=1))
    pooled, selected = call.plan.pooled, call.plan.selected
    assert pooled is not None
    assert selected is not None
    biased = replace(pooled, bias=torch.linspace(0, 3, pooled.last.numel()).view(pooled.last.shape))

    def run(ops: Ops, given: As) -> dict[str, Tensor]:
        q, segments = given.tensor(call.q), [given.entries(biased), given.entries(selected)]
        whole = ops.decode(q, segments)
        merged = ops.merge([ops.decode(q, [one]) for one in segments])
        return {"out": whole.out, "lse": whole.lse, "merged out": merged.out, "merged lse": merged.lse}

    return Operation("decode, merge", str(shape), run)


def _planning(shape: Shape) -> Iterator[Operation]:
    """Pooling, column scores with padded queries, the best of each block, compaction."""
    q, k, v = random_qkv(shape, seed=3)
    places = torch.arange(-(-shape.num_k // 8) * 8)
    members = places.masked_fill(places >= shape.num_k, -1).view(1, 1, -1, 8)
    queries = random_qkv(replace(shape, heads_q=shape.heads_k, num_q=members.shape[2]), seed=4)[0]
    positions = torch.arange(shape.num_k - shape.num_q, shape.num_k)
    is_real = torch.arange(shape.num_q) < max(1, shape.num_q - 3)
    scores = torch.rand(shape.batch, shape.heads_k, shape.num_k, generator=torch.Generator().manual_seed(5))
    quotas = torch.arange(-(-shape.num_k // 16)).expand(shape.batch, shape.heads_k, -1) % 5

    def pooled(ops: Ops, given: As) -> dict[str, Tensor]:
        k_given, v_given = given.tensor(k), given.tensor(v)
        weighted = ops.pool(k_given, v_given, members.to(given.device), given.tensor(queries))
        means = ops.pool(k_given, v_given, members.to(given.device), key_rule="anchor", value_rule="mean")
        entries = weighted.entries
        return {
            "k": entries.k,
            "v": entries.v,
            "bias": entries.biases(),
            "last": entries.last,
            "means": means.entries.v,
        }

    def scored(ops: Ops, given: As) -> dict[str, Tensor]:
        place = given.device
        voters, keys = given.tensor(q), given.tensor(k)
        return {"scores": ops.column_scores(voters, positions.to(place), keys, is_real=is_real.to(place))}

    def chosen(ops: Ops, given: As) -> dict[str, Tensor]:
        kept = ops.block_top_k(scores.to(given.device), quotas.to(given.device), 16)
        entries = ops.compact(given.tensor(k), given.tensor(v), kept)
        return {"positions": kept, "k": entries.k, "v": entries.v}

    yield Operation("pool", str(shape), pooled)
    yield Operation("column scores", str(shape), scored)
    yield Operation("top-k, compact", str(shape), chosen)


@dataclass(frozen=True, slots=True)
class Summary:
    """All findings of one operation of one back end in one type."""

    backend: str
    operation: str
    dtype: str
    cases: int
    wrong: int
    error: float
    allowed: float
    reason: str


def summarise(findings: Sequence[Finding]) -> list[Summary]:
    """One row for each back end, operation and type; the error shown is the one nearest to its limit."""
    rows: dict[tuple[str, str, str], list[Finding]] = {}
    for one in findings:
        rows.setdefault((one.backend, one.operation, one.dtype), []).append(one)
    summaries = []
    for (backend, operation, dtype), group in rows.items():
        worst = max(group, key=lambda one: _nearness(Verdict(one.error, one.allowed, "")))
        reasons = [f"{one.case}: {one.reason}".removeprefix(": ") for one in group if one.reason]
        wrong = sum(one.outcome == "wrong" for one in group)
        cases = 0 if group[0].outcome == "not run" else len(group)
        reason = reasons[0] if reasons else ""
        summaries.append(Summary(backend, operation, dtype, cases, wrong, worst.error, worst.allowed, reason))
    return summaries
