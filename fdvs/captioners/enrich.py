"""Captions of the paper's perception beside those of any captioner: objects, an action, sentences on frames."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from fdvs.captioners.base import Captioner, ClipCaptions, ClipInput, StreamingCaptioner
from fdvs.captioners.perception import Perceiver, kept_of, perceived
from fdvs.captioners.vocabulary import bare_names
from fdvs.errors import UnknownBackendError
from fdvs.records import Caption, content_id
from fdvs.settings import CaptionSettings

ALL = ("objects", "action", "frame_captions")


def perceivers(which: Sequence[str], settings: CaptionSettings) -> list[Perceiver]:
    """The models of these names, in the order of `ALL`, loaded.

    Raises:
        UnknownBackendError: there is no such name.
        BackendUnavailableError: a model is not here; the message says how to get it.
    """
    for name in which:
        if name not in ALL:
            raise UnknownBackendError("enrichment", name, list(ALL))
    made: list[Perceiver] = []
    if "objects" in which:
        from fdvs.captioners.grounding import ObjectFinder

        made.append(ObjectFinder(settings.detector_model))
    if "action" in which:
        from fdvs.captioners.action import ActionNamer

        made.append(ActionNamer(settings.action_model))
    if "frame_captions" in which:
        from fdvs.captioners.blip2 import FrameCaptioner

        made.append(FrameCaptioner(settings.frame_caption_model))
    return made


def named(enrich: str) -> tuple[str, ...]:
    """The names that the setting `enrich` lists, each once."""
    return tuple(dict.fromkeys(name for part in enrich.split(",") if (name := part.strip())))


def fingerprint(which: Sequence[str]) -> str:
    """What these models are asked for, apart from the models themselves: names, question, rules. Cheap; loads none."""
    from fdvs.captioners import action, blip2, grounding

    asked = {
        "objects": (grounding.RULE_VERSION, grounding.DEFAULT_MODEL, bare_names()),
        "action": (action.RULE_VERSION, action.DEFAULT_MODEL),
        "frame_captions": (blip2.RULE_VERSION, blip2.DEFAULT_MODEL, blip2.PROMPT, blip2.MAX_TOKENS),
    }
    return content_id("perception", [asked[name] for name in ALL if name in which]) if which else ""


class Enriched:
    """A captioner with the captions of `which` models after its own. It is given the pictures it would get alone."""

    def __init__(
        self, captioner: Captioner, which: Sequence[str], settings: CaptionSettings, settings_hash: str
    ) -> None:
        self._captioner = captioner
        self._perceivers = perceivers(which, settings)
        self._settings_hash = settings_hash
        self.name = captioner.name
        self.wants_frames = max(captioner.wants_frames, settings.frame_short_side)
        self.wants_all_samples = captioner.wants_all_samples or any(by.sees_all_samples for by in self._perceivers)

    def caption(self, clips: Sequence[ClipInput]) -> list[ClipCaptions]:
        """The captions of each clip; the models of `which` take clip after clip."""
        own = self._captioner.caption([self._as_alone(clip) for clip in clips])
        return [_joined(one, self._perceived(clip)) for one, clip in zip(own, clips, strict=True)]

    def _as_alone(self, clip: ClipInput) -> ClipInput:
        if not self._captioner.wants_frames:
            return replace(clip, pictures=())
        return clip if self._captioner.wants_all_samples else replace(clip, pictures=kept_of(clip))

    def _perceived(self, clip: ClipInput) -> tuple[Caption, ...]:
        return tuple(perceived(clip, by, self._settings_hash) for by in self._perceivers)


class EnrichedStream(Enriched):
    """`Enriched` over a captioner that streams: while its requests are under way, the models work here, in a thread
    of their own."""

    def __init__(
        self, captioner: StreamingCaptioner, which: Sequence[str], settings: CaptionSettings, settings_hash: str
    ) -> None:
        super().__init__(captioner, which, settings, settings_hash)
        self._stream = captioner
        self._here = ThreadPoolExecutor(1, thread_name_prefix="enrich")
        self.in_flight = captioner.in_flight

    def submit(self, clip: ClipInput) -> Future[ClipCaptions]:
        """Begin with a clip; the future has all its captions."""
        seen = self._here.submit(self._perceived, clip)
        return _both(self._stream.submit(self._as_alone(clip)), seen)

    def close(self) -> None:
        """Give up what is still open."""
        self._here.shutdown(wait=False, cancel_futures=True)
        self._stream.close()


def enriched(captioner: Captioner, settings: CaptionSettings, settings_hash: str) -> Captioner:
    """The captioner with what `settings.enrich` names; itself where that is nothing, and where it is `paper`, which has
    all of it."""
    which = named(settings.enrich)
    if not which or captioner.name == "paper":
        return captioner
    if isinstance(captioner, StreamingCaptioner):
        return EnrichedStream(captioner, which, settings, settings_hash)
    return Enriched(captioner, which, settings, settings_hash)


def _joined(own: ClipCaptions, more: tuple[Caption, ...]) -> ClipCaptions:
    return replace(own, captions=(*own.captions, *more))


def _both(own: Future[ClipCaptions], seen: Future[tuple[Caption, ...]]) -> Future[ClipCaptions]:
    """What two futures make together. It fails where one of them does; cancelling it cancels both."""
    both: Future[ClipCaptions] = Future()

    def after_own(done: Future[ClipCaptions]) -> None:
        if done.cancelled() or done.exception() is not None:
            seen.cancel()
            _settle(both, done, None)
        else:
            seen.add_done_callback(lambda more: _settle(both, done, more))

    def after_cancel(done: Future[ClipCaptions]) -> None:
        if done.cancelled():
            own.cancel()
            seen.cancel()

    own.add_done_callback(after_own)
    both.add_done_callback(after_cancel)
    return both


def _settle(both: Future[ClipCaptions], own: Future[ClipCaptions], seen: Future[tuple[Caption, ...]] | None) -> None:
    """Give `both` its result, unless it was cancelled before."""
    if own.cancelled() or (seen is not None and seen.cancelled()):
        both.cancel()
    if not both.set_running_or_notify_cancel():
        return
    error = own.exception() or (seen.exception() if seen is not None else None)
    if error is not None:
        both.set_exception(error)
    elif seen is not None:
        both.set_result(_joined(own.result(), seen.result()))
