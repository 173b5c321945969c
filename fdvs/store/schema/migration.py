"""What a step of the schema is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema. `statements` run in order; none of them may begin or end a transaction."""

    number: int
    name: str
    statements: tuple[str, ...]
