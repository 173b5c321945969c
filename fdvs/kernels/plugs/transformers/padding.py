"""Which tokens of a padded batch are real, from the masks that transformers hands to attention."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fdvs.errors import ShapeError


@dataclass(frozen=True, slots=True)
class Stretch:
    """The real tokens of one row: `begin … end - 1`; none where both are equal."""

    begin: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.begin


def stretches(mask: Tensor | None, batch: int, num_queries: int, num_keys: int) -> list[Stretch]:
    """For each row, which of the `num_queries` newest tokens are real.

    Args:
        mask: None (all are), `[B, Tk]` bool over all tokens so far, or `[B or 1, 1, Tq, Tk]` as for
            `scaled_dot_product_attention`: bool, or added to logits.
        num_keys: tokens so far, the new ones included.

    Raises:
        ShapeError: padding lies between real tokens, or a mask hides more than padding and later tokens.
    """
    if mask is None:
        return [Stretch(0, num_queries)] * batch
    real = _real_tokens(mask, num_queries, num_keys).expand(batch, -1)[:, -num_queries:].cpu()
    found = []
    for row in real:
        places = row.nonzero()[:, 0].tolist()
        begin, end = (places[0], places[-1] + 1) if places else (0, 0)
        if end - begin != len(places):
            raise ShapeError("padding between the tokens of a row; attention by plan takes it at the ends only")
        found.append(Stretch(begin, end))
    return found


def _real_tokens(mask: Tensor, num_queries: int, num_keys: int) -> Tensor:
    if mask.shape[-1] != num_keys:
        raise ShapeError(f"wanted a mask over {num_keys} tokens, got {list(mask.shape)}")
    if mask.dim() == 2:
        return mask.bool()
    seen = (mask if mask.dtype == torch.bool else mask == 0)[:, 0]
    real = seen[:, -1]  # the newest token comes after all others, so what it does not see is padding
    places = torch.arange(num_keys, device=mask.device)
    causal = places <= places[num_keys - num_queries :, None]
    rows = real[:, num_keys - num_queries :, None]
    if not torch.equal((causal & real[:, None]) & rows, seen & rows):
        raise ShapeError("the mask hides more than padding and later tokens; attention by plan is causal and no more")
    return real
