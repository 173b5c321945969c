"""What a prompt's tokens are: where pictures and their frames begin, and which tokens stay exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fdvs.kernels.layout import Layout, protect

TEXT = 0


@dataclass(frozen=True, slots=True)
class Tokens:
    """What is known of the tokens of one forward pass, padding included.

    Attributes:
        kinds: `[B, T]` int64, 0 for text and another number for each kind of picture; None where nothing was said, and
            then all of it is text.
        places: `[2, B or 1, T]` int64, row and column of each token inside its picture; None where positions have one
            axis only.
    """

    kinds: Tensor | None
    places: Tensor | None

    def row(self, index: int, begin: int, end: int) -> Tokens:
        """Row `index` of the batch without its padding."""
        kinds = None if self.kinds is None else self.kinds[index : index + 1, begin:end]
        places = self.places
        if places is not None:
            index = index if places.shape[1] > 1 else 0
            places = places[:, index : index + 1, begin:end]
        return Tokens(kinds, places)


def kinds_of(ids: Tensor | None, token_types: Tensor | None, config: Any) -> Tensor | None:
    """`[B, T]`: what each token is, from its id, or from the processor's `mm_token_type_ids` where there are no ids."""
    marks = [
        getattr(config, name, None)
        for name in ("image_token_id", "video_token_id", "image_token_index", "video_token_index")
    ]
    known = list(dict.fromkeys(mark for mark in marks if isinstance(mark, int)))
    if ids is not None and known:
        kinds = torch.zeros_like(ids, dtype=torch.int64)
        for kind, mark in enumerate(known, start=1):
            kinds[ids == mark] = kind
        return kinds
    return None if token_types is None else token_types.long()


def places_of(position_ids: Tensor | None) -> Tensor | None:
    """`[2, B or 1, T]` of `position_ids` whose axes are time, row and column; newer models have one for text before."""
    if position_ids is None or position_ids.dim() != 3:
        return None
    return position_ids[-2:].long()


def layout_of(tokens: Tokens, length: int, *, keep_text: bool, sinks: int) -> Layout:
    """The layout of one prompt without padding.

    Args:
        tokens: those of one row.
        keep_text: text of a prompt with pictures is exact. A prompt of text alone has no exact text: there would be
            nothing left to shorten.
        sinks: so many tokens at the beginning are exact.
    """
    if tokens.kinds is None:
        return Layout(length, exact=protect(length, sinks=sinks) if sinks else None)
    kinds = tokens.kinds[0].cpu()
    is_text = kinds == TEXT
    has_pictures = not bool(is_text.all())
    exact = protect(length, sinks=sinks, text=is_text if keep_text and has_pictures else None)
    borders = _borders(kinds, None if tokens.places is None else tokens.places[:, 0].cpu()) if has_pictures else None
    return Layout(length, borders=borders, exact=exact if bool(exact.any()) else None)


def _borders(kinds: Tensor, places: Tensor | None) -> Tensor:
    """Where the kind of token changes, and where a frame begins inside a run of picture tokens.

    Tokens of a frame come row by row, so (row, column) grows inside a frame and does not where the next one begins.
    Times would not do: frames that are close together share one.
    """
    begins = kinds[1:] != kinds[:-1]
    if places is not None:
        rows, columns = places
        goes_on = (rows[1:] > rows[:-1]) | ((rows[1:] == rows[:-1]) & (columns[1:] > columns[:-1]))
        begins = begins | ((kinds[1:] != TEXT) & ~goes_on)
    return begins.nonzero()[:, 0] + 1
