"""What our attention did in a vLLM, as one small file for each of its processes, and how others read that.

vLLM carries on with its own attention where a plug-in was not loaded or its backend was not chosen, and says so in a
log at most. So whoever asked for sparse attention looks here before saying that it runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fdvs.errors import BackendUnavailableError
from fdvs.kernels.choice import AttentionChoice
from fdvs.kernels.plugs.vllm.asked import Asked

WRITE_EVERY_S = 0.5
NEWS_EVERY_S = 0.02
ATTEMPTS = 3
_SOME_TOKENS = 64
_MEASURED_CALLS = 256


@dataclass(slots=True)
class Counts:
    """What one process did since it started. A call is one layer's attention to one prompt.

    Attributes:
        planned_prompts, planned_tokens: prompts whose attention a method planned, and their tokens.
        planned_calls: the same, once for each layer.
        pairs, dense_pairs: query–key pairs computed, and those of causal attention, over the calls that were measured:
            the first ones. To count costs time.
        reduced_steps: tokens written from a reduced copy of the cache.
        dense: what was attended to in full, by reason: `short` prompts, `continued` ones that come in parts, steps
            that `write` a token, `other`.
        layers: names of the layers that planned something.
        unserved: layers that always attend in full, with the reason.
    """

    planned_prompts: int = 0
    planned_tokens: int = 0
    planned_calls: int = 0
    measured_calls: int = 0
    pairs: int = 0
    dense_pairs: int = 0
    reduced_steps: int = 0
    dense: dict[str, int] = field(default_factory=dict)
    layers: set[str] = field(default_factory=set)
    unserved: dict[str, str] = field(default_factory=dict)

    def count_dense(self, reason: str) -> None:
        self.dense[reason] = self.dense.get(reason, 0) + 1

    @property
    def prompts_seen(self) -> int:
        """Grows with each prompt, planned (layer by layer) or not."""
        return self.planned_calls + sum(number for reason, number in self.dense.items() if reason != "write")

    @property
    def is_measuring(self) -> bool:
        return self.measured_calls < _MEASURED_CALLS

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "layers": sorted(self.layers)}


@dataclass(slots=True)
class Report:
    """The file of this process in `folder`, written as a whole so that no reader finds half of it."""

    folder: Path
    written_at: float = 0.0

    def write(self, content: Mapping[str, Any]) -> None:
        path = self.folder / f"attention-{os.getpid()}.json"
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"pid": os.getpid(), **content}), encoding="utf-8")
        part.replace(path)
        self.written_at = time.monotonic()

    def is_due(self, *, has_news: bool) -> bool:
        return time.monotonic() - self.written_at >= (NEWS_EVERY_S if has_news else WRITE_EVERY_S)


@dataclass(frozen=True, slots=True)
class Seen:
    """The reports of all processes of one vLLM, together.

    Attributes:
        stages: what each process has come to: `registered` (the plug-in was loaded), `built` (vLLM made our attention
            its own), `refused`.
        refusals: why our attention cannot run with this vLLM's settings.
        planned_prompts, planned_tokens, planned_calls: see `Counts`; a prompt counts once for each process that has
            a part of the model.
        layers, unserved, dense: see `Counts`.
        kept_share: pairs computed over those of causal attention; None where nothing was measured.
    """

    stages: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    planned_prompts: int = 0
    planned_tokens: int = 0
    planned_calls: int = 0
    layers: frozenset[str] = frozenset()
    unserved: tuple[str, ...] = ()
    kept_share: float | None = None
    dense: tuple[tuple[str, int], ...] = ()

    def what_is_wrong(self) -> str:
        """Why nothing was planned, in words."""
        if self.refusals:
            return self.refusals[0]
        if "built" in self.stages:
            return f"our attention is there, and planned nothing; attended to in full: {self._dense() or 'nothing'}"
        if "registered" in self.stages:
            return "the plug-in was loaded, and vLLM chose another attention backend"
        return (
            "vLLM did not load the plug-in fdvs_attention: VLLM_PLUGINS leaves it out, or fdvs is not installed in the "
            "Python that runs vLLM"
        )

    def total(self) -> str:
        """For people: what was planned, and what was not."""
        dense = self._dense()
        planned = f"{self.planned_prompts} prompts planned, {self.planned_tokens} tokens"
        return f"{planned}; attended to in full: {dense}" if dense else planned

    def _dense(self) -> str:
        return ", ".join(f"{number} × {reason}" for reason, number in self.dense)

    def told(self) -> str:
        """For people: in how many layers, and what is left of the work."""
        layers = len(self.layers) + len(self.unserved)
        share = "" if self.kept_share is None else f", {self.kept_share:.0%} of all pairs computed"
        return f"{len(self.layers)} of {layers} layers{share}"


def length_of_proof(choice: AttentionChoice) -> int:
    """Tokens of the prompt that shows whether a method plans: a few more than those it leaves alone."""
    return max(choice.dense_below, 2) + _SOME_TOKENS


def proven(asked: Asked, attend: Callable[[int], object]) -> str:
    """Has one prompt of ours attended to, and sees in the reports that a method planned it.

    Args:
        asked: what vLLM was asked for; it reports into `asked.report`.
        attend: lets vLLM read a prompt of so many tokens and write a few.

    Returns:
        For people: in how many layers, and what is left of the work.

    Raises:
        BackendUnavailableError: no method planned it; the message says why.
    """
    assert asked.report is not None, "without reports nothing can be proven"
    before, length = read_reports(asked.report), length_of_proof(asked.choice)
    for _ in range(ATTEMPTS):
        attend(length)
        seen = read_reports(asked.report)
        if seen.planned_calls > before.planned_calls:
            return f"{asked.choice.words()} attends in {seen.told()} for a prompt of {length} tokens"
        time.sleep(1.2 * WRITE_EVERY_S)  # the reports are not written at every step
    raise BackendUnavailableError(
        f"asked for attention {asked.choice.words()}, and it does not run: {seen.what_is_wrong()}"
    )


@contextlib.contextmanager
def reported(asked: Asked) -> Iterator[Asked]:
    """The same, told to report into a folder that is there for the block and that its owner alone can read.

    What cannot run says why in its report, and fails elsewhere, in other words: an error that leaves the block begins
    with the reason.
    """
    with tempfile.TemporaryDirectory(prefix="fdvs-attention-", ignore_cleanup_errors=True) as folder:
        try:
            yield replace(asked, report=Path(folder))
        except Exception as error:
            refusals = read_reports(Path(folder)).refusals
            if not refusals or str(error).startswith(refusals[0]):
                raise
            raise BackendUnavailableError(f"{refusals[0]}\n{error}") from error


def read_reports(folder: Path) -> Seen:
    """What the processes that were told to report into `folder` have done so far."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("attention-*.json"))]
    counts = [one["counts"] for one in found if "counts" in one]
    dense: dict[str, int] = {}
    for one in counts:
        for reason, number in one["dense"].items():
            dense[reason] = dense.get(reason, 0) + number
    all_pairs = sum(one["dense_pairs"] for one in counts)
    return Seen(
        stages=tuple(one["stage"] for one in found),
        refusals=tuple(one["refusal"] for one in found if "refusal" in one),
        planned_prompts=sum(one["planned_prompts"] for one in counts),
        planned_tokens=sum(one["planned_tokens"] for one in counts),
        planned_calls=sum(one["planned_calls"] for one in counts),
        layers=frozenset(name for one in counts for name in one["layers"]),
        unserved=tuple(sorted({name for one in counts for name in one["unserved"]})),
        kept_share=sum(one["pairs"] for one in counts) / all_pairs if all_pairs else None,
        dense=tuple(sorted(dense.items())),
    )
