"""Which failures may pass by themselves, and how long to wait before asking again."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_S, MAX_S = 0.5, 30.0
"""The longest wait before the first retry, doubled with each, and its bound."""

MAX_ASKED_S = 90.0
"""A server may ask for a longer wait than ours, up to this."""

_STATUSES = frozenset({408, 409, 425, 429})
_FINAL_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})  # come as 429, and stay


def may_pass(status: int, code: str = "") -> bool:
    """True when the same request may succeed later: a full or broken server, not a wrong request."""
    return (status in _STATUSES or 500 <= status <= 599) and status != 501 and code not in _FINAL_CODES


def delay_s(retry: int, asked_s: float | None, chance: random.Random) -> float:
    """Seconds to wait before retry number `retry` (from 0): anything up to a bound that doubles, so that clients that
    failed together do not come back together; on top of what the server asks for."""
    wait = chance.uniform(0.0, min(MAX_S, FIRST_S * 2.0 ** min(retry, 30)))
    return wait if asked_s is None else min(asked_s, MAX_ASKED_S) + min(wait, 1.0)


def asked_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """What `Retry-After` asks for, in seconds from now; None where there is none that can be understood."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        return None if math.isnan(seconds) else max(seconds, 0.0)
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max((until - (now or datetime.now(UTC))).total_seconds(), 0.0)
