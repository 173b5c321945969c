"""The four phrases that say in which quarter of the video something begins (papers: FDVS section 5)."""

from __future__ import annotations

_PHRASES = ("To begin with", "Early on", "Later on", "Towards the end")


def phase_phrase(start_ms: int, duration_ms: int) -> str:
    """The phrase for what starts at `start_ms`; a quarter begins with its first instant.

    Args:
        start_ms: 0 <= start_ms < duration_ms.
        duration_ms: of the video, at least 1.
    """
    return _PHRASES[min(3, 4 * start_ms // duration_ms)]
