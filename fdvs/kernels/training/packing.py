"""Texts as sequences of one length: documents one after the other, cut wherever a sequence is full."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from fdvs.errors import InputError


def read_texts(path: Path) -> Iterator[str]:
    """The documents of a file: the `text` of each row of a `.jsonl`, or a `.txt` as one document.

    Raises:
        InputError: the file is neither, cannot be read, or a row has no text; the message names the row.
    """
    if path.suffix not in {".jsonl", ".txt"}:
        raise InputError(f"{path.name}: training reads .jsonl with a field 'text', or .txt")
    try:
        if path.suffix == ".txt":
            yield path.read_text(encoding="utf-8")
            return
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _text_of(line, f"{path.name}, row {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from error


def _text_of(line: str, where: str) -> str:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where}: no JSON ({error})") from error
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise InputError(f"{where}: no field 'text' with a text in it")
    return text


def pack(
    texts: Iterable[str], encode: Callable[[str], Sequence[int]], end: int | None, length: int, *, most: int
) -> Tensor:
    """`[N, length]` int64 token ids, N at most `most`. What is left at the end and fills no sequence is dropped.

    Args:
        encode: from text to token ids, without special tokens.
        end: the token that is put after each document, or None for none.
        most: reads no further once so many sequences are full.

    Raises:
        InputError: the texts do not fill one sequence.
    """
    if length < 2:
        raise InputError(f"a sequence needs at least two tokens to learn from, got {length}")
    ids: list[int] = []
    for text in texts:
        ids.extend(encode(text))
        if end is not None:
            ids.append(end)
        if len(ids) >= most * length:
            break
    count = min(most, len(ids) // length)
    if count < 1:
        raise InputError(f"the texts have {len(ids)} tokens; one sequence needs {length}")
    return torch.tensor(ids[: count * length]).view(count, length)


def order_of(number: int, *, total: int, seed: int) -> int:
    """Which of `total` sequences comes as the `number`-th: every one once, shuffled, then all again in another order.

    It depends on nothing but its arguments, so that a run that is resumed sees what it would have seen.
    """
    round_, place = divmod(number, total)
    shuffled = torch.randperm(total, generator=torch.Generator().manual_seed(seed * 1_000_003 + round_))
    return int(shuffled[place])
