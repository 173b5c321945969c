"""Questions answered from the stories alone: with what is told there, cited with times that are there.

The built-in reader has no language model (`builtin_reader.py`); a `ModelReader` has one (`model_reader.py`). Both
abstain where the stories do not support an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fdvs.errors import InputError, UsageError
from fdvs.records import Answer
from fdvs.retrieval.builtin_reader import BuiltinReading
from fdvs.retrieval.pool import check_query
from fdvs.store.library import Store

if TYPE_CHECKING:
    from fdvs.encoders.text import TextEncoder
    from fdvs.retrieval.model_reader import ModelReader


def ask(
    store: Store,
    encoder: TextEncoder,
    question: str,
    *,
    video_id: str | None = None,
    options: Sequence[str] = (),
    k: int = 5,
    reader: ModelReader | None = None,
) -> Answer:
    """Answer a question from the stories of a library.

    Args:
        encoder: the text encoder the library was built with.
        video_id: ask about this video only.
        options: two or more: choose one of them. Without a single caption the reader abstains, and the options are
            equally likely.
        k: at most so many citations.
        reader: who answers; None: the built-in reader.

    Returns:
        The answer; its text is None exactly when it abstained. Every citation was checked against the library.

    Raises:
        InputError: the question is empty, k < 1, or there is one option or an empty one.
        NotFoundError: there is no such video.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    if options and (len(options) < 2 or not all(option.strip() for option in options)):
        raise UsageError("multiple choice needs two or more options, none of them empty")
    asked = check_query(question)
    with store.reading():
        if video_id is None and len(videos := store.video_names()) == 1:
            video_id = next(iter(videos))
        if reader is None:
            reading = BuiltinReading(store, encoder, asked, video_id, k)
            return reading.choose(list(options)) if options else reading.answer()
    from fdvs.retrieval.model_evidence import Asked

    return reader.read(Asked(store, encoder, asked, video_id, tuple(options)), k)
