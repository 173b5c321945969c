"""Bringing one file up to a stage: which work is stored already, which is not, and where an interrupted run goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fdvs.batch.freshness import is_told, story_key
from fdvs.batch.jobs import UNTIL, Event, Job, Until
from fdvs.batch.locks import Locks
from fdvs.captioners.base import Captioner, captioner
from fdvs.captioners.facts import PictureFacts
from fdvs.encoders.pictures import picture_encoder
from fdvs.errors import DecodeError
from fdvs.media.black import join_black
from fdvs.media.clips import ClipPlan, plan_clips
from fdvs.media.discover import printable_name
from fdvs.media.index import PacketIndex
from fdvs.media.probe import probe
from fdvs.media.reader import read_clips
from fdvs.pipeline import (
    SaidAndAdded,
    caption_clip,
    captions_key,
    clip_evidence,
    describe_clips,
    hash_file,
    measurer,
    readings_key,
    video_named,
    with_screen_text,
)
from fdvs.records import Probe, State, Video, clock
from fdvs.screen_text.unread import unread_text
from fdvs.settings import ClipSettings, Settings
from fdvs.store.library import Store
from fdvs.store.paths import Fingerprint, PathRow
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.imported import ImportedCaption

if TYPE_CHECKING:
    from fdvs.screen_text.watch import TextWatch

PROGRESS_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class _Source:
    """A probed file and the clips planned for it; None as long as its shots are not known."""

    path: Path
    facts: Probe
    index: PacketIndex
    planned: Sequence[ClipPlan] | None

    @property
    def plans(self) -> Sequence[ClipPlan]:
        assert self.planned is not None  # every stage that reads pictures comes after the clips
        return self.planned

    @property
    def clips_total(self) -> int | None:
        return None if self.planned is None else len(self.planned)


class VideoBuild:
    """One job. `run` writes to the store; `plan` only looks."""

    def __init__(self, job: Job, store: Store, locks: Locks, emit: Callable[[Event], None]) -> None:
        self._job, self._store, self._locks, self._emit = job, store, locks, emit
        self._settings: Settings = job.settings
        self._path = Path(job.path)
        self._video_id = self._story_key = ""
        self._warnings: list[str] = []
        self._next_progress = 0.0
        self._decoded = self._captioned = 0

    def run(self) -> Event:
        """All stages up to the wanted one; those that are stored are skipped."""
        row = self._store.find_path(self._path)
        if row is not None and is_told(self._store, row, self._settings):  # by another build, while this one waited
            return self._done_before(row)
        fingerprint = Fingerprint.of(self._path)
        known = self._known_id(fingerprint)
        self._store.record_path(self._path, fingerprint, known, state=State.RUNNING)
        source = probed(self._path, self._settings)
        self._warnings += source.facts.warnings
        self._emit(Event("probed", duration_ms=source.index.duration_ms, clips_total=source.clips_total))
        self._video_id = known or hash_file(self._path)
        self._locks.acquire(f"video:{self._video_id}")
        self._record_video(fingerprint, source)
        # Taken before anything is read: what changes from here on makes the story that comes of it a stale one.
        self._story_key = story_key(
            self._settings, self._store.paths_of(self._video_id), self._store.imported_key(self._video_id)
        )
        if source.planned is None and self._wants("clips"):
            from fdvs.batch.shots import stored_or_found_cuts

            cuts = stored_or_found_cuts(self._store, self._video_id, source.path, source.index)
            source = replace(source, planned=plan_clips(source.index, self._settings.clips, cuts))
        if self._wants("frames"):
            self._stages(source)
        elif source.planned is not None:
            frames_key = self._settings.hash("clips", "frames")
            self._store.plan_video(self._video_id, frames_key, clips_total=len(source.plans))
        state = State.DONE if self._is_told() else State.PENDING
        self._store.record_path(
            self._path, fingerprint, self._video_id, state=state, warnings=list(dict.fromkeys(self._warnings))
        )
        return Event(
            "done",
            video_id=self._video_id,
            duration_ms=source.index.duration_ms,
            clips_done=len(source.plans) if self._wants("frames") else 0,
            clips_total=source.clips_total,
            clips_decoded=self._decoded,
            clips_captioned=self._captioned,
        )

    def _done_before(self, row: PathRow) -> Event:
        assert row.video_id is not None
        clips = len(self._store.told_clips(row.video_id))
        duration_ms = self._store.video(row.video_id).duration_ms
        return Event("done", video_id=row.video_id, duration_ms=duration_ms, clips_done=clips, clips_total=clips)

    def _wants(self, stage: Until) -> bool:
        return UNTIL.index(self._job.until) >= UNTIL.index(stage)

    def _known_id(self, fingerprint: Fingerprint) -> str | None:
        if self._settings.run.rehash:
            return None
        row = self._store.find_path(self._path)
        if row is not None and row.fingerprint == fingerprint and row.video_id:
            return row.video_id
        same_file = self._store.find_fingerprint(fingerprint)
        return same_file.video_id if same_file else None

    def _record_video(self, fingerprint: Fingerprint, source: _Source) -> None:
        video = Video(
            id=self._video_id,
            name=self._path.name,
            duration_ms=source.index.duration_ms,
            size_bytes=fingerprint.size_bytes,
            probe=source.facts,
        )
        paths = {*self._store.paths_of(self._video_id), str(self._path)}
        self._store.put_video(video_named(video, sorted(paths)))
        self._store.record_path(self._path, fingerprint, self._video_id, state=State.RUNNING)

    def _stages(self, source: _Source) -> None:
        texts = self._texts(source)
        frames_key = self._settings.hash("clips", "frames")
        by = captioner(self._settings.captions, texts.settings_hash) if self._wants("captions") else None
        self._store.plan_video(
            self._video_id, frames_key, texts.key if by is not None else "", clips_total=len(source.plans)
        )
        self._decode(source, texts, frames_key, by)
        evidence = self._read(self._stored(texts, frames_key, by), frames_key, texts.key if by else None)
        if not any(one.clip.sampled_ms for one in evidence):
            raise DecodeError(f"{printable_name(self._path)}: the file is damaged: none of its pictures can be decoded")
        if self._wants("story") and not self._is_told():
            self._tell(evidence, frames_key, texts.key)

    def _texts(self, source: _Source) -> SaidAndAdded:
        if not self._wants("captions"):
            return SaidAndAdded((), (), source.index.duration_ms, "", "")
        from fdvs.media.subtitles import CueCollection, collect_cues

        cues = CueCollection(())
        if self._settings.captions.subtitles == "on":
            others = [Path(path) for path in self._store.paths_of(self._video_id)]
            cues = collect_cues(source.path, source.index, self._settings.limits, also=others)
            self._warnings += cues.warnings
        imported = tuple(ImportedCaption(*item) for item in self._store.imported(self._video_id))
        key = captions_key(self._settings, cues.cues, self._store.imported_key(self._video_id))
        settings_hash = self._settings.hash("clips", "frames", "captions")
        return SaidAndAdded(cues.cues, imported, source.index.duration_ms, settings_hash, key)

    def _decode(self, source: _Source, texts: SaidAndAdded, frames_key: str, by: Captioner | None) -> None:
        """The clips after those that are stored, each in one transaction with its captions and readings."""
        stored = [row.clip for row in self._store.each_stored_clip(self._video_id, frames_key)]
        watch, num_read = self._watch(frames_key)
        stored = stored[:num_read]
        if len(stored) >= len(source.plans):
            return
        encoder = picture_encoder(self._settings.frames.image_embedder)
        measure = measurer(source.plans, encoder, by.wants_frames if by else 0, watch)
        read = read_clips(
            source.path,
            source.index,
            source.plans,
            measure,
            first_plan=len(stored),
            decoder=self._settings.run.decoder,
        )
        joined = join_black(
            source.path,
            source.index,
            read,
            lambda measured: measured.small,
            _black_join_s(self._settings.clips),
            first_start_ms=stored[-1].span.end_ms if stored else None,
        )
        for done in describe_clips(self._video_id, source.index, joined, self._settings, encoder):
            row = done.row
            if by is not None:
                row = replace(row, captions=caption_clip(row.clip, done.facts, done.frames, texts, by))
                self._captioned += 1
            readings = watch.read(row.clip.span, done.shown) if watch else ()
            with self._store.writing():
                self._store.put_clip(frames_key, row, captions_hash=texts.key if by else None, thumbnail=done.thumbnail)
                if watch:
                    key, state = readings_key(self._settings), watch.state.to_bytes()
                    self._store.put_readings(
                        self._video_id, frames_key, row.ordinal, readings, readings_hash=key, state=state
                    )
            self._decoded += 1
            self._progress(row.ordinal + 1, len(source.plans))

    def _watch(self, frames_key: str) -> tuple[TextWatch | None, int | None]:
        """What reads the screen, and how many clips it has read; None and None where the screen is not read."""
        key = readings_key(self._settings)
        if not key:
            return None, None
        from fdvs.screen_text.watch import TextWatch, WatchState

        num_read, state = self._store.reading_state(self._video_id, frames_key, key)
        return TextWatch(WatchState.from_bytes(state) if state else WatchState()), num_read

    def _read(self, evidence: list[ClipEvidence], frames_key: str, captions_key: str | None) -> list[ClipEvidence]:
        """The evidence with the pages of all that was read; their captions are stored with the others."""
        key = readings_key(self._settings)
        if not key or captions_key is None:
            return evidence
        readings = self._store.stored_readings(self._video_id, frames_key, key)
        in_order = [reading for several in readings.values() for reading in several]
        left_out = [reading for reading in in_order if reading.outcome == "skipped" and reading.time_ms >= 0]
        if left_out:
            self._warnings.append(
                f"on-screen text changes faster than it is read: {len(left_out)} pictures with text were left unread, "
                f"the first at {clock(left_out[0].time_ms)}"
            )
        unread = unread_text(in_order)
        if unread is not None:
            self._warnings.append(unread.warning)
        told = with_screen_text(evidence, readings, key)
        with self._store.writing():
            for before, after in zip(evidence, told, strict=True):
                if after.captions != before.captions:
                    self._store.put_captions(self._video_id, frames_key, after.clip.id, captions_key, after.captions)
        return told

    def _stored(self, texts: SaidAndAdded, frames_key: str, by: Captioner | None) -> list[ClipEvidence]:
        """All clips with captions: those whose frames were decoded under other caption settings get theirs now."""
        evidence: list[ClipEvidence] = []
        untold: list[int] = []
        for row in self._store.each_stored_clip(self._video_id, frames_key, texts.key):
            self._warnings += row.warnings
            if row.captions is None:
                untold.append(len(evidence))
            evidence.append(clip_evidence(row))
        if by is not None:
            for i in untold:
                clip, facts = evidence[i].clip, evidence[i].facts or PictureFacts()
                captions = caption_clip(clip, facts, (), texts, by)
                self._store.put_captions(self._video_id, frames_key, clip.id, texts.key, captions)
                self._captioned += 1
                evidence[i] = replace(evidence[i], captions=captions)
        return evidence

    def _tell(self, evidence: Sequence[ClipEvidence], frames_key: str, captions_key: str) -> None:
        from fdvs.batch.telling import tell
        from fdvs.encoders.text import text_encoder

        tell(
            self._store,
            self._store.video(self._video_id),
            evidence,
            self._settings,
            text_encoder(self._settings.story.text_embedder),
            key=self._story_key,
            clips_hash=frames_key,
            captions_hash=captions_key,
            readings_hash=readings_key(self._settings),
        )

    def _is_told(self) -> bool:
        return self._store.stage_done(self._video_id, "story", self._story_key)

    def _progress(self, clips_done: int, clips_total: int) -> None:
        now = time.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_EVERY_S
            self._emit(Event("progress", video_id=self._video_id, clips_done=clips_done, clips_total=clips_total))


def _black_join_s(clips: ClipSettings) -> float:
    """Up to which length black is joined while clips are read. Shot cuts have black in their place already; among key
    frames alone there is nothing to look for."""
    return clips.black_join_s if clips.frames == "sampled" and clips.shot_cuts == "off" else 0.0


def probed(path: Path, settings: Settings) -> _Source:
    """Probe a file and plan its clips where that needs no decoding, which is everywhere but at shot cuts."""
    facts, index = probe(path, settings.limits)
    return _Source(path, facts, index, None if settings.clips.shot_cuts == "on" else plan_clips(index, settings.clips))


def look(job: Job) -> Event:
    """What `--dry-run` says of a file: its length and its number of clips (None where shots have to be found first)."""
    source = probed(Path(job.path), job.settings)
    return Event("done", duration_ms=source.index.duration_ms, clips_total=source.clips_total)
