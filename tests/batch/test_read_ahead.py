"""What is read ahead is what would have been read, and nothing goes on when nobody reads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from fdvs.batch.read_ahead import AHEAD, read_ahead


class Source:
    """Counts up to `end` and then raises; notes what it made, and where it was closed."""

    def __init__(self, end: int) -> None:
        self.end, self.made, self.closed_in = end, 0, ""

    def items(self) -> Iterator[int]:
        try:
            for number in range(self.end):
                self.made += 1
                yield number
            raise ValueError("damaged")
        finally:
            self.closed_in = threading.current_thread().name


def test_items_come_in_order_and_then_what_was_raised() -> None:
    reading = read_ahead(Source(50).items())
    assert [next(reading) for _ in range(50)] == list(range(50))
    with pytest.raises(ValueError, match="damaged"):
        next(reading)
    assert list(read_ahead([])) == []


def test_a_reader_that_stops_leaves_no_thread_and_a_closed_source() -> None:
    source = Source(1000)
    reading = read_ahead(source.items())
    assert [next(reading), next(reading)] == [0, 1]
    reading.close()  # type: ignore[attr-defined]
    assert source.made <= 2 + AHEAD + 2
    assert source.closed_in == "fdvs-read-ahead"
    assert "fdvs-read-ahead" not in {thread.name for thread in threading.enumerate()}
