"""`fdvs`: the command line. Parses, makes one call into the API, prints. Heavy imports happen inside the commands."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import click
import typer

from fdvs.cli import ask, build, demo, doctor, export, forget, importing, redundancy, search, status, story
from fdvs.errors import FdvsError

app = typer.Typer(
    name="fdvs",
    help="Turn videos into stories that you can read, search and question, with the exact time behind every sentence.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _command in (build, importing, status, story, search, ask, redundancy, export, forget, doctor, demo):
    _command.register(app)


def _version(shown: bool) -> None:
    if shown:
        from fdvs import __version__

        typer.echo(f"fdvs {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Nothing to do here: every command stands alone."""


class _Terminated(BaseException):
    """SIGTERM arrived: unwinds like Ctrl-C does, so that workers are stopped on the way out."""


def _on_sigterm(signum: int, frame: FrameType | None) -> None:
    raise _Terminated


def _say(message: str) -> None:
    print(f"fdvs: {message}", file=sys.stderr)  # noqa: T201


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code (0, 1, 2, 3, 130, 143)."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        result = app(arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code  # 2 for wrong usage
    except (click.Abort, KeyboardInterrupt, _Terminated) as stop:
        _say("stopped; what was finished is kept, and the same command goes on from there")
        return 143 if isinstance(stop, _Terminated) else 130
    except BrokenPipeError:  # whoever read our output (head, less) went away: no error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except FdvsError as error:
        _say(str(error))
        return error.exit_code
    except OSError as error:
        _say(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return 1
    return result if isinstance(result, int) else 0


def main() -> None:
    """Console entry point."""
    code = run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


if __name__ == "__main__":
    main()
