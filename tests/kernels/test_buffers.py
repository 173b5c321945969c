"""A run of entries that grows on the right and shrinks on the left."""

from __future__ import annotations

import torch

from fdvs.kernels.methods.buffers import SPARE, EntryBuffer, entries_before, no_entries, tokens_from
from fdvs.kernels.plans import NEVER, Entries
from tests.kernels.inputs import qkv


def test_a_buffer_holds_what_was_appended_less_what_was_dropped() -> None:
    length = 3 * SPARE
    _, k, v = qkv(2, 2, 2, length, length, 4)
    buffer = EntryBuffer(tokens_from(k[:, :, :5], v[:, :, :5], 2))
    begin = 2
    for step in range(5, length):
        buffer.append(tokens_from(k[:, :, step : step + 1], v[:, :, step : step + 1], 0, first_position=step))
        if step % 4 == 0:
            buffer.drop_first(3)
            begin += 3
        held = buffer.entries()
        assert len(buffer) == held.num_entries == step + 1 - begin
        assert held.last[1, 1].tolist() == list(range(begin, step + 1))
    assert torch.equal(held.k, k[:, :, begin:])
    assert torch.equal(held.v, v[:, :, begin:])
    assert torch.equal(buffer.first(2).v, v[:, :, begin : begin + 2])


def test_a_buffer_lets_the_prompt_go_and_does_not_grow_with_what_was_dropped() -> None:
    _, k, v = qkv(1, 1, 1, 9, 9, 4)
    buffer = EntryBuffer(tokens_from(k, v, 7))
    room = buffer.entries().k.untyped_storage()
    assert room.data_ptr() != k.untyped_storage().data_ptr()
    for _ in range(20 * SPARE):
        buffer.append(tokens_from(k[:, :, :1], v[:, :, :1], 0))
        buffer.drop_first(1)
    assert buffer.entries().k.untyped_storage().nbytes() <= room.nbytes() * 2


def test_biases_go_along() -> None:
    _, k, v = qkv(1, 1, 1, 3, 3, 4)
    buffer = EntryBuffer(no_entries(k, v, has_bias=True))
    for value in range(2 * SPARE):
        one = tokens_from(k[:, :, :1], v[:, :, :1], 0)
        buffer.append(Entries(one.k, one.v, one.last, torch.full((1, 1, 1), float(value))))
    held = buffer.entries()
    assert held.bias is not None
    assert held.bias[0, 0].tolist() == [float(value) for value in range(2 * SPARE)]


def test_entries_before_a_position_leave_padding_where_a_head_has_fewer() -> None:
    _, k, v = qkv(1, 2, 2, 4, 4, 4)
    last = torch.tensor([[[1, 3, 7, 9], [4, 8, NEVER, NEVER]]])
    kept = entries_before(Entries(k, v, last), 8)
    assert kept.last.tolist() == [[[1, 3, 7], [4, NEVER, NEVER]]]
    assert entries_before(Entries(k, v, last), 0).num_entries == 0
