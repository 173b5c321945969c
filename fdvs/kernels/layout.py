"""What is known of a sequence's tokens beside their keys, and how it is cut into groups."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fdvs.errors import ShapeError
from fdvs.kernels.plans import NEVER
from fdvs.kernels.rotary import Rotation


@dataclass(frozen=True, slots=True)
class Layout:
    """Tokens of one sequence, shared by all rows of a batch that is planned together.

    Attributes:
        length: tokens, T.
        borders: sorted int64 positions at which a group has to begin: first tokens of frames, and of text after a
            picture. None: groups are cut by size alone, as published.
        exact: `[T]` bool, tokens that are always seen as they are (sinks, text), or None for none.
        rotation: the rotary embedding that the keys carry, for methods that pool keys before rotation.
    """

    length: int
    borders: Tensor | None = None
    exact: Tensor | None = None
    rotation: Rotation | None = None

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ShapeError(f"a layout needs at least one token, got {self.length}")
        if self.exact is not None and tuple(self.exact.shape) != (self.length,):
            raise ShapeError(f"wanted exact [{self.length}], got {list(self.exact.shape)}")

    def exact_positions(self) -> Tensor:
        """`[E]` int64, ascending."""
        if self.exact is None:
            return torch.zeros(0, dtype=torch.int64)
        return self.exact.nonzero()[:, 0]


def protect(length: int, *, sinks: int = 0, text: Tensor | None = None) -> Tensor:
    """`[T]` bool for `Layout.exact`: the first `sinks` tokens and those that `text` `[T]` marks."""
    exact = torch.zeros(length, dtype=torch.bool) if text is None else text.clone()
    exact[:sinks] = True
    return exact


@dataclass(frozen=True, slots=True)
class Groups:
    """Closed groups of neighbouring tokens, in order.

    Attributes:
        members: `[M, size]` int64 positions, padded with -1 on the right. A group may be short, never empty.
        ends: `[M]` int64, position after the last token of the stretch that a group covers, its exact tokens included.
    """

    members: Tensor
    ends: Tensor


def cut_into_groups(
    layout: Layout, size: int, *, until: int | None = None, device: torch.device | None = None
) -> Groups:
    """Groups of `size` neighbouring tokens that cross no border and leave exact tokens out.

    What is left before a border is a short group. What is left at the end of the sequence is not a group yet: it may
    still grow.

    Args:
        until: cut only the tokens before this position. Default: all.
    """
    if size < 1:
        raise ShapeError(f"a group needs at least one token, got {size}")
    length = layout.length if until is None else min(until, layout.length)
    pieces = torch.tensor([0] if length else [], dtype=torch.int64)
    if layout.borders is not None:
        borders = layout.borders.cpu()
        pieces = torch.cat([pieces, borders[(borders > 0) & (borders < length)]]).unique()
    # Long prompts are cut anew for each layer: no step here is about single tokens but where some of them are exact.
    piece_ends = torch.cat([pieces[1:], pieces.new_tensor([length])[: len(pieces)]])
    num_groups = (piece_ends - pieces + size - 1) // size
    before = num_groups.cumsum(0) - num_groups
    number = torch.arange(int(num_groups.sum())) - before.repeat_interleave(num_groups)
    starts = pieces.repeat_interleave(num_groups) + number * size
    ends = torch.minimum(starts + size, piece_ends.repeat_interleave(num_groups))
    is_closed = (ends - starts == size) | (ends < length)
    starts, ends = starts[is_closed], ends[is_closed]
    members = starts[:, None] + torch.arange(size)
    members = members.masked_fill(members >= ends[:, None], -1)
    members = _without_exact(members, starts, layout.exact_positions().cpu())
    is_filled = members[:, 0] >= 0
    return Groups(members[is_filled].to(device), ends[is_filled].to(device))


def _without_exact(members: Tensor, starts: Tensor, exact: Tensor) -> Tensor:
    """`members` `[M, size]` of groups that begin at `starts` `[M]`, less the positions `exact` `[E]`."""
    if not len(exact) or not len(starts):
        return members
    touched = (torch.searchsorted(starts, exact, right=True) - 1).clamp_min(0).unique()
    some = members[touched]
    some = some.masked_fill(torch.isin(some, exact) | (some < 0), NEVER).sort(dim=1).values  # they go to the right
    members[touched] = some.masked_fill(some == NEVER, -1)
    return members


def band_starts(group_ends: Tensor, q_positions: Tensor, window: int) -> Tensor:
    """Where each query's band starts: at the end of the last group that lies outside its window.

    So a band holds at least `window` tokens where the sequence has them, and whatever is before it is whole groups.

    Args:
        group_ends: `[…, M]` int64, ascending.
        q_positions: `[Tq]`.
        window: tokens that are always seen, the query's own among them.

    Returns:
        `[…, Tq]` int64.

    Source: CCA 2412.12465, the window k…i with k = i - s - ((i - s) mod g), less the token that the printed formula
    counts twice.
    """
    lead = group_ends.shape[:-1]
    limits = (q_positions + 1 - window).expand(*lead, -1).contiguous()
    num_before = torch.searchsorted(group_ends.contiguous(), limits, right=True)
    padded = torch.cat([group_ends.new_zeros(*lead, 1), group_ends], dim=-1)
    return padded.gather(-1, num_before)
