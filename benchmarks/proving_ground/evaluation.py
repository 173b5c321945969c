"""What a method makes of the tasks: right answers, retained attention, and what it costs, planning included."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.proving_ground.model import Decoder, Size, angles
from benchmarks.proving_ground.tasks import Batch
from benchmarks.proving_ground.training import found
from fdvs.kernels.coverage import num_pairs, rows_seen
from fdvs.kernels.layout import Layout, protect
from fdvs.kernels.methods.base import Method, Prompt, ReducedCache
from fdvs.kernels.ops import Ops
from fdvs.kernels.plans import Plan
from fdvs.kernels.pooling import Pooled
from fdvs.kernels.rotary import Rotation

SINKS = 4
"""First tokens that stay exact, as where a method is plugged into a model."""


def layout_of(length: int, size: Size) -> Layout:
    """The layout of a task's sequence: no frames, no text that stands out, the model's rotary angles."""
    return Layout(length, exact=protect(length, sinks=SINKS), rotation=Rotation(*angles(length, size)))


@dataclass(slots=True)
class Planned:
    """Attention by a method's plans, for `Decoder`; remembers every layer's latest prompt and plan."""

    method: Method
    size: Size
    ops: Ops
    prompts: dict[int, Prompt] = field(default_factory=dict)
    plans: dict[int, Plan] = field(default_factory=dict)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        prompt = Prompt(q, k, v, layout_of(q.shape[2], self.size), layer=layer, ops=self.ops)
        self.prompts[layer], self.plans[layer] = prompt, self.method.plan(prompt)
        return self.ops.attend(q, k, v, self.plans[layer]).out


@dataclass(frozen=True, slots=True)
class Answers:
    """Shares of right answers, in 0…1.

    Attributes:
        in_prompt: of all questions, the whole sequence planned at once.
        last: of the last question alone, whose query stands where methods that look at the last query look.
        later: of all questions asked after the context was planned, one token at a time over the reduced cache.
        retained: attention weight of the last layer's answer rows, dense attention's, on tokens that are seen as they
            are.
        kept_entries: entries of the cache over tokens it has been given, of the last layer; 1 where all is kept.
    """

    in_prompt: float
    last: float
    later: float
    retained: float
    kept_entries: float


@torch.no_grad()
def answer(model: Decoder, method: Method, ops: Ops, batches: Sequence[Batch]) -> Answers:
    """Asks the model, with the method in all its layers, everything in `batches` (of one task and one size)."""
    rows = []
    for batch in batches:
        attention = Planned(method, model.size, ops)
        right = found(model(batch.tokens, attention, batch.places), batch)
        deep = model.size.layers - 1
        retained = retained_at(attention.prompts[deep], attention.plans[deep], batch.places)
        later, kept = ask_later(model, method, ops, batch)
        rows.append((float(right.mean()), float(right[:, -1].mean()), later, retained, kept))
    return Answers(*(sum(column) / len(rows) for column in zip(*rows, strict=True)))


def retained_at(prompt: Prompt, plan: Plan, places: Tensor) -> float:
    """Mean share of dense attention's weight at rows `places` `[A]` that lies on tokens the plan shows as they are."""
    heads_q, num_k = prompt.q.shape[1], prompt.k.shape[2]
    group = heads_q // prompt.heads_k
    logits = prompt.q[:, :, places].unflatten(1, (-1, group)) @ prompt.k[:, :, None].mT * prompt.softmax_scale
    logits = logits.flatten(1, 2).masked_fill(torch.arange(num_k) > prompt.q_positions[places, None], -torch.inf)
    return float((logits.softmax(-1) * rows_seen(plan, places, num_k, heads_q)).sum(-1).mean())


class WholeCache:
    """Every token, for methods that allow no smaller cache: decoding is dense then."""

    def __init__(self, ops: Ops) -> None:
        self._ops = ops

    def fill(self, prompt: Prompt) -> None:
        self._k, self._v = prompt.k, prompt.v

    def append(self, k: Tensor, v: Tensor) -> None:
        self._k, self._v = torch.cat([self._k, k], dim=2), torch.cat([self._v, v], dim=2)

    def attend(self, q: Tensor) -> Tensor:
        return torch.nn.functional.scaled_dot_product_attention(q, self._k, self._v, enable_gqa=True)


