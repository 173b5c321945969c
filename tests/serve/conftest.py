"""Real servers of tiny models, started once each when a test first asks for one. Run by `make test-serve`."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Once
from tests.serve.running import Endpoint, Running, all_gone, family_of, launched, ready
from tests.tiny_models import build

FAMILIES = ("qwen3_vl", "qwen2_5_vl")
ATTENTION = ("tca", "dense_below=64", "window=16", "block=8")


@pytest.fixture(scope="session", autouse=True)
def vllm_is_here() -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("needs vLLM: make test-serve installs it into an environment of its own")


@pytest.fixture(scope="session")
def checkpoint(once: Once) -> Callable[[str], Path]:
    """`checkpoint(family)`: the folder of a tiny model."""

    def made(family: str) -> Path:
        def make(folder: Path) -> None:
            build(family, folder)

        return once(family, make)

    return made


@pytest.fixture(scope="session")
def running(
    checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Running]]:
    """`running(family)`: its server, which runs until the tests are over and then leaves nothing behind. The one named
    `attention` is of the first family, with sparse attention.

    All are started when the first is asked for: each is busy with one core for most of its start.
    """
    logs = tmp_path_factory.mktemp("servers")
    processes: dict[str, subprocess.Popen[str]] = {}
    found: dict[str, Running] = {}
    with contextlib.ExitStack() as stack:

        def get(family: str) -> Running:
            if not processes:
                method, *settings = ATTENTION
                sparse = ["--attention", method, *(word for one in settings for word in ("--attention-set", one))]
                for one, model, options in (*((one, one, ()) for one in FAMILIES), ("attention", FAMILIES[0], sparse)):
                    log = logs / f"{one}.log"
                    processes[one] = stack.enter_context(launched(checkpoint(model), log, *options))
            if family not in found:
                found[family] = ready(processes[family], logs / f"{family}.log")
            return found[family]

        yield get
        everyone = [pid for process in processes.values() for pid in family_of(process.pid)]
    assert [process.returncode for process in processes.values()] == [143] * len(processes)
    assert all_gone(everyone, within_s=5)


@pytest.fixture(scope="session")
def server(running: Callable[[str], Running]) -> Callable[[str], Endpoint]:
    """`server(family)`: url (with /v1), key and name of the served model."""
    return lambda family: running(family).at
