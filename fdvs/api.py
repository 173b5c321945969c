"""The Python API: `Library`, which mirrors the commands, and `Story`, which works from an exported file alone."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fdvs.batch.jobs import Until
from fdvs.batch.report import BuildReport, StatusRow
from fdvs.errors import AmbiguousError, BackendUnavailableError, InputError, NotFoundError
from fdvs.models.consent import Ask, hosted, obtain_consent
from fdvs.models.resolve import Choice, choose, complete
from fdvs.records import Answer, Hit, StoryRecord, Video
from fdvs.retrieval.readers import Readers, what_is_sent
from fdvs.settings import Scalar, Settings, load_settings
from fdvs.store.database import DATABASE_NAME
from fdvs.store.library import Store

if TYPE_CHECKING:
    from fdvs.batch.build import OnEvent, OnNote
    from fdvs.batch.costs import VideoCosts
    from fdvs.encoders.text import TextEncoder
    from fdvs.redundancy.report import RedundancyReport
    from fdvs.retrieval.story_file import Story

DEFAULT_PATH = Path("fdvs-library")
MAX_STEM_BYTES = 200
_UNSAFE_IN_NAMES = re.compile(r"[^\w.\- ]+")


class Library:
    """A folder of stories. Use it as a context manager, or call `close`.

    Args:
        path: the folder.
        create: make the library when a build or an import needs it; False: it must be there.
        profile, flags, assignments: settings, as `fdvs.settings.load_settings` takes them; the library's `fdvs.toml`
            and `FDVS_…` variables count too.
        settings: all settings at once, instead of the three above.

    Attributes:
        settings: what is in force; `auto` is replaced by what it chose.
        choices: for each `auto`, a line that says what it chose and why.

    Raises:
        NotFoundError: `create` is False and there is no library.
        UsageError: a setting is unknown or out of range.
    """

    def __init__(
        self,
        path: Path | str = DEFAULT_PATH,
        *,
        create: bool = True,
        profile: str | None = None,
        flags: Mapping[str, Mapping[str, Scalar]] | None = None,
        assignments: Iterable[str] = (),
        settings: Settings | None = None,
    ) -> None:
        self.path = Path(path)
        given = settings or load_settings(library=self.path, flags=flags, assignments=assignments, profile=profile)
        self.settings, self.choices = choose(given)
        self._open_store: Store | None = None
        self._encoders: dict[str, TextEncoder] = {}
        self._readers = Readers(self.settings)
        if not create:
            self._open_store = _open(self.path)

    def close(self) -> None:
        """Let go of the library's files and of the models that answered; a second call does nothing."""
        self._readers.close()
        if self._open_store is not None:
            self._open_store.close()
            self._open_store = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def _store(self) -> Store:
        if self._open_store is None:
            self._open_store = _open(self.path)
        return self._open_store

    def build(
        self,
        inputs: Sequence[Path | str],
        *,
        until: Until = "story",
        engine: str = "local",
        dry_run: bool = False,
        retry_failed: bool = False,
        on_event: OnEvent | None = None,
        on_note: OnNote | None = None,
        on_consent: Ask | None = None,
    ) -> BuildReport:
        """Turn video files and folders into stories; see `fdvs.batch.build.build`."""
        from fdvs.batch.build import build

        return build(
            self.path,
            [Path(one) for one in inputs],
            complete(self.settings),
            until=until,
            engine=engine,
            dry_run=dry_run,
            retry_failed=retry_failed,
            on_event=on_event,
            on_note=on_note,
            on_consent=on_consent,
        )

    def import_captions(
        self, files: Sequence[Path | str], *, video: str | None = None, on_consent: Ask | None = None
    ) -> BuildReport:
        """Stories from captions made elsewhere (JSON Lines, SRT, VTT) and from exported stories.

        Args:
            files: a file that cannot be used is a failed row, the others are imported.
            video: add the captions to this built video instead; its story is told anew from them too, by the writer
                that wrote it.
            on_consent: as in `build`.
        """
        from fdvs.batch.importing import Importer
        from fdvs.batch.writers import Writers

        started = time.monotonic()
        with Store.open(self.path, create=video is None) as store, closing(Writers(store, on_consent)) as writers:
            importer = Importer(store, self.settings, self._encoder, writers)
            rows = [row for file in files for row in importer.guarded(Path(file), video)]
        return BuildReport(tuple(rows), 0, time.monotonic() - started)

    def status(self) -> list[StatusRow]:
        """State of every path, by path; then of the videos that came without one (imports)."""
        from fdvs.batch.build import status_rows

        return status_rows(self._store, self.path)

    def costs(self) -> list[VideoCosts]:
        """What decoding and models have taken of each video that a model was asked about, over all builds."""
        from fdvs.batch.costs import costs_of

        return costs_of(self._store)

    def text_warnings(self) -> dict[str, list[str]]:
        """{video id: what to know of how its text can be searched}: languages that the sentence encoder does not know.
        The same lines are among the warnings of `status`."""
        from fdvs.batch.outside import text_warnings

        return text_warnings(self._store)

    def videos(self) -> list[Video]:
        """All videos of the library, by name."""
        return self._store.videos()

    def story(self, video: str) -> Story:
        """The story of one video, named by file name, path or the start of its id.

        Raises:
            NotFoundError, AmbiguousError: no video, or several, fit the name; or it has no story yet.
        """
        from fdvs.retrieval.story_file import Story

        return Story(self._record(video))

    def _record(self, video: str) -> StoryRecord:
        return self._store.story(self._store.resolve_video(video).id)

    def search(
        self,
        query: str,
        *,
        k: int = 10,
        level: str = "any",
        video: str | None = None,
        min_similarity: float | None = None,
    ) -> list[Hit]:
        """Moments that fit a query, best first."""
        from fdvs.retrieval.search import search

        return search(
            self._store,
            self._query_encoder(),
            query,
            k=k,
            level=level,
            video_id=self._video_id(video),
            min_similarity=min_similarity,
        )

    def reader(self, name: str | None = None, *, model: str | None = None, url: str | None = None) -> Choice:
        """Who answers questions, in full: back end, model and address, from these and the settings `answers`.

        Raises:
            UsageError, BackendUnavailableError, ServerError: it cannot be told, is not here, does not answer.
        """
        return self._readers.choice(name, model, url)

    def ask(
        self,
        question: str,
        *,
        video: str | None = None,
        options: Sequence[str] = (),
        k: int = 5,
        reader: str | None = None,
        reader_model: str | None = None,
        reader_url: str | None = None,
        allow_hosted: bool = False,
        on_consent: Ask | None = None,
    ) -> Answer:
        """An answer with the spans it rests on; abstains when nothing supports one.

        Args:
            reader, reader_model, reader_url: who answers (`builtin`, `auto`, `openai`, `vllm`, `transformers`), its
                model and where that is; by default what the settings `answers` say. A model stays open until `close`.
            allow_hosted: agreed ahead that the question and captions go to a reader elsewhere; so does the setting
                `run.allow_hosted`.
            on_consent: asks somebody, where nobody has agreed for this library and host.

        Raises:
            ConsentError: the reader is elsewhere and nobody agreed; nothing was sent.
        """
        from fdvs.retrieval.answer import ask

        who = self.reader(reader, model=reader_model, url=reader_url)
        obtain_consent(
            hosted((who.name, who.url)),
            self._store,
            partial(what_is_sent, self.settings),
            allow_hosted=allow_hosted or self.settings.run.allow_hosted,
            ask=on_consent,
        )
        return ask(
            self._store,
            self._query_encoder(),
            question,
            video_id=self._video_id(video),
            options=options,
            k=k,
            reader=self._readers.open(who),
        )

    def redundancy(self, video: str | None = None) -> RedundancyReport:
        """What was set aside as a repeat in one video, or in all of them, with what it shares with other videos."""
        from fdvs.redundancy.report import joined, removed_members

        if video is not None:
            one = self._store.resolve_video(video)
            report = self._redundancy_of(one)
            shared = [
                item for item in removed_members(self._store.links()) if one.id in (item.video_id, item.kept_video_id)
            ]
            return replace(report, removed=(*report.removed, *shared))
        told = [one for one in self._store.videos() if self._store.has_story(one.id)]
        total = joined([self._redundancy_of(one) for one in told])
        return replace(total, removed=(*total.removed, *removed_members(self._store.links())))

    def _redundancy_of(self, video: Video) -> RedundancyReport:
        from fdvs.redundancy.report import report_of

        record = self._store.story(video.id)
        clips = [(row.clip, row.selection) for row in self._store.told_clips(video.id)]
        return report_of(video.name, clips, record.captions, record.duplicates, record.nodes)

    def export(self, video: str, *, form: str = "json", output: Path | str) -> Path:
        """Write one story as a file; returns its path."""
        target = Path(output)
        _write(target, self.story(video).render(form))
        return target

    def export_all(self, *, form: str = "json", folder: Path | str) -> list[Path]:
        """Write every story into a folder, named after its video; equal names get the start of the id."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        told = [video for video in self._store.videos() if self._store.has_story(video.id)]
        written: list[Path] = []
        for name, video in zip(_file_names(told), told, strict=True):
            written.append(self.export(video.id, form=form, output=target / f"{name}.{form}"))
        return written

    def forget(self, video: str) -> str:
        """Remove a video everywhere (not the file itself); returns its name.

        A path that never became a video (a name mistyped in a build) is removed by its path or file name too.
        """
        try:
            found = self._store.resolve_video(video)
        except NotFoundError:
            return self._forget_path(video)
        from fdvs.batch.linking import refresh_links

        for path in self._store.forget(found.id):
            path.unlink(missing_ok=True)
        refresh_links(self._store)  # two videos it stood for may share that stretch with each other
        return found.name

    def _forget_path(self, name: str) -> str:
        """Drop the paths of that name, or that one path, behind which no video is known."""
        here = os.path.abspath(name)  # noqa: PTH100  # normalises `..`, which Path.absolute() does not
        rows = [row.path for row in self._store.path_rows() if row.video_id is None]
        paths = [path for path in rows if path == here] or [path for path in rows if Path(path).name == name]
        if not paths:
            self._store.resolve_video(name)  # says what is missing
        if len(paths) > 1:
            raise AmbiguousError("\n".join([f"{name!r} fits {len(paths)} paths:", *(f"  {path}" for path in paths)]))
        self._store.forget_path(paths[0])
        return name

    def relink(self, folder: Path | str) -> tuple[list[tuple[str, str]], list[str]]:
        """Find moved files by content.

        Returns:
            (old path, new path) of every mended path, and the paths that are still missing.

        Raises:
            InputError: `folder` is not a folder.
        """
        from fdvs.batch.relinking import relink

        if not Path(folder).is_dir():
            raise InputError(f"{folder} is not a folder")
        return relink(self._store, Path(folder))

    def _video_id(self, video: str | None) -> str | None:
        return None if video is None else self._store.resolve_video(video).id

    def _encoder(self, spec: str) -> TextEncoder:
        from fdvs.encoders.text import text_encoder

        if spec not in self._encoders:
            self._encoders[spec] = text_encoder(spec)
        return self._encoders[spec]

    def _query_encoder(self) -> TextEncoder:
        """The encoder that made the library's vectors: that of the settings, else one that a story's settings name.

        Where none of them fits, the one of the settings: the search says what is wrong.
        """
        chosen = self._encoder(self.settings.story.text_embedder)
        model = self._store.a_vector_model()
        if model not in (None, chosen.name):
            for spec in self._store.text_embedders():
                try:
                    encoder = self._encoder(spec)
                except BackendUnavailableError:
                    continue  # a story from elsewhere, whose encoder is not here
                if encoder.name == model:
                    return encoder
        return chosen


def _open(path: Path) -> Store:
    """The existing library at `path`; for reading only where it cannot be written."""
    writable = all(os.access(one, os.W_OK) for one in (path, path / DATABASE_NAME))
    return Store.open(path, create=False, readonly=not writable)


def _file_names(videos: Sequence[Video]) -> list[str]:
    """Safe file names without extension, one per video: its name, with the start of the id where names clash."""
    stems = [_safe_stem(video.name) for video in videos]
    lowered = [stem.lower() for stem in stems]
    return [
        stem if lowered.count(stem.lower()) == 1 else f"{stem}-{video.id[:8]}"
        for stem, video in zip(stems, videos, strict=True)
    ]


def _safe_stem(name: str) -> str:
    """A name without extension, of harmless characters, short enough that an id and any extension can follow."""
    stem = _UNSAFE_IN_NAMES.sub("_", Path(name).stem).encode()[:MAX_STEM_BYTES].decode(errors="ignore")
    return stem.strip(". ") or "video"


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
