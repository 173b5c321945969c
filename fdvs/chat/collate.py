"""Requests that were prepared one by one, put together as one batch with padding on the left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Inputs = Mapping[str, Any]
"""What a processor makes of one request: `input_ids` `[1, T]`, more of that shape, and tensors of pictures."""

IDS = "input_ids"


class UnlikeError(ValueError):
    """Inputs that cannot stand in one batch."""


def collate(rows: Sequence[Inputs], pad_id: int) -> dict[str, Any]:
    """One batch of B requests.

    Tensors of the shape of `input_ids` are padded on the left to `[B, T]`, all others are joined along their first
    dimension in the order of the requests that have them: processors number pictures, patches and videos there.
    SmolVLM's `[1, pictures, …]` is first padded with pictures of zeros, which the model knows to skip.

    Raises:
        UnlikeError: pictures of some rows have other shapes; each has to go alone.
    """
    if len(rows) == 1:
        return dict(rows[0])
    longest = max(row[IDS].shape[1] for row in rows)
    batch = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        if any(_is_per_token(row, key) for row in rows):
            batch[key] = _left_padded(rows, key, longest, pad_id if key == IDS else 0)
        else:
            batch[key] = _joined([_tensor(row[key]) for row in rows if key in row], has_mask=_has_picture_mask(rows))
    return batch


def _is_per_token(row: Inputs, key: str) -> bool:
    return key in row and getattr(row[key], "shape", None) == row[IDS].shape


def _left_padded(rows: Sequence[Inputs], key: str, longest: int, fill: int) -> Any:
    """`[B, longest]`; a row that lacks the key, as text alone lacks the kinds of its tokens, is all `fill`."""
    import torch

    padded = torch.full((len(rows), longest), fill, dtype=next(row[key] for row in rows if key in row).dtype)
    for i, row in enumerate(rows):
        if key in row:
            padded[i, longest - row[key].shape[1] :] = row[key][0]
    return padded


def _tensor(value: Any) -> Any:
    import torch

    return value if isinstance(value, torch.Tensor) else torch.as_tensor(value)


def _has_picture_mask(rows: Sequence[Inputs]) -> bool:
    return any("pixel_attention_mask" in row for row in rows)


def _joined(tensors: Sequence[Any], *, has_mask: bool) -> Any:
    import torch

    shapes = {tuple(tensor.shape[1:]) for tensor in tensors}
    if len(shapes) > 1:
        if not has_mask or len({len(shape) for shape in shapes}) > 1:
            raise UnlikeError(f"pictures of the shapes {sorted(shapes)} in one batch")
        largest = [max(sizes) for sizes in zip(*shapes, strict=True)]
        tensors = [_zero_padded(tensor, largest) for tensor in tensors]
    return torch.cat(list(tensors))


def _zero_padded(tensor: Any, sizes: Sequence[int]) -> Any:
    padded = tensor.new_zeros((tensor.shape[0], *sizes))
    padded[tuple(slice(size) for size in tensor.shape)] = tensor
    return padded
