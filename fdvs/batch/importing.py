"""Stories without pixels: captions made elsewhere, and exported stories, into the library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fdvs.batch.freshness import story_key
from fdvs.batch.outside import text_warnings
from fdvs.batch.report import StatusRow
from fdvs.batch.telling import tell
from fdvs.batch.writers import Writers
from fdvs.encoders.text import TextEncoder
from fdvs.errors import ConsentError, InputError
from fdvs.pipeline import clip_evidence, with_screen_text
from fdvs.records import Caption, State, StoryRecord, Video, content_id
from fdvs.retrieval.story_file import node_vectors
from fdvs.settings import Settings, stored_settings
from fdvs.store.clips import ClipRow
from fdvs.store.library import Store
from fdvs.stories.imported import (
    BACKEND,
    ImportedCaption,
    ImportedVideo,
    attach_captions,
    clips_from_captions,
    evidence_of,
    import_settings,
)
from fdvs.stories.importing import read_import
from fdvs.stories.writing_report import WriterReport

CLIPS_KEY = "imported"


class Importer:
    """Imports files into one store. Importing the same again changes nothing."""

    def __init__(
        self, store: Store, settings: Settings, encoder: Callable[[str], TextEncoder], writers: Writers
    ) -> None:
        self._store, self._encoder, self._writers = store, encoder, writers
        self._settings = writers.complete(settings)

    def guarded(self, file: Path, video: str | None) -> list[StatusRow]:
        """`run`, or `add_to` where a video is named; a file that cannot be used is a failed row."""
        if not file.exists():
            return [_failed(file, "not_found", f"{file} does not exist")]
        try:
            return self.run(file) if video is None else self.add_to(file, video)
        except ConsentError:  # no fault of the file's
            raise
        except InputError as error:
            return [_failed(file, "unreadable", str(error))]

    def run(self, file: Path) -> list[StatusRow]:
        """One row per video that the file tells of.

        Raises:
            InputError: the file cannot be used.
        """
        found = read_import(file)
        if isinstance(found, StoryRecord):
            return [self._bundle(found)]
        return [self._captions(imported) for imported in found]

    def _row(self, video: Video, clips: int, written: WriterReport | None = None) -> StatusRow:
        warnings = [*text_warnings(self._store).get(video.id, []), *(written.warnings() if written else ())]
        return StatusRow(video.name, None, video.id, State.DONE, clips, clips, tuple(warnings))

    def add_to(self, file: Path, video: str) -> list[StatusRow]:
        """Add the captions of a file to a video of the library and tell its story anew.

        Raises:
            InputError: the file is a story, tells of several videos, or has a caption after the video's end.
            NotFoundError, AmbiguousError: which video is meant is not clear.
        """
        target = self._store.resolve_video(video)
        self._writers.get(self._told_with(target))  # before anything is stored: whether its story can be told again
        found = read_import(file, video=target.name)
        if isinstance(found, StoryRecord):
            raise InputError(f"{file.name} is a whole story; import it without --video")
        late = [item for one in found for item in one.captions if item.span.start_ms >= target.duration_ms]
        if late:
            raise InputError(
                f"{file.name}: a caption starts at {late[0].span.start_s} s, "
                f"but {target.name} ends at {target.duration_ms / 1000} s; is it the right video?"
            )
        self._store.add_imported(
            target.id, [(item.span, item.kind, item.text) for one in found for item in one.captions]
        )
        written = self._tell_again(target)
        return [self._row(target, len(self._store.told_clips(target.id)), written)]

    def _bundle(self, record: StoryRecord) -> StatusRow:
        key = content_id("bundle", [node.id for node in record.nodes])
        if not self._store.stage_done(record.video.id, "story", key):
            if self._store.paths_of(record.video.id):
                raise InputError(f"{record.video.name} was built here from the video itself; `fdvs forget` it first")
            self._store.put_record(record, key)
            encoder = self._encoder(self._settings.story.text_embedder)
            self._store.put_vectors(record.video.id, node_vectors(record.nodes, encoder), encoder.name)
        return self._row(record.video, sum(not node.children for node in record.nodes))

    def _captions(self, imported: ImportedVideo) -> StatusRow:
        video, settings = imported.video(), import_settings(self._settings)
        key = story_key(settings, ())
        written = None
        clips, captions = clips_from_captions(imported)
        if not self._store.stage_done(video.id, "story", key):
            model = self._writers.get(settings)  # before anything is stored
            evidence = evidence_of(clips, captions)
            encoder = self._encoder(self._settings.story.text_embedder)
            self._store.put_video(video)
            self._store.plan_video(video.id, CLIPS_KEY, CLIPS_KEY, clips_total=len(clips))
            rows = [ClipRow(ordinal, one.clip, captions=one.captions) for ordinal, one in enumerate(evidence)]
            self._store.put_clips(CLIPS_KEY, rows, captions_hash=CLIPS_KEY)
            written = tell(
                self._store,
                video,
                evidence,
                settings,
                encoder,
                key=key,
                clips_hash=CLIPS_KEY,
                captions_hash=CLIPS_KEY,
                model=model,
                replies=self._store.replies(video.id),
            )
        return self._row(video, len(clips), written)

    def _told_with(self, video: Video) -> Settings:
        """The settings of a video's story; where its writer is, these settings say."""
        return self._writers.complete(stored_settings(self._settings, self._store.story(video.id).settings))

    def _tell_again(self, video: Video) -> WriterReport | None:
        """The story of a video, now with all added captions: no picture is decoded, no clip and no other caption
        changes, and the settings stay those of its story."""
        settings = self._told_with(video)
        rows = self._store.told_clips(video.id)
        added: dict[str, list[Caption]] = {row.clip.id: [] for row in rows}
        items = [ImportedCaption(*item) for item in self._store.imported(video.id)]
        for caption in attach_captions([row.clip for row in rows], items):
            added[caption.clip_id].append(caption)
        rows = [replace(row, captions=_with_added(row.captions or (), added[row.clip.id])) for row in rows]
        clips_hash, captions_hash = self._store.told_from(video.id)
        readings_hash = self._store.told_readings(video.id)
        readings = self._store.stored_readings(video.id, clips_hash, readings_hash)
        evidence = with_screen_text([clip_evidence(row) for row in rows], readings, readings_hash)
        rows = [replace(row, captions=one.captions) for row, one in zip(rows, evidence, strict=True)]
        encoder = self._encoder(settings.story.text_embedder)
        imported_key = self._store.imported_key(video.id)
        captions_hash = content_id("captions", captions_hash, imported_key)
        self._store.put_clips(clips_hash, rows, captions_hash=captions_hash)
        return tell(
            self._store,
            video,
            evidence,
            settings,
            encoder,
            key=story_key(settings, self._store.paths_of(video.id), imported_key),
            clips_hash=clips_hash,
            captions_hash=captions_hash,
            readings_hash=readings_hash,
            model=self._writers.get(settings),
            replies=self._store.replies(video.id),
        )


def _with_added(captions: Sequence[Caption], added: Sequence[Caption]) -> tuple[Caption, ...]:
    """The clip's own captions and all added ones; a gap that was filled is no failure any more."""
    own = [caption for caption in captions if caption.backend != BACKEND]
    gaps = [caption for caption in captions if caption.backend == BACKEND and not caption.text]
    old = [caption for caption in captions if caption.backend == BACKEND and caption.text]
    known = {caption.id for caption in old}
    both = [*old, *(caption for caption in added if caption.id not in known)]
    return (*own, *(both or gaps))


def _failed(file: Path, code: str, message: str) -> StatusRow:
    return StatusRow(file.name, str(file.absolute()), None, State.FAILED, 0, None, (), code, message)
