"""Objects in frames by GroundingDINO through transformers (papers: FDVS section 4; extra `models`).

The detector reads at most 256 tokens of text and would silently cut what is beyond. The names are therefore asked for
in chunks that were measured with the model's own tokenizer, and what the chunks find is merged. A label is always one
of the names, never text that the model puts together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from fdvs.captioners.perception import Seen, decoded
from fdvs.captioners.regions import Box, overlap, region, size
from fdvs.captioners.vocabulary import bare_names
from fdvs.encoders._local_models import device, loading, pretrained, require, tokenizer_of
from fdvs.errors import InputError, UsageError
from fdvs.models.table import default_for
from fdvs.records import CaptionKind, TimedPicture, clock

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_MODEL = default_for("objects", "paper").name
RULE_VERSION = 1  # of how its findings become words; another number, other captions
FAMILIES = ("grounding-dino", "mm-grounding-dino")
BOX_THRESHOLD, TEXT_THRESHOLD = 0.4, 0.25  # of a box's best token; of the best token of the name that it gets
SAME_OVERLAP = 0.7  # boxes that share more are one object, under whatever names
MAX_PER_FRAME = 20  # kinds of objects told of a frame; the others are counted
FRAMES_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Detection:
    """An object in one frame: which of the names, how sure the model is (0..1), and where."""

    name: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Names as the model is asked for them: its inputs `[1, T]`, and each name's rows of tokens."""

    names: tuple[str, ...]
    inputs: dict[str, Any]
    tokens: tuple[tuple[int, ...], ...]


