"""The path through PyTorch's FlexAttention: entries and keys as one run of columns, a block mask made from the plan.

The block mask comes from the plan's own bounds and lists, never from a mask of queries × keys. On a GPU the compiled
kernel skips hidden blocks and returns the log-sum-exp. On a CPU PyTorch's compiled kernel keeps that to itself, so it
is computed in a second pass by the gathering path: there this path is a check of others, not a fast one.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from fdvs.errors import BackendUnavailableError
from fdvs.kernels.gather import GATHER
from fdvs.kernels.ops import TorchPlanning
from fdvs.kernels.plans import NEVER, Attended, Entries, Plan, check_shapes
from fdvs.kernels.visibility import tile_of_rows

BLOCK = 128
"""Queries and columns of a block. Lengths are padded to it, so that prompts of similar length share one compilation."""
MAX_COMPILATIONS = 64
"""Kinds of calls that PyTorch may compile for before it gives up, and we with it."""

Modifier = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class FlexOps(TorchPlanning):
    """FlexAttention, compiled or step by step.

    Decoding is that of the gathering path: with one query there is nothing that blocks could skip.

    Attributes:
        is_compiled: False runs it step by step with all logits in memory, for tests and where there is no compiler.

    Raises:
        BackendUnavailableError: there is no compiler, or it fails.
    """

    is_compiled: bool = True
    name = "flex"

    def attend(self, q: Tensor, k: Tensor, v: Tensor, plan: Plan, *, scale: float | None = None) -> Attended:
        """Same as `reference.attend`."""
        check_shapes(q, k, v, plan)
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        call = Columns.of(q, k, v, plan)
        if q.shape[2] == 0 or call.k.shape[2] == 0:
            return GATHER.attend(q, k, v, plan, scale=scale)  # nothing to see, and nothing to compile
        has_lse = not (self.is_compiled and q.device.type == "cpu")
        out, lse = self._run(call, scale, has_lse)
        out = out[:, :, : q.shape[2]]
        lse = GATHER.attend(q, k, v, plan, scale=scale).lse if lse is None else lse[:, :, : q.shape[2]]
        is_blind = lse.isneginf()
        return Attended(out.masked_fill(is_blind[..., None], 0.0).to(q.dtype), lse)

    def decode(self, q: Tensor, segments: Sequence[Entries], *, scale: float | None = None) -> Attended:
        """Same as `reference.decode`."""
        return GATHER.decode(q, segments, scale=scale)

    def _run(self, call: Columns, scale: float, has_lse: bool) -> tuple[Tensor, Tensor | None]:
        attention = _compiled(call.q.device.type) if self.is_compiled else _step_by_step
        wanted = _log_sum_exp_wanted() if has_lse else {}
        try:
            with torch._dynamo.config.patch(recompile_limit=MAX_COMPILATIONS):
                found = attention(
                    call.q, call.k, call.v, call.bias(), call.block_mask(), scale=scale, enable_gqa=True, **wanted
                )
        except torch._dynamo.exc.TorchDynamoException as error:
            why = " ".join(str(error).strip().splitlines()[:2])
            raise BackendUnavailableError(f"FlexAttention cannot be compiled for this call: {why}") from error
        if not has_lse:
            return found, None
        return found[0], found[1] if isinstance(found[1], Tensor) else found[1].lse


def _log_sum_exp_wanted() -> dict[str, Any]:
    """How the log-sum-exp is asked for, which PyTorch 2.9 has renamed."""
    from torch.nn.attention import flex_attention as module

    request = getattr(module, "AuxRequest", None)
    return {"return_lse": True} if request is None else {"return_aux": request(lse=True)}


def _step_by_step(*args: Any, **keywords: Any) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")  # it was asked for
        return flex_attention(*args, **keywords)


@lru_cache
def _compiled(device: str) -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    compilers = [os.environ.get("CXX", ""), "g++", "clang++"] if device == "cpu" else ["gcc", "clang", "cc"]
    if not any(name and shutil.which(name) for name in compilers):
        raise BackendUnavailableError(
            "FlexAttention is compiled before it runs, and there is no C++ compiler here; install one, or ask for the "
            "back end flex_eager by name"
        )
    # Code for CPUs that is to serve all lengths does not compile in PyTorch 2.13: there each padded length has its own.
    compiled: Callable[..., Any] = torch.compile(
        flex_attention, dynamic=False if device == "cpu" else None, fullgraph=True
    )
    return compiled


@dataclass(frozen=True, slots=True)
class Columns:
    """One call with entries and keys side by side, queries and columns padded to whole blocks.

    Attributes:
        q, k, v: `[B, Hq, R, D]`, `[B, Hk, C, D]`, `[B, Hk, C, Dv]`.
        biases: `[B, Hk, C]` float32, or None.
        last: `[B, Hk, C]` int32: of an entry its `last`, of a key its position, of padding `NEVER`.
        is_key: `[C]` bool.
        start: `[B, Hk, R]` int32; position: `[R]` int32. Padded queries have -1 in both.
        keep: `[B, Hq, tiles, columns' tiles + 1]` bool or None; nobody keeps the last one.
        tile_of_row, tile_of_column: `[R]`, `[C]` int32; entries that hide behind no tile have the last one.
        kv_head: `[Hq]` int32, the KV head of a query head.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    biases: Tensor | None
    last: Tensor
    is_key: Tensor
    start: Tensor
    position: Tensor
    keep: Tensor | None
    tile_of_row: Tensor
    tile_of_column: Tensor
    kv_head: Tensor

    @classmethod
    def of(cls, q: Tensor, k: Tensor, v: Tensor, plan: Plan) -> Columns:
        batch, heads_q, num_q = q.shape[:3]
        heads_k, num_k = k.shape[1:3]
        device = q.device
        segments = [part for part in (plan.pooled, plan.selected) if part is not None and part.num_entries]
        num_far = sum(part.num_entries for part in segments)
        more_q, more_k = -num_q % BLOCK, -(num_far + num_k) % BLOCK
        positions = torch.arange(num_k, device=device).expand(batch, heads_k, -1)
        last = torch.cat([*(part.last for part in segments), positions], dim=2)
        biases = None
        if any(part.bias is not None for part in segments):
            near = torch.zeros(batch, heads_k, num_k, device=device)
            biases = _pad(torch.cat([*(part.biases() for part in segments), near], dim=2), more_k, 0.0)
        keep, of_row, of_column = _tiles(plan, num_k, num_far, heads_q)
        return cls(
            q=_pad(q.transpose(2, 3), more_q, 0.0).transpose(2, 3),
            k=_pad(torch.cat([*(part.k for part in segments), k], dim=2).transpose(2, 3), more_k, 0.0).mT.contiguous(),
            v=_pad(torch.cat([*(part.v for part in segments), v], dim=2).transpose(2, 3), more_k, 0.0).mT.contiguous(),
            biases=biases,
            last=_pad(last, more_k, NEVER).int(),
            is_key=_pad((torch.arange(num_far + num_k, device=device) >= num_far).int(), more_k, 0).bool(),
            start=_pad(plan.band_start.expand(batch, heads_k, -1), more_q, -1).int(),
            position=_pad(plan.q_positions, more_q, -1).int(),
            keep=keep,
            tile_of_row=_pad(of_row, more_q, 0).int(),
            tile_of_column=_pad(of_column, more_k, 0).int(),
            kv_head=(torch.arange(heads_q, device=device) // (heads_q // heads_k)).int(),
        )

    def bias(self) -> Modifier | None:
        """What is added to a logit."""
        biases, kv_head = self.biases, self.kv_head
        if biases is None:
            return None

        def added(score: Tensor, b: Tensor, h: Tensor, row: Tensor, column: Tensor) -> Tensor:
            return score + biases[b, kv_head[h], column]

        return added

    def mask(self) -> Modifier:
        """Who sees what: the meaning is `visibility.py`."""
        last, is_key, start, position, kv_head = self.last, self.is_key, self.start, self.position, self.kv_head
        keep, tile_of_row, tile_of_column = self.keep, self.tile_of_row, self.tile_of_column

        def seen(b: Tensor, h: Tensor, row: Tensor, column: Tensor) -> Tensor:
            at, begin = last[b, kv_head[h], column], start[b, kv_head[h], row]
            return torch.where(is_key[column], (at >= begin) & (at <= position[row]), at < begin)

        if keep is None:
            return seen

        def seen_with_tiles(b: Tensor, h: Tensor, row: Tensor, column: Tensor) -> Tensor:
            at, begin = last[b, kv_head[h], column], start[b, kv_head[h], row]
            is_kept = keep[b, h, tile_of_row[row], tile_of_column[column]]
            near = ((at >= begin) | is_kept) & (at <= position[row])
            return torch.where(is_key[column], near, (at < begin) & ~is_kept)

        return seen_with_tiles

    def block_mask(self) -> Any:
        """The blocks in which some query sees some column, each to be looked at through `mask`."""
        from torch.nn.attention.flex_attention import BlockMask

        is_in_sight = self.blocks_in_sight()
        counts = is_in_sight.sum(-1, dtype=torch.int32)
        order = is_in_sight.int().argsort(dim=-1, descending=True, stable=True).int()
        lengths = (self.q.shape[2], self.k.shape[2])
        return BlockMask.from_kv_blocks(counts, order, BLOCK_SIZE=BLOCK, mask_mod=self.mask(), seq_lengths=lengths)

    def blocks_in_sight(self) -> Tensor:
        """`[B, Hq, R / 128, C / 128]` bool, from the bounds of blocks: some of them may yet be hidden."""
        position = self.position.unflatten(-1, (-1, BLOCK))
        start = self.start.unflatten(-1, (-1, BLOCK))
        is_row = position >= 0
        latest_start = start.amax(-1)
        first_start = start.masked_fill(~is_row, NEVER).amin(-1)
        entry = self.last.masked_fill(self.is_key, NEVER).unflatten(-1, (-1, BLOCK)).amin(-1)
        keys = self.last[0, 0]
        first_key = keys.masked_fill(~self.is_key, NEVER).unflatten(-1, (-1, BLOCK)).amin(-1)
        last_key = keys.masked_fill(~self.is_key, -1).unflatten(-1, (-1, BLOCK)).amax(-1)
        by_band = (first_key <= position.amax(-1)[:, None]) & (last_key >= first_start[..., None])
        found = (entry[:, :, None, :] < latest_start[..., None]) | by_band
        found = found[:, self.kv_head.long()]
        assert isinstance(found, Tensor)
        return found if self.keep is None else found | self._kept_blocks()

    def _kept_blocks(self) -> Tensor:
        """`[B, Hq, R / 128, C / 128]` bool: blocks that share a token with a kept tile."""
        assert self.keep is not None
        rows = _touches(self.tile_of_row, self.keep.shape[2])
        of_key = torch.where(self.is_key, self.tile_of_column, self.keep.shape[3] - 1)
        shared: Tensor = rows @ self.keep.float() @ _touches(of_key, self.keep.shape[3]).mT
        return shared > 0


def _touches(tile_of: Tensor, num_tiles: int) -> Tensor:
    """`[blocks, tiles]` float: 1 where a block has a member of a tile."""
    one_hot = torch.nn.functional.one_hot(tile_of.long(), num_tiles)
    return torch.unflatten(one_hot, 0, (-1, BLOCK)).amax(1).float()


def _pad(x: Tensor, more: int, value: float) -> Tensor:
    padded: Tensor = torch.nn.functional.pad(x, (0, more), value=value)
    return padded


def _tiles(plan: Plan, num_k: int, num_far: int, heads_q: int) -> tuple[Tensor | None, Tensor, Tensor]:
    """Lists for each query head with a tile that nobody keeps at their end, and the tile of each row and column."""
    of_row = torch.zeros_like(plan.q_positions)
    num_q, device = len(of_row), of_row.device
    if plan.tiles is None:
        return None, of_row, torch.zeros(num_far + num_k, dtype=torch.int64, device=device)
    tiles = plan.tiles
    keep = tiles.keep.repeat_interleave(heads_q // tiles.keep.shape[1], dim=1)
    nobody = keep.shape[3]
    of_far = torch.full((num_far,), nobody, device=device)
    if plan.is_remainder and plan.pooled is not None:
        of_far[: plan.pooled.num_entries] = torch.arange(plan.pooled.num_entries, device=device)
    of_key = tile_of_rows(tiles.k_order, num_k, tiles.block_k, device)
    of_row = tile_of_rows(tiles.q_order, num_q, tiles.block_q, device)
    return torch.nn.functional.pad(keep, (0, 1)), of_row, torch.cat([of_far, of_key])


FLEX = FlexOps()
FLEX_EAGER = FlexOps(is_compiled=False)
