"""The captioner `clip`: zero-shot tags of a CLIP or SigLIP model, told as the guesses that they are.

Each kind of name (place, object, action …) is scored by itself, in every frame, and the scores are averaged over the
frames. For CLIP a score is the share that a name has among all names and rivals of its kind; for SigLIP it is the
model's own probability. A name is told only if

1. its mean score reaches the least of its kind (`LEAST`),
2. no rival (a page of text, a plain background …) scores as much,
3. and in at least half of the frames it stands above all rivals.

What is told carries a word for its score (`fdvs.captioners.guesses`): below 0.5 nothing is called likely. A clip of
which nothing passes says that nothing can be named.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fdvs.captioners import vocabulary as names
from fdvs.captioners.base import ClipCaptions, ClipInput
from fdvs.captioners.guesses import Guess, listed, plain, sureness
from fdvs.captioners.perception import MAX_REASON_CHARS, NO_PICTURE, TROUBLE, Seen, caption_of, decoded
from fdvs.captioners.tag_vectors import text_vectors
from fdvs.captioners.vocabulary import KINDS, Vocabulary, vocabulary
from fdvs.errors import UsageError
from fdvs.records import Caption, CaptionKind
from fdvs.settings import CaptionSettings

RULE_VERSION = 1  # of how scores become words; another number, other captions
# The least mean score at which a name is told, and how many names of a kind at most. A picture shows several objects
# and they share what softmax gives out.
LEAST = {"views": 0.3, "places": 0.25, "light": 0.4, "weather": 0.4, "objects": 0.1, "actions": 0.25}
MOST = {"views": 1, "places": 1, "light": 1, "weather": 1, "objects": 5, "actions": 1}
NOTHING = "Nothing can be named with any confidence."


def fingerprint(_settings: CaptionSettings) -> str:
    """What tags are made with beside model and pictures: names, sentences, rule. Cheap; loads no model."""
    return f"tags-{RULE_VERSION}-{names.fingerprint()}"


class TagCaptioner:
    """One `visual` caption a clip in plain words; `objects` and `action` captions with scores where there are any.

    Raises:
        UsageError: no model is named, or a server is.
        BackendUnavailableError: the model is not here.
    """

    name = "clip"
    wants_all_samples = False

    def __init__(self, settings: CaptionSettings, settings_hash: str) -> None:
        from fdvs.encoders.image_text import image_text_model

        self._model = image_text_model(model_spec(settings.captioner_model, settings.captioner_url))
        self._texts = text_vectors(self._model)
        self._settings_hash = settings_hash
        self.wants_frames = self._model.short_side

    def caption(self, clips: Sequence[ClipInput]) -> list[ClipCaptions]:
        """The captions of each clip. The pictures of a clip go through the model together, and with no others: a
        picture's vector differs in its last digits with what it is encoded with, and a build that was interrupted
        must end with the captions of one that was not."""
        return [ClipCaptions(self._captions(clip)) for clip in clips]

    def _captions(self, clip: ClipInput) -> tuple[Caption, ...]:
        if not clip.pictures:
            return (self._failed(clip, NO_PICTURE),)
        try:
            vectors = self._model.encode_pictures(decoded(clip.pictures))
        except TROUBLE as error:
            return (self._failed(clip, plain(f"{type(error).__name__}: {error}", MAX_REASON_CHARS)),)
        tags = {kind: self._tags(kind, vectors) for kind in KINDS}
        told = [(CaptionKind.VISUAL, sentences(tags))]
        told += [(CaptionKind.OBJECTS, listed(tags["objects"]))] if tags["objects"] else []
        told += [(CaptionKind.ACTION, listed(tags["actions"]))] if tags["actions"] else []
        return tuple(caption_of(clip, kind, self.name, self._settings_hash, Seen(text)) for kind, text in told)

    def _failed(self, clip: ClipInput, reason: str) -> Caption:
        return caption_of(clip, CaptionKind.VISUAL, self.name, self._settings_hash, failed=reason)

    def _tags(self, kind: str, vectors: NDArray[np.float32]) -> list[Guess]:
        model = self._model
        logits = model.scale * (vectors @ self._texts[kind].T) + model.bias
        return chosen(probabilities(logits, is_sigmoid=model.is_sigmoid), vocabulary(kind), LEAST[kind], MOST[kind])


def model_spec(model: str, url: str) -> str:
    """The image-text model that the settings name: a folder (`file:…`), `open_clip:MODEL@WEIGHTS`, a name or a folder
    of transformers."""
    if url.startswith("file:"):
        folder = url.removeprefix("file:")
        return f"open_clip:{folder}" if (Path(folder) / "open_clip_config.json").is_file() else f"transformers:{folder}"
    if url:
        raise UsageError("the captioner clip runs in this process; it takes a model (captioner_model) and no server")
    if not model:
        raise UsageError(
            "the captioner clip needs a model that is on this machine: --captioner-model NAME_OR_FOLDER, such as "
            "openai/clip-vit-base-patch32, or open_clip:MODEL@WEIGHTS"
        )
    return model if model.startswith(("open_clip:", "transformers:")) else f"transformers:{model}"


def probabilities(logits: NDArray[np.float32], *, is_sigmoid: bool) -> NDArray[np.float64]:
    """`[F, N]` logits → scores 0..1: of each text by itself, or as its share among all of a picture."""
    exact = logits.astype(np.float64)
    if is_sigmoid:
        return 0.5 * (1 + np.tanh(0.5 * exact))
    powers = np.exp(exact - exact.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def chosen(scores: NDArray[np.float64], kind: Vocabulary, least: float, most: int) -> list[Guess]:
    """The names that may be told (the rule above), the best first; of equal ones the first in the list.

    Args:
        scores: `[F, names + rivals]` of at least one frame.
    """
    own, rivals = scores[:, : len(kind.names)], scores[:, len(kind.names) :]
    mean = np.round(own.mean(axis=0), 3)  # decided on rounded scores: matrix libraries differ in the last digits
    best_rival = float(np.round(rivals.mean(axis=0), 3).max(initial=0.0))
    stands_above = (own > rivals.max(axis=1, initial=0.0)[:, None]).mean(axis=0) >= 0.5
    passing = np.flatnonzero((mean >= least) & (mean > best_rival) & stands_above)
    best = sorted(passing.tolist(), key=lambda index: (-mean[index], index))[:most]
    return [Guess(kind.names[index], float(mean[index])) for index in best]


def sentences(tags: dict[str, list[Guess]]) -> str:
    """The tags of all kinds in plain words: `Likely a kitchen, perhaps by lamplight. To be seen: perhaps a stove.`"""
    setting = [guess for kind in ("places", "light", "weather", "views") for guess in map(_guess, tags[kind])]
    seen = [_guess(tag) for tag in tags["objects"]]
    done = [f"{sureness(tag.score)} someone is {tag.name}" for tag in tags["actions"]]
    told = [", ".join(setting), f"to be seen: {', '.join(seen)}" if seen else "", ", ".join(done)]
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in told if text) or NOTHING


def _guess(tag: Guess) -> str:
    return f"{sureness(tag.score)} {tag.name}"
