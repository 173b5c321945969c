"""Bringing one file up to a stage: which work is stored already, which is not, and where an interrupted run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fdvs.batch.clip_stages import ClipStages
from fdvs.batch.freshness import is_told, story_key
from fdvs.batch.jobs import UNTIL, Event, Job, Until
from fdvs.batch.locks import Locks
from fdvs.batch.model_clients import writer_for
from fdvs.batch.outcomes import flag_same_words, outcome_warnings
from fdvs.batch.replies import CountedReplies
from fdvs.batch.source import Source, probed
from fdvs.captioners.base import OVER_CHAT
from fdvs.errors import DecodeError
from fdvs.media.clips import plan_clips
from fdvs.media.discover import printable_name
from fdvs.pipeline import (
    SaidAndAdded,
    captions_hash,
    captions_key,
    clip_evidence,
    hash_file,
    readings_key,
    video_named,
    with_screen_text,
)
from fdvs.records import Caption, State, Video, clock
from fdvs.screen_text.unread import unread_text
from fdvs.settings import Settings
from fdvs.store.library import Store
from fdvs.store.paths import Fingerprint, PathRow
from fdvs.stories.evidence import ClipEvidence
from fdvs.stories.imported import ImportedCaption
from fdvs.stories.repeats import told_text

if TYPE_CHECKING:
    from fdvs.encoders.ahead import Ahead


class VideoBuild:
    """One job. `run` writes to the store; `plan` only looks."""

    def __init__(self, job: Job, store: Store, locks: Locks, emit: Callable[[Event], None]) -> None:
        self._job, self._store, self._locks, self._emit = job, store, locks, emit
        self._settings: Settings = job.settings
        self._path = Path(job.path)
        self._video_id = self._story_key = ""
        self._warnings: list[str] = []
        self._decoded = self._captioned = 0
        self._ahead: Ahead | None = None

    def run(self) -> Event:
        """All stages up to the wanted one; those that are stored are skipped."""
        row = self._store.find_path(self._path)
        if row is not None and is_told(self._store, row, self._settings) and not self._is_to_retry(row):
            return self._done_before(row)  # by another build, while this one waited
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
        if self._job.retry_failed and self._store.num_to_retry(self._video_id):
            self._store.unmark_stage(self._video_id, "story")  # until it is told from what comes now
        if self._wants("frames"):
            try:
                self._stages(source)
            finally:
                if self._ahead is not None:
                    self._ahead.close()
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

    def _is_to_retry(self, row: PathRow) -> bool:
        return self._job.retry_failed and row.video_id is not None and self._store.num_to_retry(row.video_id) > 0

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

    def _record_video(self, fingerprint: Fingerprint, source: Source) -> None:
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

    def _stages(self, source: Source) -> None:
        texts = self._texts(source)
        frames_key = self._settings.hash("clips", "frames")
        self._store.plan_video(
            self._video_id, frames_key, texts.key if self._wants("captions") else "", clips_total=len(source.plans)
        )
        stages = ClipStages(
            self._job, self._store, self._video_id, source, texts, emit=self._emit, on_caption=self._expect
        )
        stages.run(captions=self._wants("captions"))
        self._decoded, self._captioned = stages.num_decoded, stages.num_captioned
        evidence = self._stored(texts, frames_key)
        if self._wants("captions"):
            told = self._flagged(self._read(evidence, frames_key))
            self._put_changed(evidence, told, frames_key, texts.key)
            evidence = told
        if not any(one.clip.sampled_ms for one in evidence):
            raise DecodeError(f"{printable_name(self._path)}: the file is damaged: none of its pictures can be decoded")
        if self._wants("story") and not self._is_told():
            self._tell(evidence, frames_key, texts.key)

    def _texts(self, source: Source) -> SaidAndAdded:
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
        return SaidAndAdded(cues.cues, imported, source.index.duration_ms, captions_hash(self._settings), key)

    def _read(self, evidence: list[ClipEvidence], frames_key: str) -> list[ClipEvidence]:
        """The evidence with the pages of all that was read, and their captions."""
        key = readings_key(self._settings)
        if not key:
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
        return with_screen_text(evidence, readings, key)

    def _stored(self, texts: SaidAndAdded, frames_key: str) -> list[ClipEvidence]:
        """All clips, with their captions where these were asked for."""
        evidence = []
        for row in self._store.each_stored_clip(self._video_id, frames_key, texts.key):
            self._warnings += row.warnings
            evidence.append(clip_evidence(row))
        return evidence

    def _flagged(self, evidence: list[ClipEvidence]) -> list[ClipEvidence]:
        """The evidence with a reason beside captions that say the same of different pictures; warned of, like those
        that failed."""
        captioner = self._settings.captions.captioner
        told = flag_same_words(evidence, captioner) if captioner in OVER_CHAT else evidence
        self._warnings += outcome_warnings(told)
        return told

    def _put_changed(
        self, before: Sequence[ClipEvidence], after: Sequence[ClipEvidence], frames_key: str, key: str
    ) -> None:
        """Store the captions of the clips whose captions have changed."""
        with self._store.writing():
            for old, new in zip(before, after, strict=True):
                if new.captions != old.captions:
                    self._store.put_captions(self._video_id, frames_key, new.clip.id, key, new.captions)

    def _expect(self, caption: Caption) -> None:
        """Begin to encode what the story will tell. Only with the encoder whose vectors are the same either way."""
        if not self._wants("story") or self._settings.story.text_embedder != "minilm":
            return
        if self._ahead is None:
            from fdvs.encoders.ahead import Ahead
            from fdvs.encoders.text import text_encoder

            self._ahead = Ahead(text_encoder(self._settings.story.text_embedder))
        self._ahead.expect(told_text([caption]))

    def _tell(self, evidence: Sequence[ClipEvidence], frames_key: str, captions_key: str) -> None:
        from fdvs.batch.telling import tell
        from fdvs.encoders.text import text_encoder

        writer = writer_for(self._job)
        counted = CountedReplies(self._store, self._video_id, self._story_key, self._keep_alive)
        try:
            written = tell(
                self._store,
                self._store.video(self._video_id),
                evidence,
                self._settings,
                self._ahead or text_encoder(self._settings.story.text_embedder),
                key=self._story_key,
                clips_hash=frames_key,
                captions_hash=captions_key,
                readings_hash=readings_key(self._settings),
                model=writer,
                replies=counted,
            )
        finally:
            if writer is not None:
                writer.close()
        if written is not None:
            counted.finish(written)
            self._warnings += written.warnings()

    def _keep_alive(self) -> None:
        """A reply of the writer has come: a step forward, though no clip is done by it."""
        self._emit(Event("progress", video_id=self._video_id))

    def _is_told(self) -> bool:
        return self._store.stage_done(self._video_id, "story", self._story_key)


def look(job: Job) -> Event:
    """What `--dry-run` says of a file: its length and its number of clips (None where shots have to be found first)."""
    source = probed(Path(job.path), job.settings)
    return Event("done", duration_ms=source.index.duration_ms, clips_total=source.clips_total)
