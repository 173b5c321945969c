"""A build: which paths are meant, which of them need work, running that work, and what came of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fdvs.batch.costs import costs_of, spent_since, usage_to_json
from fdvs.batch.freshness import is_told, is_unchanged
from fdvs.batch.jobs import UNTIL, Event, Job, Until
from fdvs.batch.local import default_jobs, run_jobs
from fdvs.batch.locks import is_held
from fdvs.batch.nursery import CLIENT
from fdvs.batch.outside import text_warnings
from fdvs.batch.report import BuildReport, StatusRow
from fdvs.batch.worker import path_lock, record_failure
from fdvs.captioners.attention import attention_of, check_attention
from fdvs.errors import BackendUnavailableError, UnknownBackendError, UsageError
from fdvs.media.discover import Found, discover
from fdvs.records import State
from fdvs.settings import RunSettings, Settings, uses_model
from fdvs.store.database import DATABASE_NAME
from fdvs.store.library import Store

if TYPE_CHECKING:
    from fdvs.models.consent import Ask

OnEvent = Callable[[int, int, str, Event], None]
OnNote = Callable[[str], None]
ENGINES = ("local",)
WRITERS = ("builtin", "auto", "openai", "vllm", "transformers")


def _say_nothing(_line: str) -> None:
    pass


def check_backends(settings: Settings) -> None:
    """Refuse before any work what no worker could do: unknown names, and what is not in this release.

    Raises:
        UnknownBackendError, UsageError, BackendUnavailableError.
    """
    from fdvs.captioners.base import check_captioner
    from fdvs.encoders import pictures, text

    check_captioner(settings.captions.captioner)
    check_attention(settings.captions)
    if settings.story.writer not in WRITERS:
        raise UnknownBackendError("writer", settings.story.writer, list(WRITERS))
    _check_decoder(settings.run.decoder)
    if settings.captions.screen_text == "on":
        _check_reader()
    for role, spec, module in (
        ("text encoder", settings.story.text_embedder, text),
        ("picture encoder", settings.frames.image_embedder, pictures),
    ):
        name = spec.partition(":")[0]
        if name not in {*module.PLAIN, *module.WITH_ARGUMENT}:
            raise UnknownBackendError(role, name, [*module.PLAIN, *module.WITH_ARGUMENT])


def _check_reader() -> None:
    """Looking is enough; loading it is for the worker that first needs it."""
    if find_spec("rapidocr") is None:
        raise BackendUnavailableError(
            "reading on-screen text needs rapidocr: pip install rapidocr, or use --screen-text off"
        )


def _check_decoder(name: str) -> None:
    if name == RunSettings().decoder:
        return  # always there; looking would load it
    from fdvs.media.reader import DECODERS

    if name not in DECODERS:
        raise UnknownBackendError("decoder", name, list(DECODERS))


def build(
    library: Path,
    inputs: Sequence[Path],
    settings: Settings,
    *,
    until: Until = "story",
    engine: str = "local",
    dry_run: bool = False,
    retry_failed: bool = False,
    on_event: OnEvent | None = None,
    on_note: OnNote | None = None,
    on_consent: Ask | None = None,
) -> BuildReport:
    """Bring every input up to `until`.

    Args:
        library: folder of the library; made when it is not there (not by a dry run).
        inputs: files and folders.
        on_event: progress; called with (job, number of jobs, name, event).
        on_note: gets a line for people about what takes long before the first event.
        on_consent: asks somebody whether frames or text may go to a server elsewhere, where nobody has agreed yet.

    Returns:
        One row per path, sorted by path. Failures are rows, not exceptions.

    Raises:
        UsageError, BackendUnavailableError, ServerError: nothing was started.
        ConsentError: something would leave this machine and nobody agreed; nothing was sent.
        StoreError: the library cannot be used.
    """
    started = time.monotonic()
    if engine not in ENGINES:
        raise UsageError(f"unknown engine {engine!r}; known: {', '.join(ENGINES)}")
    check_backends(settings)
    found = discover(inputs)
    if not found:  # makes no library either
        return BuildReport((), 0, time.monotonic() - started)
    if dry_run:
        return _dry_run(library, found, settings, started, on_event)
    with Store.open(library, create=True) as store:
        todo, skipped = _plan(store, found, settings, retry_failed)
        before = costs_of(store) if uses_model(settings) else []
        if todo:
            jobs = [Job(str(library), path, settings, until, retry_failed=retry_failed) for path in todo]
            with ready_models(store, jobs, on_note or _say_nothing, on_consent) as models:
                hosted_jobs = [replace(job, models=models) for job in jobs]
                _run(hosted_jobs, settings, store, on_event, on_note or _say_nothing)
        if until == "story" and store.told_with() != store.linked():
            from fdvs.batch.linking import update_links

            update_links(store)
        rows = {row.path: row for row in status_rows(store, library)}
        spent = spent_since(before, costs_of(store)) if uses_model(settings) else ()
    mine = tuple(rows[str(one.path)] for one in found if str(one.path) in rows)
    seconds = time.monotonic() - started
    usage = usage_to_json(spent, seconds, settings.run) if spent else None
    attention = attention_of(settings.captions)
    return BuildReport(mine, skipped, seconds, spent, usage, "" if attention is None else attention.words())


@contextmanager
def ready_models(store: Store, jobs: Sequence[Job], note: OnNote, ask: Ask | None) -> Iterator[str]:
    """Make sure that models may be asked and answer; load those that have to be hosted. Gives the path of their socket,
    empty where there is none."""
    settings = jobs[0].settings  # equal for all jobs of a build
    if not uses_model(settings) or UNTIL.index(jobs[0].until) < UNTIL.index("captions"):
        yield ""
        return
    from fdvs.batch.leave import obtain_leave
    from fdvs.hosting.starting import hosted
    from fdvs.models.resolve import check_servers

    def probe(asked_about: Sequence[Job]) -> list[Event]:
        return _run([replace(job, until="probe", dry_run=True) for job in asked_about], settings, None, None)

    obtain_leave(store, jobs, settings, probe, ask=ask)
    check_servers(settings)
    with hosted(settings, note) as socket:
        yield socket


def _plan(store: Store, found: Sequence[Found], settings: Settings, retry_failed: bool) -> tuple[list[str], int]:
    """Paths that need a worker, and how many are done already. The others get their row at once."""
    todo: list[str] = []
    skipped = 0
    for one in found:
        if one.code is not None:
            record_failure(store, one.path, Event("failed", code=one.code, message=one.message))
            continue
        row = store.find_path(one.path)
        if row is None:
            store.record_path(one.path, state=State.PENDING)
        elif row.state is State.FAILED and is_unchanged(row) and not retry_failed:
            continue
        elif is_told(store, row, settings) and not (retry_failed and store.num_to_retry(row.video_id or "")):
            skipped += 1
            continue
        todo.append(str(one.path))
    return todo, skipped


def _run(
    jobs: Sequence[Job],
    settings: Settings,
    store: Store | None,
    on_event: OnEvent | None,
    on_note: OnNote = _say_nothing,
) -> list[Event]:
    ends = [Event("failed", code="crashed", message="never started")] * len(jobs)
    said: set[str] = set()

    def note(index: int, event: Event) -> None:
        if event.kind == "note" and event.message not in said:  # every worker finds it out for itself
            said.add(event.message)
            on_note(event.message)
        if event.kind in ("done", "failed"):
            ends[index] = event
            if event.kind == "failed" and store is not None:  # a worker that died suddenly could not write it down
                record_failure(store, Path(jobs[index].path), event)
        if on_event is not None:
            on_event(index, len(jobs), Path(jobs[index].path).name, event)

    # A video that waits for a server has at least one request open: more of them than requests could not help.
    waiting = settings.run.requests if uses_model(settings) else 0
    run_jobs(
        jobs,
        workers=settings.run.jobs or default_jobs(),
        on_event=note,
        waiting_workers=waiting,
        preloaded=CLIENT if "openai" in (settings.captions.captioner, settings.story.writer) else (),
    )
    return ends


def _dry_run(
    library: Path, found: Sequence[Found], settings: Settings, started: float, on_event: OnEvent | None
) -> BuildReport:
    told = _told_rows(library, found, settings)
    paths = [str(one.path) for one in found if one.code is None and str(one.path) not in told]
    jobs = [Job(str(library), path, settings, "probe", dry_run=True) for path in paths]
    ends = dict(zip(paths, _run(jobs, settings, None, on_event), strict=True))
    rows = []
    for one in found:
        if str(one.path) in told:
            rows.append(told[str(one.path)])
            continue
        end = ends.get(str(one.path)) or Event("failed", code=one.code or "crashed", message=one.message)
        failed = end.kind == "failed"
        rows.append(
            StatusRow(
                video=one.path.name,
                path=str(one.path),
                video_id=None,
                state=State.FAILED if failed else State.PENDING,
                clips_done=0,
                clips_total=None if failed else end.clips_total,
                code=end.code if failed else "",
                message=end.message if failed else "",
            )
        )
    return BuildReport(tuple(rows), len(told), time.monotonic() - started)


def _told_rows(library: Path, found: Sequence[Found], settings: Settings) -> dict[str, StatusRow]:
    """Rows of the paths that a build would skip, by path; none where there is no library yet."""
    if not (library / DATABASE_NAME).is_file():
        return {}
    with Store.open(library, create=False) as store:
        known = {str(one.path): store.find_path(one.path) for one in found if one.code is None}
        told = {path for path, row in known.items() if row is not None and is_told(store, row, settings)}
        return {row.path: row for row in status_rows(store, library) if row.path is not None and row.path in told}


def status_rows(store: Store, library: Path) -> list[StatusRow]:
    """State of every path. `running` means that a living process works on it now; what a killed one left is pending."""
    rows = []
    of_text = text_warnings(store)
    for row in store.status_rows():
        state = State(row["state"])
        if state is State.RUNNING and not is_held(library, path_lock(row["path"])):
            state = State.PENDING
        error = row["error"] or {"code": "", "message": ""}
        rows.append(
            StatusRow(
                video=row["video"],
                path=row["path"],
                video_id=row["video_id"],
                state=state,
                clips_done=row["clips_done"],
                clips_total=row["clips_total"],
                warnings=(*row["warnings"], *of_text.get(row["video_id"] or "", ())),
                code=error["code"],
                message=error["message"],
            )
        )
    return rows
