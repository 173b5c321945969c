"""`fdvs`: the command line. Parses, makes one call into the API, prints. Heavy imports happen inside the commands."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import ParamSpec

import typer

from fdvs.cli import (
    ask,
    build,
    demo,
    doctor,
    export,
    forget,
    importing,
    kernels_bench,
    kernels_calibrate,
    kernels_check,
    models,
    redundancy,
    relink,
    search,
    serve,
    status,
    story,
)
from fdvs.cli.common import Terminated, note
from fdvs.errors import FdvsError

P = ParamSpec("P")

app = typer.Typer(
    name="fdvs",
    help="Turn videos into stories that you can read, search and question, with the exact time behind every sentence.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _on_sigterm(signum: int, frame: FrameType | None) -> None:
    raise Terminated


def _exit_code_of(command: Callable[[], int]) -> int:
    """Run a command; errors become a line on stderr and an exit code (1, 2, 3, 130, 143), never a traceback."""
    try:
        return command()
    except (KeyboardInterrupt, Terminated) as stop:
        note("fdvs: stopped; what was finished is kept, and the same command goes on from there")
        return 143 if isinstance(stop, Terminated) else 130
    except BrokenPipeError:  # whoever read our output (head, less) went away: no error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except FdvsError as error:
        note(f"fdvs: {error}")
        return error.exit_code
    except OSError as error:
        note(f"fdvs: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return 1


def _guarded(command: Callable[P, int]) -> Callable[P, None]:
    """The command as the parser calls it: ends with its exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        raise typer.Exit(_exit_code_of(lambda: command(*args, **kwargs)))

    return run


for _name, _command in (
    ("build", build.build),
    ("import", importing.import_captions),
    ("status", status.status),
    ("story", story.story),
    ("search", search.search),
    ("ask", ask.ask),
    ("redundancy", redundancy.redundancy),
    ("export", export.export),
    ("forget", forget.forget),
    ("relink", relink.relink),
    ("serve", serve.serve),
    ("doctor", doctor.doctor),
    ("demo", demo.demo),
):
    app.command(_name)(_guarded(_command))

_models = typer.Typer(
    name="models", help="Show the recommended models, and get them.", no_args_is_help=True, rich_markup_mode=None
)
_models.command("list")(_guarded(models.list_models))
_models.command("get")(_guarded(models.get_models))
app.add_typer(_models)

_kernels = typer.Typer(
    name="kernels",
    help="Sparse attention on this machine: whether it is right, how fast it is, and what a model needs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_kernels.command("check")(_guarded(kernels_check.check))
_kernels.command("bench")(_guarded(kernels_bench.bench))
_kernels.command("calibrate")(_guarded(kernels_calibrate.calibrate))
app.add_typer(_kernels)


def _version(shown: bool) -> None:
    if shown:
        from fdvs import __version__

        typer.echo(f"fdvs {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Turn videos into stories that you can read, search and question, with the exact time behind every sentence."""


def main() -> None:
    """Console entry point."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    app()


if __name__ == "__main__":
    main()
