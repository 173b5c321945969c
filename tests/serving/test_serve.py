"""`fdvs serve` from its start to its end, around a stand-in for vLLM that behaves well or badly."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fdvs.errors import ServerError
from fdvs.serving.server import Server, free_port
from tests.cli.commands import Ended, fdvs
from tests.serving.conftest import FakeVllm
from tests.serving.started import Started

KEY = re.compile(r"OPENAI_API_KEY=(\S+) fdvs build VIDEOS --captioner openai")


@contextlib.contextmanager
def serving(fake: FakeVllm, *options: str, behaviour: str = "ready") -> Iterator[subprocess.Popen[str]]:
    """`fdvs serve` in a process of its own; killed at the end if it still runs."""
    command = [sys.executable, "-m", "fdvs", "serve", str(fake.model), *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=fake.environment(behaviour), text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """The line to use it, which is all it prints; waits for it."""
    assert process.stdout is not None
    return process.stdout.readline()


def run(fake: FakeVllm, behaviour: str, *options: str) -> Ended:
    """`fdvs serve` where it ends by itself."""
    with serving(fake, *options, behaviour=behaviour) as process:
        out, err = process.communicate(timeout=60)
        return Ended(process.returncode, out, err)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_end_the_server_and_all_it_started(fake: FakeVllm, sent: int, code: int) -> None:
    with serving(fake) as process:
        assert KEY.match(line_of(process))
        started = fake.started()
        process.send_signal(sent)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err.splitlines()[-1] == "fdvs: the server has ended"
    assert started.all_gone(within_s=0)


def test_no_process_is_left_when_fdvs_is_killed(fake: FakeVllm) -> None:
    with serving(fake) as process:
        assert line_of(process)
        started = fake.started()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert started.all_gone()


def test_ctrl_c_while_the_server_loads_ends_it(fake: FakeVllm) -> None:
    with serving(fake, behaviour="hangs") as process:
        assert process.stderr is not None
        assert "starting vLLM 0.32.0 (CPU)" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert fake.never_started() or fake.started().all_gone(within_s=0)


def test_the_key_is_new_each_time_and_on_no_command_line(fake: FakeVllm) -> None:
    keys = []
    for _ in range(2):
        with serving(fake) as process:
            found = KEY.match(line_of(process))
            assert found
            keys.append(found[1])
            started = fake.started()
            command_lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in (*started.pids, process.pid)]
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=30)
        assert started.environment["VLLM_API_KEY"] == keys[-1]
        assert "OPENAI_API_KEY" not in started.environment
        assert not [text for text in (*command_lines, *started.arguments, err) if keys[-1] in text]
    assert keys[0] != keys[1]
    assert min(map(len, keys)) >= 32


def test_a_key_of_the_users_own_is_used_and_not_shown(fake: FakeVllm, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("my-own-key\n")
    with serving(fake, "--api-key-file", str(tmp_path / "key"), "--served-name", "eyes") as process:
        line = line_of(process)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert fake.started().environment["VLLM_API_KEY"] == "my-own-key"
    assert "my-own-key" not in line + err
    assert "--captioner-model eyes" in line


def test_a_server_that_dies_is_an_error_with_the_end_of_its_log(fake: FakeVllm) -> None:
    ended = run(fake, "dies", "--log", str(fake.record.with_name("log")))
    assert ended.code == 1
    assert f"ended with exit code 7 before it was ready; the last lines of {fake.record.with_name('log')}:" in ended.err
    assert "  no memory left for the cache" in ended.err
    assert ended.out == ""
    assert fake.started().all_gone(within_s=0)


def test_a_server_that_never_answers_is_given_up(fake: FakeVllm) -> None:
    ended = run(fake, "hangs", "--timeout", "1")
    assert ended.code == 1
    assert "not ready after 1 s (--timeout)" in ended.err
    assert fake.never_started() or fake.started().all_gone(within_s=0)


def test_another_server_at_the_port_is_noticed(fake: FakeVllm) -> None:
    ended = run(fake, "other")
    assert ended.code == 1
    assert "serves another, not tiny@" in ended.err
    assert ended.out == ""


def test_a_server_that_ends_later_is_an_error(fake: FakeVllm) -> None:
    ended = run(fake, "ends")
    assert ended.code == 1
    assert "the server ended with exit code 9; the last lines of" in ended.err
    assert fake.started().all_gone(within_s=0)


def test_a_server_that_ignores_sigterm_is_killed_with_all_it_started(fake: FakeVllm, tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--served-model-name", "m"]
    environment = fake.environment("stubborn") | {"VLLM_API_KEY": "k"}
    with Server(command, environment, tmp_path / "log", url, grace_s=0.3) as server:
        server.wait_until_ready("m", "k", 30, print)
        started = fake.started()
        assert not started.all_gone(within_s=0)
    assert started.all_gone(within_s=2)


def test_no_process_is_left_when_the_keeper_is_killed(fake: FakeVllm) -> None:
    with serving(fake) as process:
        assert line_of(process)
        started = fake.started()
        os.kill(keeper_of(started), signal.SIGKILL)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "the server was killed by signal 9" in err
    assert started.all_gone(within_s=2)


def keeper_of(started: Started) -> int:
    """The process that started the server."""
    return int(Path(f"/proc/{started.pids[0]}/stat").read_text().rpartition(")")[2].split()[1])


def test_how_it_is_going_is_told(fake: FakeVllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdvs.serving.server.TELL_EVERY_S", 0.0)

    class HeardEnough(Exception):
        pass

    def tell(line: str) -> None:
        if re.fullmatch(r"\d+ s: loading weights", line):
            raise HeardEnough

    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    server = Server(command, fake.environment("hangs"), tmp_path / "log", "http://127.0.0.1:9")
    with server, pytest.raises(HeardEnough):
        server.wait_until_ready("m", "k", 60, tell)


def test_a_server_of_another_key_is_not_ours(fake: FakeVllm, tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    environment = fake.environment("ready") | {"VLLM_API_KEY": "theirs"}
    server = Server(command, environment, tmp_path / "log", f"http://127.0.0.1:{port}")
    with server, pytest.raises(ServerError, match="not the server that was started: HTTP Error 401"):
        server.wait_until_ready("m", "ours", 30, print)


@pytest.fixture
def here(fake: FakeVllm, monkeypatch: pytest.MonkeyPatch) -> FakeVllm:
    """The stand-in, for commands in this process that start nothing."""
    monkeypatch.syspath_prepend(fake.packages)
    return fake


def test_a_dry_run_prints_the_command_without_a_key_and_starts_nothing(here: FakeVllm) -> None:
    ended = fdvs("serve", here.model, "--dry-run", "--port", "0", "--", "--dtype", "bfloat16")
    assert ended.code == 0
    assert "VLLM_API_KEY=... " in ended.out
    assert re.search(r" -m vllm\.entrypoints\.openai\.api_server --model \S+/tiny .* --dtype bfloat16\n", ended.out)
    assert here.never_started()


def test_a_port_in_use_is_refused_before_anything_starts(here: FakeVllm) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = fdvs("serve", here.model, "--port", str(taken.getsockname()[1]))
    assert ended.code == 1
    assert "cannot be used" in ended.err
    assert here.never_started()


@pytest.mark.parametrize("text", [b"", b"two words", b"two\nlines", b"\xff\xfe"])
def test_a_file_without_a_key_is_refused(here: FakeVllm, tmp_path: Path, text: bytes) -> None:
    (tmp_path / "key").write_bytes(text)
    ended = fdvs("serve", here.model, "--api-key-file", tmp_path / "key")
    assert ended.code in (1, 2)
    assert f"{tmp_path / 'key'}" in ended.err
    assert here.never_started()


def test_a_model_that_is_not_here_is_an_error_before_anything_starts(here: FakeVllm) -> None:
    ended = fdvs("serve", "nowhere/to-be-found")
    assert ended.code == 1
    assert "fdvs downloads nothing by itself" in ended.err
    assert here.never_started()


def test_an_address_that_others_reach_is_a_wrong_use(here: FakeVllm) -> None:
    assert fdvs("serve", here.model, "--host", "0.0.0.0").code == 2


def test_the_log_is_readable_by_its_owner_alone(fake: FakeVllm) -> None:
    ended = run(fake, "dies")
    found = re.search(r"its log: (\S+)", ended.err)
    assert found
    assert Path(found[1]).stat().st_mode & 0o077 == 0


def test_the_stand_in_is_started_with_the_settings(fake: FakeVllm) -> None:
    run(fake, "dies", "--max-model-len", "1000")
    started: Started = fake.started()
    assert started.arguments[started.arguments.index("--max-model-len") + 1] == "1000"
    assert started.environment["HF_HUB_OFFLINE"] == "1"
