"""What a served layer keeps between steps: for each row of the batch, all of its tokens or a method's reduced cache."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from fdvs.errors import BackendUnavailableError, InputError
from fdvs.kernels.methods.base import ReducedCache
from fdvs.kernels.ops import Ops
from fdvs.kernels.plans import dense_plan
from fdvs.kernels.rotary import Rotation


class KeptRow(Protocol):
    """What is kept of one row of the batch in one layer."""

    def step(self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation | None) -> Tensor:
        """Takes one token in, `[1, H, 1, D]` each, and returns its attention `[1, Hq, 1, Dv]`."""

    @property
    def num_tokens(self) -> int:
        """Tokens it was given."""

    @property
    def num_entries(self) -> int:
        """Entries it holds per KV head."""


class WholeRow:
    """Every token of a prompt that is too short to be planned, in a batch with longer ones."""

    def __init__(self, k: Tensor, v: Tensor, ops: Ops, scale: float | None) -> None:
        self._k, self._v, self._ops, self._scale = k, v, ops, scale

    def step(self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation | None) -> Tensor:
        self._k, self._v = torch.cat([self._k, k], dim=2), torch.cat([self._v, v], dim=2)
        plan = dense_plan(1, self.num_tokens, q.device)
        return self._ops.attend(q, self._k, self._v, plan, scale=self._scale).out

    @property
    def num_tokens(self) -> int:
        return self._k.shape[2]

    @property
    def num_entries(self) -> int:
        return self.num_tokens


class ReducedRow:
    """A method's reduced cache, filled by the prompt."""

    def __init__(self, kept: ReducedCache, ops: Ops, scale: float | None) -> None:
        self.kept, self._ops, self._scale = kept, ops, scale

    def step(self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation | None) -> Tensor:
        self.kept.append(q, k, v, rotation)
        return self._ops.decode(q, self.kept.segments(), scale=self._scale).out

    @property
    def num_tokens(self) -> int:
        return self.kept.num_tokens

    @property
    def num_entries(self) -> int:
        return self.kept.num_entries


def _refused(what: str) -> Callable[..., Any]:
    def refuse(_self: Any, *_: Any, **__: Any) -> Any:
        raise InputError(f"a cache that was reduced by a plan cannot be {what}; decode greedily or by sampling")

    return refuse


@cache
def layer_class() -> type[Any]:
    """The layer of a `transformers.Cache` that takes the place of a `DynamicLayer`.

    Attention reads what it needs from `rows`, so `update` hands on the new tokens alone. Lengths and the sizes of masks
    are logical: one mask serves all layers of full attention, also those that were left dense, and it is by logical
    places that it tells padding.
    """
    from transformers.cache_utils import CacheLayerMixin

    class PlannedLayer(CacheLayerMixin):  # type: ignore[misc]
        is_sliding = False
        is_croppable = False
        supports_early_init = False

        def __init__(self) -> None:
            super().__init__()
            self.cumulative_length = 0  # the name by which transformers' own layers go
            self.rows: list[KeptRow | None] | None = None

        def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.is_initialized = True

        def update(
            self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
        ) -> tuple[Tensor, Tensor]:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            self.cumulative_length += key_states.shape[-2]
            return key_states, value_states

        def get_seq_length(self, *_: Any) -> int:
            return self.cumulative_length

        def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
            return self.cumulative_length + query_length, 0

        def get_max_length(self) -> int:
            return -1

        get_max_cache_shape = get_max_length  # its name in older releases

        def reset(self) -> None:
            self.rows, self.cumulative_length, self.is_initialized = None, 0, False

        reorder_cache = _refused("reordered for beams")
        batch_repeat_interleave = _refused("repeated for beams")
        batch_select_indices = _refused("cut down to some rows")
        crop = _refused("shortened, as assisted decoding wants it")
        offload = prefetch = _refused("moved to another device")

        @property
        def num_entries(self) -> int:
            """Entries per KV head of the fullest row: the physical length."""
            return max((row.num_entries for row in self.rows or () if row is not None), default=0)

    return PlannedLayer


def planned_layer(past: Any, index: int) -> Any:
    """Layer `index` of a cache as one of ours, put in the place of an empty one.

    It is put there when the layer is first used: whoever made the cache, `generate`, the model or the caller, need not
    know of us, and nothing of transformers is replaced that would have to be put back.

    Raises:
        BackendUnavailableError: the cache is of a kind whose layers cannot be replaced.
        InputError: it has tokens in it that no plan has seen.
    """
    from transformers.cache_utils import Cache, DynamicLayer

    ours = layer_class()
    if not isinstance(past, Cache) or getattr(past, "offloading", False):
        raise BackendUnavailableError(_wrong_cache(past))
    while len(past.layers) <= index and past.layer_class_to_replicate is DynamicLayer:
        past.layers.append(DynamicLayer())
    layer = past.layers[index]
    if isinstance(layer, ours):
        return layer
    if type(layer) is not DynamicLayer:
        raise BackendUnavailableError(_wrong_cache(layer))
    if layer.get_seq_length():
        raise unseen()
    past.layers[index] = ours()
    return past.layers[index]


def unseen() -> InputError:
    """What is said of a cache with tokens in it that no plan has seen."""
    return InputError("this cache was filled before the attention was replaced; begin with an empty one")


def _wrong_cache(found: Any) -> str:
    return (
        f"attention by plan keeps its own cache in the place of transformers' dynamic one, and this is a "
        f"{type(found).__name__}; leave out cache_implementation"
    )
