"""Real servers of tiny models, started once each when a test first asks for one. Run by `make test-serve`."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Once
from tests.serve.running import Endpoint, Running, all_gone, family_of, serving
from tests.tiny_models import build

FAMILIES = ("qwen3_vl", "qwen2_5_vl")


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
    """`running(family)`: its server, which runs until the tests are over and then leaves nothing behind."""
    logs = tmp_path_factory.mktemp("servers")
    started: dict[str, Running] = {}
    with contextlib.ExitStack() as stack:

        def start(family: str) -> Running:
            if family not in started:
                started[family] = stack.enter_context(serving(checkpoint(family), logs / f"{family}.log"))
            return started[family]

        yield start
        everyone = [pid for one in started.values() for pid in family_of(one.process.pid)]
    assert [one.process.returncode for one in started.values()] == [143] * len(started)
    assert all_gone(everyone, within_s=5)


@pytest.fixture(scope="session")
def server(running: Callable[[str], Running]) -> Callable[[str], Endpoint]:
    """`server(family)`: url (with /v1), key and name of the served model."""
    return lambda family: running(family).at