@torch.no_grad()
def ask_later(model: Decoder, method: Method, ops: Ops, batch: Batch) -> tuple[float, float]:
    """The context planned and cached, then the questions token by token; right answers and the share of the cache."""
    size, context, length = model.size, batch.context, batch.tokens.shape[1]
    attention = Planned(method, size, ops)
    model(batch.tokens[:, :context], attention, torch.tensor([context - 1]))
    caches = [_filled(method, ops, attention, layer) for layer in range(size.layers)]
    cos, sin = angles(length, size)
    logits = []
    for position in range(context, length):
        x = model.embed(batch.tokens[:, position : position + 1])
        here = cos[position : position + 1], sin[position : position + 1]
        for block, cache in zip(model.layers(), caches, strict=True):
            q, k, v = block.project(x, *here)
            if isinstance(cache, WholeCache):
                cache.append(k, v)
                attended = cache.attend(q)
            else:
                cache.append(q, k, v, Rotation(*here))
                attended = ops.decode(q, cache.segments()).out
            x = block.finish(x, attended)
        logits.append(model.head(model.norm(x)))
    asked = torch.cat(logits, dim=1)[:, batch.places - context]
    last = caches[-1]
    kept = 1.0 if isinstance(last, WholeCache) else last.num_entries / last.num_tokens
    return float(found(asked, batch).mean()), kept


def _filled(method: Method, ops: Ops, attention: Planned, layer: int) -> WholeCache | ReducedCache:
    reduced = method.cache()
    if reduced is None:
        whole = WholeCache(ops)
        whole.fill(attention.prompts[layer])
        return whole
    reduced.fill(attention.prompts[layer], attention.plans[layer])
    return reduced


@dataclass(frozen=True, slots=True)
class Cost:
    """What a method costs on one layer of one sequence, over what dense attention costs. Below 1 is cheaper.

    Attributes:
        kept_share: query–key and query–entry pairs of the plan.
        planning: multiplications of planning, as pairs (a pair is a dot product and a weighted sum).
        planning_ms, attention_ms, dense_ms: measured CPU time on one thread, the least of several runs.
    """

    kept_share: float
    planning: float
    planning_ms: float
    attention_ms: float
    dense_ms: float

    @property
    def pairs(self) -> float:
        """Kept share and planning together."""
        return self.kept_share + self.planning

    @property
    def time(self) -> float:
        """Measured time of planning and attention over that of dense attention."""
        return (self.planning_ms + self.attention_ms) / self.dense_ms


@torch.no_grad()
def cost_of(method: Method, prompt: Prompt, *, repeats: int = 3) -> Cost:
    """Measures one layer's planning and attention; dense attention is PyTorch's own, the fastest there is on a CPU."""
    batch, heads_q, length, size = prompt.q.shape
    plan = method.plan(prompt)
    dense_pairs = batch * heads_q * length * (length + 1) // 2
    return Cost(
        kept_share=_kept_share(prompt, plan),
        planning=planning_flops(method, prompt) / (4 * size * dense_pairs),
        planning_ms=_least_ms(lambda: method.plan(prompt), repeats),
        attention_ms=_least_ms(lambda: prompt.ops.attend(prompt.q, prompt.k, prompt.v, plan), repeats),
        dense_ms=_least_ms(
            lambda: torch.nn.functional.scaled_dot_product_attention(
                prompt.q, prompt.k, prompt.v, is_causal=True, enable_gqa=True
            ),
            repeats,
        ),
    )


def kept_share_of(method: Method, prompt: Prompt) -> float:
    """Pairs of a method's plan over those of dense attention."""
    return _kept_share(prompt, method.plan(prompt))


def _kept_share(prompt: Prompt, plan: Plan) -> float:
    batch, heads_q, length, _ = prompt.q.shape
    pairs = num_pairs(plan, length, batch, heads_q, prompt.heads_k)
    return pairs / (batch * heads_q * length * (length + 1) // 2)


def planning_flops(method: Method, prompt: Prompt) -> int:
    """Floating-point operations of planning: its matrix products, and what pooling multiplies element by element."""
    pooled = [0]

    class Counting:
        """The prompt's back end, counting what its pooling multiplies."""

        def __getattr__(self, name: str) -> object:
            return getattr(prompt.ops, name)

        def pool(self, k: Tensor, v: Tensor, members: Tensor, *rest: object, **named: object) -> Pooled:
            whole = members.expand(*k.shape[:2], -1, -1)
            pooled[0] += int((whole >= 0).sum()) * 2 * (2 * k.shape[-1] + v.shape[-1])
            return prompt.ops.pool(k, v, members, *rest, **named)  # type: ignore[arg-type]

    counted = Prompt(
        prompt.q,
        prompt.k,
        prompt.v,
        prompt.layout,
        prompt.scale,
        prompt.layer,
        Counting(),  # type: ignore[arg-type]
    )
    with FlopCounterMode(display=False) as counter:
        method.plan(counted)
    return int(counter.get_total_flops()) + pooled[0]


def _least_ms(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        begun = time.process_time()
        run()
        times.append(time.process_time() - begun)
    return 1000 * min(times)
