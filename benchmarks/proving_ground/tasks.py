"""Three tasks that need tokens from far away: recall of values by key, several needles of one key, and a copy.

Every sequence is filler, what has to be found, and questions at its end. All come from a seed: the same seed gives the
same sequences on every machine. `solve` answers them by reading, without a model: it is what the tests compare with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

BEGIN, ASK, COPY = 0, 1, 2
"""The token every sequence begins with, the one before each question, and the one before a text to copy."""
NUM_FILLERS, NUM_KEYS, NUM_VALUES = 60, 128, 64
FIRST_FILLER = 4
FIRST_KEY = FIRST_FILLER + NUM_FILLERS
FIRST_VALUE = FIRST_KEY + NUM_KEYS
VOCABULARY = FIRST_VALUE + NUM_VALUES
NO_ANSWER = -1


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences of one length, asked at the same places.

    Attributes:
        tokens: `[B, T]` int64.
        places: `[A]` int64, the places whose next token is an answer, ascending.
        answers: `[B, A, N]` int64, the right answers of each place, without order; one for most tasks.
        context: tokens before the first question's mark; what a cache holds before it is asked anything.
    """

    tokens: Tensor
    places: Tensor
    answers: Tensor
    context: int


def recall(length: int, size: int, generator: torch.Generator, *, questions: int = 16, share: float = 0.125) -> Batch:
    """Pairs of key and value among filler, each key once; then questions, each followed by its answer.

    Args:
        share: tokens of pairs over all tokens of the context.
    """
    tail = 3 * questions
    context = length - tail
    pairs = max(questions, min(NUM_KEYS, round(context * share / 2)))
    keys = _choose(NUM_KEYS, pairs, size, generator) + FIRST_KEY
    values = torch.randint(NUM_VALUES, (size, pairs), generator=generator) + FIRST_VALUE
    tokens = _with_units(torch.stack([keys, values], dim=-1), context, generator)
    asked = _choose(pairs, questions, size, generator)
    key, value = keys.gather(1, asked), values.gather(1, asked)
    asking = torch.stack([torch.full_like(key, ASK), key, value], dim=-1).flatten(1)
    places = context + 3 * torch.arange(questions) + 1
    return Batch(torch.cat([tokens, asking], dim=1), places, value[..., None], context)


def needles(length: int, size: int, generator: torch.Generator, *, questions: int = 4, each: int = 3) -> Batch:
    """Keys that occur several times, each time with another value; a question is answered by all of them."""
    tail = 2 * questions
    context = length - tail
    num_keys = max(questions, min(NUM_KEYS, round(context * 0.125 / 2 / each)))
    keys = _choose(NUM_KEYS, num_keys, size, generator) + FIRST_KEY
    values = _choose(NUM_VALUES, each, size * num_keys, generator).view(size, num_keys, each) + FIRST_VALUE
    units = torch.stack([keys[..., None].expand_as(values), values], dim=-1).flatten(1, 2)
    order = _choose(units.shape[1], units.shape[1], size, generator)
    tokens = _with_units(units.gather(1, order[..., None].expand(-1, -1, 2)), context, generator)
    asked = _choose(num_keys, questions, size, generator)
    key = keys.gather(1, asked)
    asking = torch.stack([torch.full_like(key, ASK), key], dim=-1).flatten(1)
    places = context + 2 * torch.arange(questions) + 1
    answers = values.gather(1, asked[..., None].expand(-1, -1, each))
    return Batch(torch.cat([tokens, asking], dim=1), places, answers, context)


def copy(length: int, size: int, generator: torch.Generator, *, tokens_to_copy: int = 32) -> Batch:
    """A text of different tokens after a mark, somewhere in filler; at the end the mark again, and the same text."""
    context = length - 1 - tokens_to_copy
    text = _choose(NUM_KEYS + NUM_VALUES, tokens_to_copy, size, generator) + FIRST_KEY
    marked = torch.cat([torch.full((size, 1), COPY), text], dim=1)
    tokens = _with_units(marked[:, None], context, generator)
    places = context + torch.arange(tokens_to_copy)
    return Batch(torch.cat([tokens, marked], dim=1), places, text[..., None], context)


TASKS: dict[str, Callable[..., Batch]] = {"recall": recall, "needles": needles, "copy": copy}


def make(task: str, length: int, size: int, seed: int) -> Batch:
    """`size` sequences of a task for a test, the same for the same seed; they end with the last question.

    What follows the last question is cut off, so that the last query of all is one that asks: methods that listen to
    it are told the truth. A sequence has `length` tokens or one fewer.
    """
    batch = TASKS[task](length, size, torch.Generator().manual_seed(seed))
    return replace(batch, tokens=batch.tokens[:, : int(batch.places[-1]) + 1])


def solve(batch: Batch) -> Tensor:
    """`[B, A, N]`: the answers, read off the contexts by rule, each place's sorted; `NO_ANSWER` where one is missing.

    A token's answers are the tokens that follow its earlier occurrences. That is the whole trick of all three tasks.
    """
    found = torch.full_like(batch.answers, NO_ANSWER)
    for row, tokens in enumerate(batch.tokens):
        for index, place in enumerate(batch.places.tolist()):
            earlier = (tokens[: batch.context] == tokens[place]).nonzero()[:, 0]
            after = tokens[earlier + 1].unique()
            found[row, index, : len(after)] = after[: found.shape[2]]
    return found.sort(-1).values


def _choose(total: int, count: int, size: int, generator: torch.Generator) -> Tensor:
    """`[size, count]`: different numbers below `total` in each row, in random order."""
    return torch.rand(size, total, generator=generator).argsort(dim=1)[:, :count]


def _with_units(units: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """`[B, length]`: the units `[B, U, S]` at random places that do not overlap, filler around them, `BEGIN` first."""
    size, count, width = units.shape
    free = length - 1 - count * width
    assert free >= 0, f"{count} units of {width} tokens do not fit into {length}"
    gaps = torch.rand(size, free + count, generator=generator).argsort(dim=1)[:, :count].sort(dim=1).values
    starts = 1 + gaps + torch.arange(count) * (width - 1)  # the n-th unit is moved by what n earlier ones take
    tokens = torch.randint(NUM_FILLERS, (size, length), generator=generator) + FIRST_FILLER
    tokens[:, 0] = BEGIN
    where = (starts[..., None] + torch.arange(width)).flatten(1)
    return tokens.scatter(1, where, units.flatten(1))
