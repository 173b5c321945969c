"""Frames and captions of one video's clips, stored clip by clip; an interrupted run goes on where it stopped.

A clip's row is stored as soon as it is decoded. Its captions come with it where they are made at once, and later where
a model is asked; pictures that a model gets are kept until they are made again by decoding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fdvs.batch.captioning import Captioning, clip_input, needs_retry, own_captions, wanted_ms
from fdvs.batch.jobs import Event, Job
from fdvs.batch.model_clients import captioner_for
from fdvs.batch.source import Source
from fdvs.chat.base import NO_USAGE, Usage
from fdvs.encoders.pictures import picture_encoder
from fdvs.media.black import join_black
from fdvs.media.clips import plan_at
from fdvs.media.jpeg import JpegEncoder
from fdvs.media.reader import read_clips
from fdvs.pipeline import DescribedClip, SaidAndAdded, describe_clips, measurer, readings_key, small_jpeg
from fdvs.records import Caption, CaptionKind, Clip, TimedPicture
from fdvs.settings import ClipSettings
from fdvs.store.clips import ClipRow
from fdvs.store.costs import CAPTIONS, FRAMES, Cost
from fdvs.store.kept_pictures import KeptPictures
from fdvs.store.library import Store

if TYPE_CHECKING:
    from fdvs.screen_text.watch import TextWatch

PROGRESS_EVERY_S = 0.2


class ClipStages:
    """The stages `frames` and `captions` of one video. `on_caption` hears of every caption of what is seen, when it is
    stored, where these come later than they are asked for.

    Attributes:
        num_decoded, num_captioned: clips that this run worked on.
    """

    def __init__(
        self,
        job: Job,
        store: Store,
        video_id: str,
        source: Source,
        texts: SaidAndAdded,
        *,
        emit: Callable[[Event], None],
        on_caption: Callable[[Caption], None] | None = None,
    ) -> None:
        self._job, self._settings, self._store, self._video_id = job, job.settings, store, video_id
        self._source, self._texts, self._emit, self._on_caption = source, texts, emit, on_caption
        self._frames_key = job.settings.hash("clips", "frames")
        self._decode_s = self._next_progress = 0.0
        self._clips_done = 0
        self.num_decoded = self.num_captioned = 0

    def run(self, *, captions: bool) -> None:
        """Decode what is not stored and, with `captions`, describe what is not described.

        Raises:
            ServerError: a captioner's model cannot be reached; what was described is stored.
        """
        if not captions:
            self._decode(None)
            return
        captioning = Captioning(captioner_for(self._job, self._texts.settings_hash), self._texts, self._put)
        try:
            self._caption_stored(captioning)
            self._decode(captioning)
            if captioning.is_streaming:
                self._emit(Event("decoded", video_id=self._video_id))  # another video may be decoded meanwhile
            captioning.finish()
        finally:
            self.num_captioned = captioning.num_captioned
            for line in captioning.notes:
                self._emit(Event("note", video_id=self._video_id, message=line))
            captioning.close()
            if captioning.is_streaming:
                with self._store.writing():
                    self._store.add_cost(self._video_id, FRAMES, self._frames_key, Cost(seconds=self._decode_s))
                    cost = Cost(seconds=captioning.seconds, waited_s=captioning.waited_s)
                    self._store.add_cost(self._video_id, CAPTIONS, self._texts.key, cost)

    def _put(self, clip: Clip, captions: tuple[Caption, ...], usage: Usage) -> None:
        with self._store.writing():
            self._store.put_captions(self._video_id, self._frames_key, clip.id, self._texts.key, captions)
            if usage != NO_USAGE:
                self._store.add_cost(self._video_id, CAPTIONS, self._texts.key, Cost(usage=usage))
        for caption in captions:
            if self._on_caption is not None and caption.kind is CaptionKind.VISUAL and caption.text:
                self._on_caption(caption)
        self._progress()

    # ---- clips that are stored ----------------------------------------------------------------------------------

    def _caption_stored(self, captioning: Captioning) -> None:
        """The clips whose frames are stored and whose captions are not, or have to be made again."""
        rows = list(self._uncaptioned())
        if not rows:
            return
        settings_hash = self._texts.settings_hash
        made = self._store.captions_made(self._video_id, self._frames_key, settings_hash)
        undecoded = []
        for row in rows:
            own = made.get(row.clip.id, ())
            if row.captions is None and own and captioning.is_streaming and not needs_retry(own):
                captioning.reuse(row.clip, own)  # made under other subtitles or added captions
                continue
            pictures = self._kept_pictures(row, captioning)
            if pictures is None:
                undecoded.append(row)
            else:
                captioning.add(clip_input(row, pictures, self._texts))
        for row, pictures in self._decoded_again(undecoded, captioning):
            captioning.add(clip_input(row, pictures, self._texts))

    def _uncaptioned(self) -> Iterator[ClipRow]:
        retry = self._job.retry_failed and self._settings.captions.captioner != "builtin"
        for row in self._store.each_stored_clip(self._video_id, self._frames_key, self._texts.key):
            if row.captions is None or (retry and needs_retry(own_captions(row.captions, self._texts.settings_hash))):
                yield row
            else:
                self._clips_done += 1

    def _kept_pictures(self, row: ClipRow, captioning: Captioning) -> tuple[TimedPicture, ...] | None:
        """The pictures that a captioner wants of a stored clip; None where they have to be decoded again."""
        wanted = wanted_ms(row, captioning)
        return self._kept(captioning.wants_frames).get(row.clip.id, wanted) if wanted else ()

    def _decoded_again(
        self, rows: Sequence[ClipRow], captioning: Captioning
    ) -> Iterator[tuple[ClipRow, tuple[TimedPicture, ...]]]:
        """Pictures of stored clips that are not kept any more, by decoding these clips alone."""
        side, jpeg = captioning.wants_frames, JpegEncoder()
        plans = [plan_at(self._source.index, wanted_ms(row, captioning)) for row in rows]
        read = read_clips(
            self._source.path,
            self._source.index,
            plans,
            lambda frame: small_jpeg(jpeg, frame, side),
            decoder=self._settings.run.decoder,
        )
        for item in read if rows else ():
            row = rows[item.plan_index]
            pictures = tuple(TimedPicture(time_ms, picture) for time_ms, _, picture in item.frames)
            self._keep(row.clip, side, pictures)
            yield row, pictures

    # ---- clips that are not stored ------------------------------------------------------------------------------

    def _decode(self, captioning: Captioning | None) -> None:
        """The clips after those that are stored. A clip that is decoded only because its text was not read yet has its
        captions already, or they were asked for."""
        stored = [row.clip for row in self._store.each_stored_clip(self._video_id, self._frames_key)]
        watch, num_read = self._watch()
        in_place = stored[:num_read]
        if len(in_place) >= len(self._source.plans):
            return
        started = time.monotonic()
        for done in self._described(in_place, watch, captioning):
            self._store_clip(done, watch, captioning)
            self.num_decoded += 1
            self._decode_s += time.monotonic() - started
            if captioning and captioning.is_streaming and done.row.ordinal >= len(stored):
                captioning.add(clip_input(done.row, done.pictures, self._texts))
            self._clips_done = max(self._clips_done, done.row.ordinal + 1 - (captioning.num_open if captioning else 0))
            self._progress()
            started = time.monotonic()

    def _described(
        self, in_place: Sequence[Clip], watch: TextWatch | None, captioning: Captioning | None
    ) -> Iterator[DescribedClip]:
        source, settings = self._source, self._settings
        encoder = picture_encoder(settings.frames.image_embedder)
        read = read_clips(
            source.path,
            source.index,
            source.plans,
            measurer(source.plans, encoder, captioning.wants_frames if captioning else 0, watch),
            first_plan=len(in_place),
            decoder=settings.run.decoder,
        )
        joined = join_black(
            source.path,
            source.index,
            read,
            lambda measured: measured.small,
            _black_join_s(settings.clips),
            first_start_ms=in_place[-1].span.end_ms if in_place else None,
        )
        return describe_clips(
            self._video_id,
            source.index,
            joined,
            settings,
            encoder,
            short_side=captioning.wants_frames if captioning else 0,
            all_pictures=captioning is not None and captioning.wants_all_samples,
        )

    def _store_clip(self, done: DescribedClip, watch: TextWatch | None, captioning: Captioning | None) -> None:
        """One clip in one transaction, with its readings, and with its captions where they are made at once."""
        row = done.row
        if captioning:
            self._keep(row.clip, captioning.wants_frames, done.pictures)
        if captioning and not captioning.is_streaming:
            row = replace(row, captions=captioning.now(clip_input(row, done.pictures, self._texts)))
        captions_key = None if row.captions is None else self._texts.key
        readings = watch.read(row.clip.span, done.shown) if watch else ()
        with self._store.writing():
            self._store.put_clip(self._frames_key, row, captions_hash=captions_key, thumbnail=done.thumbnail)
            if watch:
                self._store.put_readings(
                    self._video_id,
                    self._frames_key,
                    row.ordinal,
                    readings,
                    readings_hash=readings_key(self._settings),
                    state=watch.state.to_bytes(),
                )

    def _watch(self) -> tuple[TextWatch | None, int | None]:
        """What reads the screen, and how many clips it has read; None and None where the screen is not read."""
        key = readings_key(self._settings)
        if not key:
            return None, None
        from fdvs.screen_text.watch import TextWatch, WatchState

        num_read, state = self._store.reading_state(self._video_id, self._frames_key, key)
        return TextWatch(WatchState.from_bytes(state) if state else WatchState()), num_read

    # ---- around -------------------------------------------------------------------------------------------------

    def _kept(self, short_side: int) -> KeptPictures:
        assert self._store.folder is not None  # a build is of a library on disk
        return KeptPictures(self._store.folder, short_side)

    def _keep(self, clip: Clip, short_side: int, pictures: Sequence[TimedPicture]) -> None:
        if pictures and self._settings.run.keep_frames:
            self._kept(short_side).put(clip.id, pictures)

    def _progress(self) -> None:
        now = time.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_EVERY_S
            total = len(self._source.plans)
            self._emit(Event("progress", video_id=self._video_id, clips_done=self._clips_done, clips_total=total))


def _black_join_s(clips: ClipSettings) -> float:
    """Up to which length black is joined while clips are read. Shot cuts have black in their place already; among key
    frames alone there is nothing to look for."""
    return clips.black_join_s if clips.frames == "sampled" and clips.shot_cuts == "off" else 0.0
