"""Requests prepared one by one, put into one batch."""

from __future__ import annotations

from typing import Any

import pytest

from fdvs.chat.collate import UnlikeError, collate
from fdvs.encoders._local_models import require
from tests.encoders.models import needs

pytestmark = [pytest.mark.model, needs("torch")]


def row(*ids: int, **more: Any) -> dict[str, Any]:
    tokens = require("torch", "models").tensor([ids])
    return {"input_ids": tokens, "attention_mask": tokens * 0 + 1, **more}


def ones(*shape: int) -> Any:
    return require("torch", "models").ones(shape)


def test_tokens_are_padded_on_the_left() -> None:
    batch = collate([row(5, 6, 7), row(8)], pad_id=9)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [9, 9, 8]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]


def test_row_without_kinds_of_tokens_has_only_text() -> None:
    kinds = require("torch", "models").tensor([[0, 1]])
    batch = collate([row(5), row(6, 7, mm_token_type_ids=kinds)], pad_id=0)
    assert batch["mm_token_type_ids"].tolist() == [[0, 0], [0, 1]]


def test_pictures_follow_each_other_and_rows_without_have_none() -> None:
    seen = [row(1, patches=ones(4, 3), seconds=[2.0]), row(2), row(3, patches=2 * ones(2, 3), seconds=[5.0])]
    batch = collate(seen, pad_id=0)
    assert batch["patches"][:, 0].tolist() == [1, 1, 1, 1, 2, 2]
    assert batch["seconds"].tolist() == [2.0, 5.0]


def test_pictures_with_a_mask_are_filled_up_with_nothing() -> None:
    few, many = ones(1, 1, 3, 2, 2), ones(1, 2, 3, 2, 4)
    batch = collate(
        [
            row(1, pixel_values=few, pixel_attention_mask=ones(1, 1, 2, 2)),
            row(2, pixel_values=many, pixel_attention_mask=ones(1, 2, 2, 4)),
        ],
        pad_id=0,
    )
    assert batch["pixel_values"].shape == (2, 2, 3, 2, 4)
    assert batch["pixel_values"].sum(dim=(1, 2, 3, 4)).tolist() == [few.sum(), many.sum()]
    assert batch["pixel_attention_mask"].sum(dim=(1, 2, 3)).tolist() == [4, 16]


def test_pictures_of_other_shapes_without_a_mask_stay_apart() -> None:
    with pytest.raises(UnlikeError, match="shapes"):
        collate([row(1, pixel_values=ones(1, 3, 2, 2)), row(2, pixel_values=ones(1, 3, 4, 4))], pad_id=0)


def test_single_row_is_left_as_it_is() -> None:
    alone = row(1, 2, anything=object())
    assert collate([alone], pad_id=0) == alone
