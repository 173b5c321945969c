"""What is tried again, and when."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from fdvs.chat.retries import FIRST_S, MAX_ASKED_S, MAX_S, asked_s, delay_s, may_pass


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_full_and_broken_servers_are_asked_again(status: int) -> None:
    assert may_pass(status)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422, 501])
def test_wrong_requests_are_not(status: int) -> None:
    assert not may_pass(status)


def test_a_spent_budget_does_not_come_back_by_waiting() -> None:
    assert not may_pass(429, "insufficient_quota")
    assert may_pass(429, "rate_limit_exceeded")


def test_waits_are_spread_over_a_bound_that_doubles() -> None:
    chance = random.Random(7)
    for retry in range(12):
        bound = min(MAX_S, FIRST_S * 2**retry)
        waits = [delay_s(retry, None, chance) for _ in range(200)]
        assert 0 <= min(waits) < 0.1 * bound
        assert 0.9 * bound < max(waits) <= bound


def test_a_server_that_asks_for_time_gets_it_up_to_a_bound() -> None:
    chance = random.Random(7)
    assert 5 <= delay_s(0, 5.0, chance) <= 6
    assert MAX_ASKED_S <= delay_s(3, 86_400.0, chance) <= MAX_ASKED_S + 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "Sat, 28 Nov 2026 10:00:30 GMT"}, 30.0),
        ({"retry-after": "Sat, 28 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_s(headers, datetime(2026, 11, 28, 10, 0, 0, tzinfo=UTC)) == seconds
