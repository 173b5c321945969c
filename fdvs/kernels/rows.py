"""The reference a few rows at a time, so that gradients can be had of long sequences: what training runs on.

Each stretch of queries is given the keys of its bands and the entries it can see, and nothing else; what it computed is
thrown away and computed again when its gradient is asked for. Memory grows with rows × what they see, not with Tq × Tk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fdvs.errors import ShapeError
from fdvs.kernels import reference
from fdvs.kernels.ops import TorchPlanning
from fdvs.kernels.plans import NEVER, Attended, Entries, Plan, check_shapes


@dataclass(frozen=True, slots=True)
class RowOps(TorchPlanning):
    """The reference in stretches of queries. Differentiable, for plans without tiles.

    Attributes:
        rows: queries of a stretch.
    """

    rows: int = 512
    name = "rows"

    decode = staticmethod(reference.decode)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: Plan, *, scale: float | None = None) -> Attended:
        """Same as `reference.attend`, but for plans with tiles.

        Raises:
            ShapeError: the plan has tiles, whose blocks would fall apart; no method that is trained plans any.
        """
        check_shapes(q, k, v, plan)
        if plan.tiles is not None:
            raise ShapeError("the back end rows computes no tiles: take reference or gather")
        parts = [
            self._stretch(q, k, v, plan, begin, min(begin + self.rows, q.shape[2]), scale)
            for begin in range(0, q.shape[2], self.rows)
        ]
        return Attended(torch.cat([part.out for part in parts], dim=2), torch.cat([part.lse for part in parts], dim=2))

    def _stretch(  # noqa: PLR0917 - one call cut into stretches
        self, q: Tensor, k: Tensor, v: Tensor, plan: Plan, begin: int, end: int, scale: float | None
    ) -> Attended:
        near, first, stop = near_plan(plan, begin, end)
        arguments = q[:, :, begin:end], k[:, :, first:stop], v[:, :, first:stop]
        if not torch.is_grad_enabled():
            return reference.attend(*arguments, near, scale=scale)
        found = checkpoint(_attend, *arguments, near, scale, use_reentrant=False)
        assert isinstance(found, Attended)
        return found


def near_plan(plan: Plan, begin: int, end: int) -> tuple[Plan, int, int]:
    """The plan of queries `begin … end - 1` over the keys `first … stop - 1` of their bands, positions counted from
    `first`; then `first` and `stop`."""
    rows = plan.rows(begin, end)
    stop = int(rows.q_positions[-1]) + 1
    first = min(int(rows.band_start.min()), stop)
    moved = Plan(rows.q_positions - first, rows.band_start - first)
    latest = rows.band_start.max()
    return (
        replace(moved, pooled=_seen(rows.pooled, latest, first), selected=_seen(rows.selected, latest, first)),
        first,
        stop,
    )


def _seen(entries: Entries | None, latest: Tensor, first: int) -> Entries | None:
    """The entries that some head's query whose band starts at `latest` would see, their positions from `first`."""
    if entries is None:
        return None
    places = (entries.last < latest).any(1).any(0).nonzero()[:, 0]
    last = entries.last[:, :, places]
    return Entries(
        k=entries.k[:, :, places],
        v=entries.v[:, :, places],
        last=torch.where(last == NEVER, last, last - first),
        bias=None if entries.bias is None else entries.bias[:, :, places],
    )


def _attend(q: Tensor, k: Tensor, v: Tensor, plan: Plan, scale: float | None) -> Attended:
    return reference.attend(q, k, v, plan, scale=scale)


ROWS = RowOps()
