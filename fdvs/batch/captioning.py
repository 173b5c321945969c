"""Captions of one video's clips: asked for while others are decoded, stored as they come.

A captioner that streams has several clips open at once; no more than twice what it can work on, so that pictures of a
long film do not pile up while its model is slower than decoding is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from fdvs.captioners.base import Captioner, ClipCaptions, ClipInput, StreamingCaptioner
from fdvs.captioners.facts import PictureFacts
from fdvs.chat.base import Usage
from fdvs.pipeline import SaidAndAdded, captions_with
from fdvs.records import Caption, CaptionKind, Clip, Outcome, TimedPicture
from fdvs.store.clips import ClipRow

OPEN_PER_SLOT = 2
Put = Callable[[Clip, tuple[Caption, ...], Usage], None]


class Captioning:
    """One video's captions on their way.

    Args:
        by: who writes them.
        texts: what else is told of each clip.
        put: stores all captions of one clip; called in the thread that calls these methods, in any order of clips.
    """

    def __init__(self, by: Captioner, texts: SaidAndAdded, put: Put) -> None:
        self._by, self._texts, self._put = by, texts, put
        self._open: dict[Future[ClipCaptions], Clip] = {}
        self.num_captioned = 0
        self.waited_s = 0.0  # wall-clock time in which nothing was left to do but wait for the captioner
        self._first = self._last = 0.0

    @property
    def wants_frames(self) -> int:
        return self._by.wants_frames

    @property
    def wants_all_samples(self) -> bool:
        return self._by.wants_all_samples

    @property
    def is_streaming(self) -> bool:
        """Whether captions come later than they are asked for."""
        return isinstance(self._by, StreamingCaptioner)

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of how the captioner was asked, a line each."""
        return tuple(getattr(self._by, "notes", ()))

    @property
    def num_open(self) -> int:
        """Clips that were asked about and not answered."""
        return len(self._open)

    @property
    def seconds(self) -> float:
        """Wall-clock time from the first question to the last answer."""
        return self._last - self._first

    def now(self, item: ClipInput) -> tuple[Caption, ...]:
        """All captions of one clip, at once; they are not stored. For captioners that do not stream."""
        (own,) = self._by.caption([item])
        self.num_captioned += 1
        return captions_with(own.captions, item.clip, self._texts)

    def add(self, item: ClipInput) -> None:
        """Ask for the captions of a clip whose row is stored, and store what has come of others.

        Raises:
            ServerError: the model cannot be reached any more.
        """
        if not isinstance(self._by, StreamingCaptioner):
            self._put(item.clip, self.now(item), Usage())
            return
        while len(self._open) >= OPEN_PER_SLOT * self._by.in_flight:
            self._wait()
        self._first = self._first or time.monotonic()
        self._open[self._by.submit(item)] = item.clip
        self._take([future for future in self._open if future.done()])

    def reuse(self, clip: Clip, own: Sequence[Caption]) -> None:
        """Store captions that the captioner made of a clip before, next to what else is told of it now."""
        self._put(clip, captions_with(own, clip, self._texts), Usage())

    def finish(self) -> None:
        """Wait for what is still open and store it."""
        while self._open:
            self._wait()

    def close(self) -> None:
        """Give up what is still open."""
        if isinstance(self._by, StreamingCaptioner):
            self._by.close()

    def _wait(self) -> None:
        started = time.monotonic()
        done, _ = wait(self._open, return_when=FIRST_COMPLETED)
        self.waited_s += time.monotonic() - started
        self._take(done)

    def _take(self, done: Iterable[Future[ClipCaptions]]) -> None:
        """Store what has come; trouble that ends the video is raised after all that was answered beside it is kept."""
        trouble: BaseException | None = None
        for future in done:
            clip = self._open.pop(future)
            if (error := future.exception()) is not None:
                trouble = trouble or error
                continue
            made = future.result()
            self._last = time.monotonic()
            self.num_captioned += 1
            self._put(clip, captions_with(made.captions, clip, self._texts), made.usage)
        if trouble is not None:
            raise trouble


def clip_input(row: ClipRow, pictures: Sequence[TimedPicture], texts: SaidAndAdded) -> ClipInput:
    """What a captioner gets of a clip."""
    facts = PictureFacts() if row.facts is None else PictureFacts.from_json(row.facts)
    kept = row.selection.kept_ms if row.selection is not None else row.clip.sampled_ms
    return ClipInput(row.clip, facts, texts.cues_in(row.clip), tuple(pictures), kept)


def wanted_ms(row: ClipRow, captioning: Captioning) -> tuple[int, ...]:
    """Times of the pictures that a captioner wants of a stored clip."""
    if not captioning.wants_frames:
        return ()
    if captioning.wants_all_samples or row.selection is None:
        return row.clip.sampled_ms
    return row.selection.kept_ms


def own_captions(captions: Sequence[Caption], settings_hash: str) -> tuple[Caption, ...]:
    """Those of a clip's captions that its captioner made with these settings: not what is said, shown or added."""
    return tuple(c for c in captions if c.settings_hash == settings_hash and c.kind is not CaptionKind.SPEECH)


def needs_retry(own: Sequence[Caption]) -> bool:
    """Whether a captioner's captions of a clip are missing, cut short, or say the same as of other pictures."""
    return not own or any(caption.outcome is not Outcome.OK or caption.reason for caption in own)
