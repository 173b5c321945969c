"""Which sparse attention somebody asked for, as words on a command line, in settings and between processes.

Nothing here needs torch: whoever only passes a choice on loads no tensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fdvs.errors import UnknownBackendError, UsageError
from fdvs.kernels.names import METHODS

DENSE_BELOW = 8192
"""Prompts of fewer tokens are computed as they always were. Our choice, and no measured one: published figures of
sparse prefill on GPUs begin to pay between 4K and 32K tokens. Where the border lies on a machine is for
`fdvs kernels bench` to say."""

SINKS = 4
"""First tokens that are always seen as they are. Our choice; the papers name no number for these methods."""

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class AttentionChoice:
    """A method with its settings, and where it applies.

    Attributes:
        method: a name of `fdvs.kernels.names.METHODS`.
        settings: of the method, by name, in place of its defaults; sorted by name.
        dense_below: prompts of fewer tokens are attended to in full.
        sinks: first tokens that stay exact.
    """

    method: str
    settings: tuple[tuple[str, Value], ...] = ()
    dense_below: int = DENSE_BELOW
    sinks: int = SINKS

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UnknownBackendError("attention method", self.method, sorted(METHODS))
        if self.dense_below < 0 or self.sinks < 0:
            raise UsageError(f"dense_below and sinks are at least 0, got {self.dense_below} and {self.sinks}")

    def fingerprint(self) -> str:
        """16 hex digits: two choices that may give different replies have different ones."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def words(self) -> str:
        """For people: `tca (window=1024)`."""
        told = ", ".join(f"{name}={value}" for name, value in self.settings)
        return f"{self.method} ({told})" if told else self.method

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


def choice_of(method: str, assignments: Iterable[str] = ()) -> AttentionChoice:
    """A choice from words: `tca` and `window=1024`, `dense_below=0`. Values are read as JSON where they are JSON.

    Raises:
        UnknownBackendError: there is no such method; the message lists those there are.
        UsageError: an assignment is none, or names something twice.
    """
    given: dict[str, Any] = {}
    for text in assignments:
        name, sign, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not sign or not name:
            raise UsageError(f"a setting of attention is NAME=VALUE, got {text!r}")
        if name in given:
            raise UsageError(f"attention setting {name} is given twice")
        given[name] = _value(value.strip())
    return choice_from({"method": method, **_own(given), "settings": given})


def choice_from(data: Mapping[str, Any]) -> AttentionChoice:
    """Inverse of `AttentionChoice.to_json`, over what that text says."""
    known = {"method", "settings", "dense_below", "sinks"}
    if unknown := sorted(data.keys() - known):
        raise UsageError(f"unknown in a choice of attention: {', '.join(unknown)}")
    own = {name: data[name] for name in ("dense_below", "sinks") if name in data}
    if wrong := [name for name, value in own.items() if not isinstance(value, int) or isinstance(value, bool)]:
        raise UsageError(f"{wrong[0]} is a whole number, got {own[wrong[0]]!r}")
    return AttentionChoice(str(data["method"]), tuple(sorted(dict(data.get("settings", ())).items())), **own)


def _own(given: dict[str, Any]) -> dict[str, Any]:
    """Takes out of `given` what is no method's own."""
    return {name: given.pop(name) for name in ("dense_below", "sinks") if name in given}


def _value(text: str) -> Value:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str | int | float | bool) else text
