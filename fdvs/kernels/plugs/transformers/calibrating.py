"""Budgets of a model on this machine: a sample, one dense forward pass, and what each head needs of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any, Literal

from fdvs.chat.base import ChatRequest, Frames
from fdvs.chat.generation import placed
from fdvs.chat.registry import Serving, open_chat
from fdvs.errors import InputError, UsageError
from fdvs.kernels.choice import SINKS
from fdvs.kernels.methods.base import Prompt
from fdvs.kernels.methods.budgets import Budgets
from fdvs.kernels.methods.calibration import Measurement, calibrate
from fdvs.kernels.methods.selection import Selection
from fdvs.kernels.plugs.transformers.capture import capture

SYSTEM = "You answer questions about what you are given."
TOKENS_OF_A_LINE = 10
"""Of the log, at least."""

QUESTION = "What happens, in order? Name the times."


@dataclass(frozen=True, slots=True)
class Sample:
    """What budgets are measured on.

    Attributes:
        text: a file whose text is read to the model; None with no film either: a log made of names of our own.
        film: a video whose frames are shown to it.
        num_tokens: length of a text. A longer one is cut; one of a file may be shorter.
        num_frames, short_side: frames of a film, evenly spread, and their size in pixels.
    """

    text: Path | None = None
    film: Path | None = None
    num_tokens: int = 16384
    num_frames: int = 64
    short_side: int = 448

    def __post_init__(self) -> None:
        if self.text is not None and self.film is not None:
            raise UsageError("a sample is a text or a film, not both")
        if min(self.num_tokens, self.num_frames, self.short_side) < 1:
            raise UsageError("tokens, frames and pixels of a sample are at least 1")

    @property
    def kind(self) -> Literal["log", "text", "film"]:
        return "film" if self.film is not None else "log" if self.text is None else "text"


def calibrate_model(
    model: str,
    sample: Sample | None = None,
    *,
    target: float = 0.9,
    window: int = 4096,
    selection: Selection | None = None,
    measurement: Measurement | None = None,
    sinks: int = SINKS,
) -> Budgets:
    """Budgets of each layer and KV head of a model on this machine.

    Args:
        model: a folder, or the name of a model in the local cache.
        sample: one is enough, as published. Default: the log.
        target, window, selection, measurement: as for `calibrate`.
        sinks: first tokens that are kept whatever the budget; text of a film's prompt is, too.

    Raises:
        BackendUnavailableError: the model is not here, or none of its layers could use budgets.
        InputError: the sample is too long for the model, lies within the window, or cannot be read.
    """
    sample = sample or Sample()
    chat: Any = open_chat("transformers", model, "", Serving(requests=1))
    try:
        inputs = _inputs(chat, sample)
        found: list[Budgets] = []

        def measure(prompt: Prompt) -> None:
            found.append(
                calibrate(
                    [prompt],
                    target=target,
                    window=window,
                    selection=selection,
                    measurement=measurement,
                    model=chat.model,
                )
            )

        capture(chat.network, inputs, measure, sinks=sinks)
    finally:
        chat.close()
    heads = {layer: budgets for one in found for layer, budgets in one.heads.items()}
    return replace(found[0], heads=heads, settings={**found[0].settings, "sample": sample.kind, "sinks": sinks})


def _inputs(chat: Any, sample: Sample) -> dict[str, Any]:
    part = _frames(sample) if sample.film is not None else _text(chat.tokenizer, sample)
    request = ChatRequest(SYSTEM, (part, QUESTION), max_tokens=1)
    try:
        prepared = chat.prepared(request).inputs
    except ValueError as error:
        raise InputError(str(error)) from error
    return {name: placed(value, chat.network) for name, value in prepared.items()}


def _text(tokenizer: Any, sample: Sample) -> str:
    text = _log(sample.num_tokens) if sample.text is None else _read(sample.text)
    shown: str = tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"][: sample.num_tokens])
    return shown


def _log(num_tokens: int) -> str:
    """Enough of the log: no tokenizer makes fewer tokens of a line than it has numbers and marks."""
    return "".join(islice(log_lines(), num_tokens // TOKENS_OF_A_LINE + 1))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8: {error}") from error


def log_lines() -> Iterator[str]:
    """A log of what a camera saw: names of our own vocabulary in an order that does not repeat for long."""
    from fdvs.captioners.vocabulary import vocabulary

    places, objects, actions, light = (vocabulary(kind).names for kind in ("places", "objects", "actions", "light"))
    for number in count():
        minute, second = divmod(7 * number, 60)
        place, thing = places[number * 31 % len(places)], objects[number * 37 % len(objects)]
        yield (
            f"At {minute}:{second:02} the camera is at {place}, {light[number * 5 % len(light)]}. Somebody is "
            f"{actions[number * 41 % len(actions)]}; {thing} can be seen, and its label reads {number * 7919 % 9973}.\n"
        )


def _frames(sample: Sample) -> Frames:
    """Frames of the film, as a captioner's model gets them."""
    from fdvs.media.clips import plan_at
    from fdvs.media.frame import Frame
    from fdvs.media.jpeg import JpegEncoder
    from fdvs.media.probe import probe
    from fdvs.media.reader import read_clips
    from fdvs.records import TimedPicture
    from fdvs.settings import LimitSettings

    assert sample.film is not None
    _, index = probe(sample.film, LimitSettings())
    times = [index.duration_ms * number // sample.num_frames for number in range(sample.num_frames)]
    encoder = JpegEncoder()

    def small(frame: Frame) -> bytes:
        return encoder.encode_frame(frame, min(sample.short_side, frame.width, frame.height))

    read = read_clips(sample.film, index, [plan_at(index, times)], small)
    pictures = tuple(TimedPicture(time_ms, jpeg) for clip in read for time_ms, _, jpeg in clip.frames)
    if not pictures:
        raise InputError(f"no picture of {sample.film} could be decoded")
    return Frames(pictures)
