"""Clips from several workers, given to one captioner a few at a time."""

from __future__ import annotations

import queue
import threading
import traceback
from concurrent.futures import Future

from fdvs.captioners.base import Captioner, ClipCaptions, ClipInput
from fdvs.records import Caption, CaptionKind, Outcome, content_id

CLIPS_AT_ONCE = 8


class CaptionBatches:
    """A captioner that works in one thread, on all clips that wait, at most `CLIPS_AT_ONCE`.

    Clips whose captioner raised have failed, one by one: the batch is tried again clip by clip, so that one clip's
    trouble stays its own.
    """

    in_flight = 2 * CLIPS_AT_ONCE  # one batch is worked on while the next one comes in

    def __init__(self, captioner: Captioner, settings_hash: str) -> None:
        self.captioner, self._settings_hash = captioner, settings_hash
        self._waiting: queue.SimpleQueue[tuple[ClipInput, Future[ClipCaptions]]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def submit(self, clip: ClipInput) -> Future[ClipCaptions]:
        """Begin with a clip."""
        future: Future[ClipCaptions] = Future()
        future.set_running_or_notify_cancel()
        self._waiting.put((clip, future))
        return future

    def _work(self) -> None:
        while True:
            batch = [self._waiting.get()]
            while len(batch) < CLIPS_AT_ONCE and not self._waiting.empty():
                batch.append(self._waiting.get())
            for (_, future), made in zip(batch, self._captions([clip for clip, _ in batch]), strict=True):
                future.set_result(made)

    def _captions(self, clips: list[ClipInput]) -> list[ClipCaptions]:
        try:
            return self.captioner.caption(clips)
        except Exception as error:  # noqa: BLE001 - whatever a model's own code raises
            traceback.print_exc()
            if len(clips) > 1:
                return [self._captions([clip])[0] for clip in clips]
            return [self._failed(clips[0], error)]

    def _failed(self, item: ClipInput, error: Exception) -> ClipCaptions:
        name = self.captioner.name
        caption = Caption(
            id=content_id("cap", item.clip.id, CaptionKind.VISUAL, name, self._settings_hash),
            clip_id=item.clip.id,
            span=item.clip.span,
            kind=CaptionKind.VISUAL,
            text="",
            outcome=Outcome.FAILED,
            reason=f"{type(error).__name__}: {error}",
            backend=name,
            settings_hash=self._settings_hash,
        )
        return ClipCaptions((caption,))
