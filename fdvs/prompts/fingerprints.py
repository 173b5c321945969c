"""What a prompt's text is known by: another wording, other captions and stories."""

from __future__ import annotations

from fdvs.records import content_id


def fingerprint_of(*texts: str) -> str:
    """Equal for equal prompt texts, on any machine."""
    return content_id("prompt", *texts)
