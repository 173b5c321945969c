"""Captions by a vision-language model, whatever carries it: one request per clip, one `visual` caption from each."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

from fdvs.captioners.base import ClipCaptions, ClipInput
from fdvs.captioners.outcomes import Judged, judge
from fdvs.chat.base import NO_USAGE, ChatModel, ChatReply, Finish
from fdvs.errors import ServerError
from fdvs.prompts import captions as prompt
from fdvs.records import Caption, CaptionKind, Outcome, content_id
from fdvs.settings import CaptionSettings

NO_PICTURE = Judged("", Outcome.FAILED, "no picture was decoded")


def fingerprint(_settings: CaptionSettings) -> str:
    """The wording of the prompt: another one, other captions."""
    return prompt.fingerprint()


class VlmCaptioner:
    """`StreamingCaptioner` over a chat model that sees.

    A server that is not there at all ends the video (`ServerError`): what was captioned is kept, and nothing is
    recorded against clips that nobody was asked about.
    """

    wants_all_samples = False

    def __init__(self, settings: CaptionSettings, settings_hash: str, chat: ChatModel) -> None:
        self.name = settings.captioner
        self.wants_frames = settings.frame_short_side
        self.in_flight = chat.in_flight
        self._chat = chat
        self._max_tokens = settings.max_tokens
        self._settings_hash = settings_hash

    @property
    def notes(self) -> tuple[str, ...]:
        """What the model's server does not take and what is sent instead, a line each."""
        return tuple(getattr(self._chat, "fallbacks", ()))

    def caption(self, clips: Sequence[ClipInput]) -> list[ClipCaptions]:
        """One caption for each clip."""
        return [future.result() for future in [self.submit(clip) for clip in clips]]

    def submit(self, clip: ClipInput) -> Future[ClipCaptions]:
        """Ask about one clip."""
        done: Future[ClipCaptions] = Future()
        done.set_running_or_notify_cancel()
        if not clip.pictures:
            done.set_result(ClipCaptions((self._caption(clip, NO_PICTURE),), NO_USAGE))
            return done
        asked = self._chat.submit(prompt.caption_request(clip.pictures, self._max_tokens))
        asked.add_done_callback(partial(self._take, clip, done))
        return done

    def _take(self, clip: ClipInput, done: Future[ClipCaptions], asked: Future[ChatReply]) -> None:
        if asked.cancelled():
            done.set_exception(ServerError("given up"))
            return
        reply = asked.result()
        if reply.finish is Finish.FAILED and reply.is_unreachable:
            done.set_exception(ServerError(reply.reason))
            return
        done.set_result(ClipCaptions((self._caption(clip, judge(reply, self._max_tokens)),), reply.usage))

    def _caption(self, clip: ClipInput, judged: Judged) -> Caption:
        kind = CaptionKind.VISUAL
        return Caption(
            id=content_id("cap", clip.clip.id, kind, self.name, self._settings_hash),
            clip_id=clip.clip.id,
            span=clip.clip.span,
            kind=kind,
            text=judged.text,
            outcome=judged.outcome,
            reason=judged.reason,
            backend=self.name,
            settings_hash=self._settings_hash,
        )

    def close(self) -> None:
        """Give up what is still open."""
        self._chat.close()
