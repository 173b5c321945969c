"""Attention of a few rows in float64: what a plan means, and what dense attention would have said."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from fdvs.kernels.coverage import rows_seen
from fdvs.kernels.plans import Entries, Plan, dense_plan
from fdvs.kernels.visibility import entries_seen, per_query_head, tile_of_rows


class Errors(NamedTuple):
    """Relative L2 errors over some rows.

    Attributes:
        of_kernel: against float64 under the same plan: what the back end's arithmetic costs.
        of_method: against dense attention in float64: what leaving keys out costs, on these inputs.
    """

    of_kernel: float
    of_method: float


def measure_errors(q: Tensor, k: Tensor, v: Tensor, plan: Plan, out: Tensor, *, num_rows: int = 8) -> Errors:
    """Errors of `out` `[B, Hq, Tq, Dv]`, on `num_rows` rows that are spread evenly over the later half."""
    num_q = q.shape[2]
    rows = torch.linspace(num_q // 2, num_q - 1, min(num_rows, num_q), device=q.device).round().long()
    got = out[:, :, rows].double()
    return Errors(
        of_kernel=relative_error(got, attend_rows(q, k, v, plan, rows)),
        of_method=relative_error(got, attend_rows(q, k, v, dense_plan(num_q, k.shape[2], q.device), rows)),
    )


def attend_rows(q: Tensor, k: Tensor, v: Tensor, plan: Plan, rows: Tensor) -> Tensor:
    """`[B, Hq, R, Dv]` float64: rows `rows` `[R]` of attention under `plan`, one KV head at a time to save memory."""
    heads_q, heads_k = q.shape[1], k.shape[1]
    seen = rows_seen(plan, rows, k.shape[2], heads_q)
    far = _entries_of_rows(plan, rows, heads_q)
    parts = []
    for head in range(heads_k):
        mine = slice(head * (heads_q // heads_k), (head + 1) * (heads_q // heads_k))
        queries = q[:, mine][:, :, rows].double() * q.shape[-1] ** -0.5
        logits = queries @ k[:, head, None].double().mT
        logits = logits.masked_fill(~seen[:, mine], -torch.inf)
        values = v[:, head, None].double()
        for entries, visible in far:
            extra = queries @ entries.k[:, head, None].double().mT + entries.biases()[:, head, None, None].double()
            logits = torch.cat([logits, extra.masked_fill(~visible[:, mine], -torch.inf)], dim=-1)
            values = torch.cat([values, entries.v[:, head, None].double()], dim=-2)
        parts.append(torch.softmax(logits, dim=-1).nan_to_num(0.0) @ values)
    return torch.cat(parts, dim=1)


def _entries_of_rows(plan: Plan, rows: Tensor, heads_q: int) -> list[tuple[Entries, Tensor]]:
    if plan.pooled is None:
        return []  # selected tokens are among the keys that `rows_seen` shows
    visible = per_query_head(entries_seen(plan.pooled, plan.band_start[..., rows]), heads_q)
    if plan.is_remainder and plan.tiles is not None:
        tile = tile_of_rows(plan.tiles.q_order, len(plan.q_positions), plan.tiles.block_q, rows.device)[rows]
        visible = visible & ~per_query_head(plan.tiles.keep[:, :, tile], heads_q)
    return [(plan.pooled, visible)]


def in_double(entries: Entries) -> Entries:
    """The same entries, keys and values in float64."""
    return replace(entries, k=entries.k.double(), v=entries.v.double())


def relative_error(got: Tensor, wanted: Tensor) -> float:
    """L2 norm of the difference, over that of what was wanted."""
    return float((got - wanted).norm() / wanted.norm().clamp_min(1e-30))