class ObjectFinder:
    """`Perceiver` that tells which objects stand where in the kept frames, one `objects` caption a clip.

    Args:
        model: a folder or a name in the local Hugging Face cache; empty: `DEFAULT_MODEL`.
        names: what to look for, without `.`.

    Raises:
        BackendUnavailableError: the packages are missing, or the model is not here as safetensors.
        UsageError: the model is of another family.
        InputError: a name holds a full stop or is too long for the model.
    """

    backend = "grounding_dino"
    kind = CaptionKind.OBJECTS
    sees_all_samples = False

    def __init__(self, model: str = "", names: Sequence[str] | None = None) -> None:
        model = model or DEFAULT_MODEL
        transformers, self._torch = require("transformers", "models"), require("torch", "models")
        self._device = device(self._torch)
        with loading(model):
            config = transformers.AutoConfig.from_pretrained(model, local_files_only=True, trust_remote_code=False)
            if config.model_type not in FAMILIES:
                raise UsageError(f"{model} is of type {config.model_type!r}; wanted one of {', '.join(FAMILIES)}")
            self._network = pretrained(
                transformers.AutoModelForZeroShotObjectDetection, model, self._device, self._torch.float32
            )
            self._processor = transformers.GroundingDinoImageProcessorPil.from_pretrained(model, local_files_only=True)
            self._tokenizer = tokenizer_of(transformers, model, config.text_config.vocab_size)
        limit = min(config.max_text_len, config.text_config.max_position_embeddings)
        wanted = bare_names() if names is None else names
        self._chunks = [self._chunk(part) for part in chunked(wanted, self._num_tokens, limit)]

    @property
    def chunks(self) -> list[tuple[str, ...]]:
        """The names, as they are asked for together."""
        return [chunk.names for chunk in self._chunks]

    def see(self, pictures: Sequence[TimedPicture]) -> Seen:
        """What stands where in each picture, in time order."""
        frames = self.find(decoded(pictures))
        return Seen(told([(picture.time_ms, found) for picture, found in zip(pictures, frames, strict=True)]))

    def find(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        """The objects of each RGB picture, the surest first."""
        found: list[list[Detection]] = []
        for _, alike in groupby(pictures, key=lambda picture: picture.shape):  # no picture is padded
            same_size = list(alike)
            for start in range(0, len(same_size), FRAMES_AT_ONCE):
                found += self._find(same_size[start : start + FRAMES_AT_ONCE])
        return found

    def _find(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        pixels = self._processor(images=list(pictures), input_data_format="channels_last", return_tensors="pt")
        pixels = {key: value.to(self._device) for key, value in pixels.items() if key in ("pixel_values", "pixel_mask")}
        found: list[list[Detection]] = [[] for _ in pictures]
        for chunk in self._chunks:
            text = {key: value.expand(len(pictures), -1) for key, value in chunk.inputs.items()}
            with self._torch.inference_mode():
                output = self._network(**pixels, **text)
                scores = output.logits.float().sigmoid().cpu().numpy()  # [F, Q, T or more]
                boxes = output.pred_boxes.float().cpu().numpy()  # [F, Q, 4]: centre and size
            for frame, of_queries, at in zip(found, scores, boxes, strict=True):
                frame.extend(_detections(of_queries, at, chunk))
        return [merged(frame) for frame in found]

    def _num_tokens(self, text: str) -> int:
        return len(self._tokenizer(text)["input_ids"])

    def _chunk(self, names: Sequence[str]) -> _Chunk:
        text = asked(names)
        encoded = self._tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
        offsets = encoded.pop("offset_mapping")[0].tolist()
        spans, start = [], 0
        for name in names:
            spans.append((start, start + len(name)))
            start += len(name) + 2  # the full stop and the blank
        tokens = tuple(tuple(i for i, (a, b) in enumerate(offsets) if first <= a < b <= last) for first, last in spans)
        inputs = {key: value.to(self._device) for key, value in encoded.items()}
        return _Chunk(tuple(names), inputs, tokens)


def asked(names: Sequence[str]) -> str:
    """The names as the detector reads them: `cup. wine glass.`"""
    return ". ".join(names) + "."


def chunked(names: Sequence[str], num_tokens: Callable[[str], int], limit: int) -> Iterator[list[str]]:
    """The names in their order, in parts of which each takes at most `limit` tokens; no name is ever cut.

    Raises:
        InputError: a name takes more than that by itself, or holds a full stop, which would make it two.
    """
    part: list[str] = []
    for name in names:
        if "." in name or not name.strip() or num_tokens(asked([name])) > limit:
            raise InputError(f"no detector can be asked for {name[:40]!r}: empty, with a full stop, or too long")
        if part and num_tokens(asked([*part, name])) > limit:
            yield part
            part = []
        part.append(name)
    if part:
        yield part


def _detections(scores: NDArray[np.float32], boxes: NDArray[np.float32], chunk: _Chunk) -> list[Detection]:
    """The boxes of one frame that pass both thresholds, each under the name whose best token is the highest."""
    found = []
    best = scores.max(axis=1)
    for query in (best > BOX_THRESHOLD).nonzero()[0].tolist():
        of_names = [max((float(scores[query, token]) for token in tokens), default=0.0) for tokens in chunk.tokens]
        index = max(range(len(of_names)), key=of_names.__getitem__)
        if of_names[index] > TEXT_THRESHOLD:
            x, y, width, height = (float(value) for value in boxes[query])
            found.append(Detection(chunk.names[index], round(float(best[query]), 3), Box(x, y, width, height)))
    return found


def merged(found: Sequence[Detection]) -> list[Detection]:
    """The surest of each set of boxes that cover each other: chunks do not know what other chunks have found."""
    kept: list[Detection] = []
    for one in sorted(found, key=lambda one: (-one.score, one.name, one.box)):
        if all(overlap(one.box, other.box) <= SAME_OVERLAP for other in kept):
            kept.append(one)
    return kept


def told(frames: Sequence[tuple[int, Sequence[Detection]]]) -> str:
    """The objects of each frame (its time in ms first) with size and region; a frame like the one before says so."""
    lines = []
    before = None
    for time_ms, found in frames:
        line = frame_line(found)
        lines.append(f"At {clock(time_ms)}: {'the same' if line == before else line}.")
        before = line
    return " ".join(lines)


def frame_line(found: Sequence[Detection]) -> str:
    """`small cup (left) ×2, large table (bottom)`, in the order of `found`."""
    if not found:
        return "none of the objects looked for"
    counts = Counter(f"{size(one.box)} {one.name} ({region(one.box)})" for one in found)
    words = [f"{words} ×{count}" if count > 1 else words for words, count in counts.items()]
    more = [f"and {len(words) - MAX_PER_FRAME} more"] if len(words) > MAX_PER_FRAME else []
    return ", ".join(words[:MAX_PER_FRAME] + more)
