"""`fdvs build`: files and folders in, stories out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdvs.cli.common import (
    DEFAULT_LIBRARY,
    JsonOption,
    LibraryOption,
    SetOption,
    TextEmbedderOption,
    WriterModelOption,
    WriterOption,
    WriterUrlOption,
    YesOption,
    ask_consent,
    note,
    print_json,
)
from fdvs.errors import UsageError

if TYPE_CHECKING:
    from fdvs.api import Library
    from fdvs.batch.report import BuildReport

STORY_LINES = 14  # of the first story, to show what came out


def build(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="Video files, or folders to search.")],
    library: LibraryOption = DEFAULT_LIBRARY,
    captioner: Annotated[
        str | None,
        typer.Option(
            help="Who describes the clips: builtin, auto, openai (a server), vllm, transformers, clip or paper."
        ),
    ] = None,
    captioner_model: Annotated[
        str | None, typer.Option(help="Model of the captioner: a name on its server or on the hub, or a folder.")
    ] = None,
    captioner_url: Annotated[
        str | None, typer.Option(help="Server of the captioner, such as http://127.0.0.1:8000/v1.")
    ] = None,
    enrich: Annotated[
        str | None, typer.Option(help="Add captions of: objects, action, frame_captions (with commas).")
    ] = None,
    attention: Annotated[
        str | None,
        typer.Option(metavar="METHOD", help="Sparse attention of transformers or vllm: tca, cca, dga, lca, …"),
    ] = None,
    attention_set: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A setting of that method, or dense_below, sinks; may be repeated."),
    ] = None,
    writer: WriterOption = None,
    writer_model: WriterModelOption = None,
    writer_url: WriterUrlOption = None,
    requests: Annotated[int | None, typer.Option(min=1, help="Requests in flight at a model's server.")] = None,
    yes: YesOption = False,
    text_embedder: TextEmbedderOption = None,
    profile: Annotated[str | None, typer.Option(help="default, or paper (FDVS as published).")] = None,
    screen_text: Annotated[str | None, typer.Option(help="Read on-screen text: on or off.")] = None,
    frames: Annotated[str | None, typer.Option(help="sampled: 8 per clip; keyframes: key frames only, faster.")] = None,
    shot_cuts: Annotated[
        str | None, typer.Option(help="on: clips begin where shots begin, for one more decode; off: at key frames.")
    ] = None,
    until: Annotated[str, typer.Option(help="Stop after a stage: probe, clips, frames, captions or story.")] = "story",
    jobs: Annotated[int, typer.Option(min=0, help="Videos at once; 0 = one per core.")] = 0,
    video_timeout: Annotated[float | None, typer.Option(min=0, help="Seconds one video may take.")] = None,
    engine: Annotated[str, typer.Option(help="Where the work runs: local.")] = "local",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")] = False,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read every file again, whatever its date says.")] = False,
    assignments: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """Turn videos into stories.

    Done work is skipped; an interrupted build goes on where it stopped.
    """
    from fdvs.api import Library
    from fdvs.batch.jobs import UNTIL
    from fdvs.cli.progress import Progress

    if until not in UNTIL:
        raise UsageError(f"unknown stage {until!r} for --until; known: {', '.join(UNTIL)}")
    opened = Library(
        library,
        profile=profile,
        assignments=assignments or [],
        flags={
            "clips": {"frames": frames, "shot_cuts": shot_cuts},
            "captions": {
                "captioner": captioner,
                "captioner_model": captioner_model,
                "captioner_url": captioner_url,
                "enrich": enrich,
                "screen_text": screen_text,
                "attention": attention,
                "attention_settings": ",".join(attention_set) if attention_set else None,
            },
            "story": {
                "writer": writer,
                "writer_model": writer_model,
                "writer_url": writer_url,
                "text_embedder": text_embedder,
            },
            "limits": {"video_timeout_s": video_timeout},
            "run": {
                "jobs": jobs or None,
                "rehash": rehash or None,
                "requests": requests,
                "allow_hosted": yes or None,
            },
        },
    )
    for choice in opened.choices:
        note(choice)
    with opened, Progress() as progress:
        report = opened.build(
            inputs,
            until=until,
            engine=engine,
            dry_run=dry_run,
            retry_failed=retry_failed,
            on_event=progress.on_event,
            on_note=note,
            on_consent=ask_consent(),
        )
        progress.close()
        if as_json:
            print_json(report.to_json())
        else:
            _print_report(report, opened, dry_run=dry_run, until=until)
        if until == "story" and not dry_run and report.done:
            _note_languages(report, opened)
    if not report.rows:
        note("fdvs: no videos found; name video files, or folders that hold some")
    elif report.failed and not dry_run:
        note("Failed inputs are tried again when they change, or all of them with --retry-failed.")
    return report.exit_code


def _note_languages(report: BuildReport, library: Library) -> None:
    """What the sentence encoder does not know, once for all videos of a build."""
    outside = library.text_warnings()
    for line in dict.fromkeys(line for row in report.rows for line in outside.get(row.video_id or "", ())):
        note(f"fdvs: {line}")


def _print_report(report: BuildReport, library: Library, *, dry_run: bool, until: str) -> None:
    from fdvs.cli.tables import cost_table, status_table

    if not report.rows:
        return
    for line in status_table(report.rows):
        typer.echo(line)
    if dry_run:
        todo = len(report.rows) - report.done - report.failed
        typer.echo(f"{todo} to build, {report.done} done already, {report.failed} cannot be read; nothing was written")
        return
    stopped = len(report.rows) - report.done - report.failed
    until_told = f"{stopped} stopped after {until}, " if stopped else ""
    typer.echo(
        f"{report.done} done ({report.skipped} already), {until_told}{report.failed} failed, {report.seconds:.1f} s"
    )
    for line in cost_table(report.spent, library.settings.run, report.seconds):
        typer.echo(line)
    if report.attention:
        typer.echo(f"Captions with attention: {report.attention}")
    typer.echo(f"Library: {library.path}")
    if until == "story" and report.done:
        _print_first_lines(library, report)


def _print_first_lines(library: Library, report: BuildReport) -> None:
    from fdvs.cli.tables import how_to_read

    first = next(row for row in report.rows if row.state == "done" and row.video_id)
    assert first.video_id is not None
    story = library.story(first.video_id)
    lines = story.render("tree").splitlines()
    typer.echo("")
    for line in lines[:STORY_LINES]:
        typer.echo(line)
    is_unique = sum(video.name == story.video.name for video in library.videos()) == 1
    command = how_to_read(story.video.name if is_unique else first.video_id[:8], library.path)
    typer.echo(f"{'…' if len(lines) > STORY_LINES else ''}\nRead on: {command}".lstrip("\n"))
