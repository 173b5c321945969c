"""What a vLLM is asked to do about attention: one JSON text in its environment, which its processes inherit.

A vLLM whose environment does not have it is left alone.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from fdvs.errors import InputError
from fdvs.kernels.choice import AttentionChoice, choice_from

VARIABLE = "FDVS_ATTENTION"

DecodeRule = Literal["dense", "reduced"]
"""What a step that writes one token attends to: everything, by vLLM's own kernel over its cache; or what the method
keeps, of which each layer then holds a copy beside that cache."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Attention that vLLM is asked for.

    Attributes:
        choice: the method and where it applies.
        decode: see `DecodeRule`.
        report: folder into which each process writes what it did, or None.
        ops: back end of the mathematics by name, `auto` for what suits the device.
    """

    choice: AttentionChoice
    decode: DecodeRule = "dense"
    report: Path | None = None
    ops: str = "auto"

    def to_json(self) -> str:
        return json.dumps(
            {
                "choice": json.loads(self.choice.to_json()),
                "decode": self.decode,
                "report": None if self.report is None else str(self.report),
                "ops": self.ops,
            },
            separators=(",", ":"),
        )


def asked_in(text: str) -> Asked:
    """Inverse of `Asked.to_json`. A bare name of a method, `tca`, is one with its defaults.

    Raises:
        InputError: the text says nothing that can be done; also for an unknown method.
    """
    if not text.lstrip().startswith("{"):
        return Asked(AttentionChoice(text.strip()))
    try:
        data = json.loads(text)
        choice, decode, report = choice_from(data["choice"]), data.get("decode", "dense"), data.get("report")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{VARIABLE} cannot be understood: {type(error).__name__}: {error}") from error
    if decode not in get_args(DecodeRule):
        raise InputError(f"decode is one of {', '.join(get_args(DecodeRule))}, got {decode!r}")
    return Asked(choice, decode, Path(report) if report else None, str(data.get("ops", "auto")))


def asked_here() -> Asked | None:
    """What this process is asked for, or None: nothing."""
    text = os.environ.get(VARIABLE, "")
    return asked_in(text) if text.strip() else None
