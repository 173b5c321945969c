"""Results go to stdout, everything else to stderr; seen on real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.batch.commands import FDVS, Running, environment, fdvs
from tests.cli.commands import FILM, NO_READING
from tests.cli.conftest import World


def test_progress_goes_to_stderr_and_the_table_to_stdout(world: World, tmp_path: Path) -> None:
    ended = fdvs("build", world.films, *NO_READING, "-L", tmp_path / "library")
    assert ended.code == 0
    assert f"{FILM}: done" in ended.err
    assert "[3/3]" in ended.err
    assert "[3/3]" not in ended.out
    assert ended.out.startswith(f"{FILM}  done     9/9 clips\n")
    assert f"Library: {tmp_path / 'library'}" in ended.out
    assert "no vision model" in ended.out
    assert f"Read on: fdvs story {FILM} -L {tmp_path / 'library'}" in ended.out


def test_errors_go_to_stderr(world: World) -> None:
    ended = fdvs("story", "nobody", "-L", world.library)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("fdvs: no video 'nobody'")
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("command", ["story", "redundancy"])
def test_a_reader_that_goes_away_is_no_error(world: World, command: str) -> None:
    with subprocess.Popen(
        [*FDVS, command, FILM, "-L", str(world.library), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        os.read(process.stdout.fileno(), 10)
        process.stdout.close()
        err = process.stderr.read().decode()
        assert process.wait() == 0
    assert err == ""


def test_a_reader_that_was_never_there_is_no_error(world: World) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        ended = subprocess.run(
            [*FDVS, "search", "red", "-L", str(world.library)],
            stdout=write_end,
            stderr=subprocess.PIPE,
            env=environment(),
        )
    finally:
        os.close(write_end)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(
    "command", [(Path(sys.executable).with_name("fdvs"),), (sys.executable, "-m", "fdvs")], ids=["installed", "module"]
)
def test_other_ways_to_the_command_are_the_same(world: World, command: tuple[str | Path, ...]) -> None:
    ended = subprocess.run([*command, "status", "-L", world.library], capture_output=True, text=True, env=environment())
    assert ended.returncode == 0
    assert f"{FILM}  done" in ended.stdout


def test_status_watch_ends_when_all_is_done_and_by_ctrl_c(world: World, own_library: Path) -> None:
    assert fdvs("status", "--watch", "-L", own_library).code == 0
    import sqlite3

    db = sqlite3.connect(own_library / "library.sqlite")
    db.execute("UPDATE paths SET state = 'pending'")
    db.commit()
    db.close()
    with Running("status", "--watch", "-L", own_library) as watching:
        assert watching.process.stdout is not None
        assert "pending" in watching.process.stdout.readline()
        watching.process.send_signal(signal.SIGINT)
        assert watching.process.wait() == 130


def test_a_sentence_cannot_steer_the_terminal(world: World, tmp_path: Path) -> None:
    evil = tmp_path / "evil.srt"
    evil.write_text("1\n00:00:00,000 --> 00:00:05,000\nThe key \x1b[2J\x1b]0;owned\x07lies under the blue mat.\n")
    assert fdvs("import", evil, "-L", tmp_path / "library").code == 0
    for command in (["story", "evil"], ["search", "key"], ["ask", "Where is the key?"], ["redundancy", "evil"]):
        ended = fdvs(*command, "-L", tmp_path / "library")
        assert ended.code == 0
        assert not any(char in ended.out + ended.err for char in "\x1b\x07")
    ended = fdvs("ask", "Where is the key?", "-L", tmp_path / "library")
    assert "blue mat" in ended.out.splitlines()[0]
